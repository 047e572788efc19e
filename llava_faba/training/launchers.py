"""The programs that started this process to train: deepspeed and its own helper, torchrun, accelerate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

_PROGRAMS = {"deepspeed", "deepspeed.pt", "ds", "torchrun", "accelerate", "accelerate-launch"}
_MODULES = ("deepspeed", "torch.distributed", "accelerate.commands")
_FILES = ("deepspeed/launcher/", "torch/distributed/run.py", "torch/distributed/launch.py", "accelerate/commands/")


@dataclass(frozen=True)
class Launcher:
    """A process, told from a later one of the same number by when it ``started`` (clock ticks since boot)."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Whether it runs still; a dead one that nobody has asked for yet (a zombie) does not."""
        status = _status(self.pid)
        return status is not None and status[1] == self.started and status[2] not in "ZX"


def launchers_of_this_process() -> list[Launcher]:
    """This process's parent, its parent and so on, as long as they are launchers; none where there is no /proc."""
    found: list[Launcher] = []
    pid = os.getppid()
    while pid > 1 and len(found) < 8:
        status = _status(pid)
        if status is None or not is_launcher(_arguments(pid)):
            break
        found.append(Launcher(pid, status[1]))
        pid = status[0]
    return found


def is_launcher(arguments: list[str]) -> bool:
    """Whether a command line is a launcher's: the program itself, or Python with its script or module.

    A shell or a scheduler's script that has started one is not: it may end while the run goes on.
    """
    if not arguments:
        return False
    if PurePath(arguments[0]).name in _PROGRAMS:
        return True
    if not PurePath(arguments[0]).name.startswith(("python", "pypy")):
        return False
    for place, argument in enumerate(arguments[1:], 1):
        if argument == "-m":
            module = arguments[place + 1] if place + 1 < len(arguments) else ""
            return any(module == one or module.startswith(f"{one}.") for one in _MODULES)
        if not argument.startswith("-"):
            return PurePath(argument).name in _PROGRAMS or any(part in argument for part in _FILES)
    return False


def _status(pid: int) -> tuple[int, str, str] | None:
    """Parent, start time and state of a process; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a name may hold spaces and brackets
    return int(fields[1]), fields[19], fields[0]


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
