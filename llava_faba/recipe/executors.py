"""Where jobs run: as processes here, or handed to a scheduler through submitit
(docs/decisions/0100-recipe-engine.md)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from llava_faba.packages import install_command
from llava_faba.recipe.errors import RecipeError

_JOB = (sys.executable, "-m", "llava_faba.recipe.job")
NAMES = ("processes", "slurm", "submitit-local")


class Running(Protocol):
    """A job under way."""

    def code(self) -> int | None:
        """The exit code, or None while it runs."""

    def stop(self) -> None:
        """Ask it to save what it has, and end. Returns when it has."""


class Executor(Protocol):
    follows_parent: bool
    """Whether jobs end when the process that started them does."""

    def start(self, job: Path) -> Running:
        """Start the job that this file describes."""


class Processes:
    """One process a job on this machine."""

    follows_parent = True

    def start(self, job: Path) -> Running:
        return _Process(subprocess.Popen([*_JOB, str(job)], stdin=subprocess.DEVNULL, start_new_session=True))


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Submitit:
    """Jobs of submitit: ``cluster`` "slurm", or "local" to try the same path without a scheduler.

    ``options``: what ``AutoExecutor.update_parameters`` takes, such as ``slurm_partition``, ``gpus_per_node``,
    ``timeout_min``.
    """

    follows_parent = False

    def __init__(self, folder: Path, cluster: str, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise RecipeError(f"the scheduler's part needs submitit: {install_command('slurm')}") from error
        self._submitit = submitit
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**{"timeout_min": 60 * 24, **options})
        except (RuntimeError, TypeError, NameError, ValueError) as error:
            raise RecipeError(f"submitit does not take this: {error}") from error

    def start(self, job: Path) -> Running:
        function = self._submitit.helpers.CommandFunction([*_JOB, str(job)], verbose=False)
        return _Submitted(self._executor.submit(function))


class _Submitted:
    def __init__(self, job: Any) -> None:
        self._job = job

    def code(self) -> int | None:
        if not self._job.done():
            return None
        return 1 if self._job.exception() is not None else 0

    def stop(self) -> None:
        self._job.cancel()


def create(name: str, folder: Path, options: Mapping[str, Any]) -> Executor:
    """The executor of a name of ``NAMES``. Raises RecipeError."""
    if name == "processes":
        if options:
            raise RecipeError("options of a scheduler are given, but jobs run as processes here: --executor slurm")
        return Processes()
    if name not in NAMES:
        raise RecipeError(f"no executor '{name}': {', '.join(NAMES)}")
    return Submitit(folder, "slurm" if name == "slurm" else "local", options)
