"""A kind of step: a dataclass of typed settings that says which commands make its output folder."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from llava_faba.recipe.errors import RecipeError
from llava_faba.settings.typed import typed, without_none

_IS_PATH = "path"
Path_ = Annotated[str, _IS_PATH]
"""A setting that names a file or folder: its content is part of the step's key."""
Action = dict[str, Any]
"""``{"run": [word, ...], "env": {...}}``, ``{"copy": [from, to]}`` or ``{"join": [[from, ...], to]}``."""
LLAVA_FABA = (sys.executable, "-m", "llava_faba")
FABA_BENCH = (sys.executable, "-m", "faba_bench")
FREE_PORT = "{free port}"
"""Stands for a free TCP port, which the job puts in its place."""


@dataclass(frozen=True)
class Kind:
    """The base of all kinds.

    ``VERSION`` goes up whenever the same settings would give another result. ``RESUMES``: an interrupted step goes
    on from
    what it left; others start from an empty folder. ``UNDECIDED``: settings that do not change the result.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = False
    UNDECIDED: ClassVar[frozenset[str]] = frozenset({"workers"})

    def actions(self, out: str) -> list[Action]:
        """What is done, in this order, to fill the folder ``out``."""
        raise NotImplementedError

    @staticmethod
    def path_in(value: str) -> str:
        """The path in a setting that is one."""
        return value


def command(*words: object, **env: str) -> Action:
    return {"run": [str(word) for word in words], "env": env}


def flags(options: Mapping[str, Any], *, dashes: bool = True) -> list[str]:
    """``{"max_per_class": 5, "vary_answers": True}`` as words; true is the bare flag, false and null leave it out."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append("--" + (name.replace("_", "-") if dashes else name))
        if value is not True:
            words += [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
    return words


def build(kind: type[Kind], settings: Mapping[str, Any], place: str) -> Kind:
    """The kind with these settings, each of its declared type. Raises RecipeError that names the key."""
    return typed(kind, settings, place, error=RecipeError)


def paths(kind: Kind) -> Iterator[tuple[str, str]]:
    """The settings that are paths, as (setting, path); of a list each entry."""
    hints = typing.get_type_hints(type(kind), include_extras=True)
    for entry in dataclasses.fields(kind):
        value = getattr(kind, entry.name)
        if value is None or not _holds_paths(hints[entry.name]):
            continue
        for path in value if isinstance(value, tuple) else (value,):
            yield entry.name, kind.path_in(path)


def takes_list(kind: type[Kind], setting: str) -> bool:
    """Whether a setting is a list, so that a step done several times may stand in it."""
    hint = without_none(typing.get_type_hints(kind).get(setting))
    return typing.get_origin(hint) is tuple


def _holds_paths(hint: Any) -> bool:
    hint = without_none(hint)
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) is Annotated and _IS_PATH in hint.__metadata__
