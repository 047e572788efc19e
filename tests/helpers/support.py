"""What the tests of the plugin core share: the golden model's names, edits of checkpoints, processes."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ADAPTER = "llava-v1-lora-emola-tiny"
IMAGE_TOKEN = -200
PRIOR_SIZE = 212
PICTURES = (64, 64)  # width and height of the golden pictures
SIDE = 56  # of the golden tower's images, 16 patches
PATCHES = 16
HIDDEN = 64


def run_python(
    *arguments: str, cwd: Path | None = None, stdin: str = "", path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS`` in a real process; ``path`` is put before everything else that it imports from."""
    more = {} if path is None else {"PYTHONPATH": str(path)}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": binaries, **more},
    )


def llava_faba_command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """``llava-faba ARGUMENTS`` in a real process."""
    return run_python("-m", "llava_faba", *arguments, **options)


def tool(name: str) -> Any:
    """The module of one of tools/'s programs."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    """A port that no other training run on this machine listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def kill_tree(pid: int) -> None:
    """kill -9 of a process and of all that it started, whatever their process groups."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listing.splitlines())}
    doomed = {pid}
    while more := {child for child, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for one in doomed:
        os.kill(one, signal.SIGKILL)


def edit_json(path: Path, *, remove: tuple[str, ...] = (), **values: object) -> None:
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in remove}))


def edit_config(folder: Path, *, remove: tuple[str, ...] = (), **values: object) -> None:
    """Set and remove keys of a checkpoint's config.json."""
    edit_json(folder / "config.json", remove=remove, **values)


class TouchesWhenRead:
    """An object that creates ``mark`` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._mark,))


def write_malicious_pickle(path: Path, mark: Path) -> None:
    """Put in the place of a weights file a pickle that creates ``mark`` when it is read without care."""
    with path.open("wb") as file:
        pickle.dump({"weights": TouchesWhenRead(mark)}, file, protocol=2)
