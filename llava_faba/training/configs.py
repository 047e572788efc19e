"""DeepSpeed configs for people without a clone: ``--deepspeed zero3.json`` finds the one that is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from llava_faba.errors import UserError

_FLAG = "--deepspeed"


def with_installed_config(argv: Sequence[str]) -> list[str]:
    """``argv`` with the path of the installed config where the value of ``--deepspeed`` is one's bare name.

    A file of that name in the working directory wins. Raises UserError for a file that is nowhere.
    """
    arguments = list(argv)
    for index, argument in enumerate(arguments):
        if argument == _FLAG and index + 1 < len(arguments):
            arguments[index + 1] = _locate(arguments[index + 1])
        elif argument.startswith(f"{_FLAG}="):
            arguments[index] = f"{_FLAG}={_locate(argument.partition('=')[2])}"
    return arguments


def _locate(value: str) -> str:
    if not value.endswith(".json") or Path(value).exists():
        return value  # transformers also takes the configuration itself, as JSON
    installed = {
        entry.name: str(entry)
        for entry in resources.files("llava_faba.scripts").iterdir()
        if entry.name.endswith(".json")
    }
    if value in installed:
        return installed[value]
    raise UserError(f"--deepspeed {value}: no such file; installed with llava-faba are {', '.join(sorted(installed))}.")
