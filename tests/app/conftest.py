"""The page's server as people start it, with a random EmoLA and real detectors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image


@dataclass
class Server:
    """``address``: what the command printed; ``seconds``: from its start to that line; ``process``: the command."""

    address: str
    process: subprocess.Popen[str]
    seconds: float
    temporary: Path


def start(model: Path, temporary: Path, *more: str) -> Server:
    words = [
        sys.executable,
        "-m",
        "llava_faba",
        "app",
        "--model-path",
        str(model),
        "--port",
        "0",
        "--finder",
        "dlib-68",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    begin = time.monotonic()
    process = subprocess.Popen(
        [*words, "--max-new-tokens", "8", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    line = process.stdout.readline()
    assert line.startswith("Open "), line + process.stderr.read()
    return Server(line.split()[1], process, time.monotonic() - begin, temporary)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("llava")
    pytest.importorskip("dlib")
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from tiny import make_emola

    return make_emola(tmp_path_factory.mktemp("emola"))


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all; nothing that was uploaded is left when it has ended."""
    one = start(model, tmp_path_factory.mktemp("temporary"), "--compare", str(model))
    yield one
    one.process.terminate()
    one.process.wait(30)
    assert not list(one.temporary.glob("llava-faba-app-*")), "uploads are deleted at the end"


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """E. Collins (NASA, public domain)."""
    import skimage

    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB").crop((110, 0, 340, 260)).save(
        path
    )
    return path
