"""A patched LLaVA, and the two ways to start one of its programs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import llava_faba_command, run_python

from llava_faba import patching

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the installed LLaVA with all patches; the folder to put on PYTHONPATH."""
    tree = tmp_path_factory.mktemp("patched")
    source = Path(str(importlib.util.find_spec("llava").origin)).parent
    shutil.copytree(source, tree / "llava", ignore=shutil.ignore_patterns("__pycache__"))
    assert "plugin-hook" in patching.apply(tree)
    return tree


@pytest.fixture
def start(request: pytest.FixtureRequest, patched: Path) -> Start:
    """Starts a program of LLaVA, named as a module or by its file, by the way that is the fixture's parameter.

    "run": ``llava-faba run PROGRAM`` with the installed, unpatched LLaVA; "hook": ``python -m PROGRAM`` or ``python
    FILE`` with the patched one, and nothing of ours on the command line.
    """

    def run(program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return llava_faba_command("run", "--device", "cpu", program, *arguments, **options)

    def hook(program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        named = [program] if program.endswith(".py") else ["-m", program]
        return run_python(*named, *arguments, path=patched, **options)

    def checked(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        result = (run if request.param == "run" else hook)(*arguments, **options)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        return result

    return checked
