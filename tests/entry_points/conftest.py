"""The two ways to start a program of LLaVA."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import llava_faba_command, run_python

Start = Callable[..., "subprocess.CompletedProcess[str]"]


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
