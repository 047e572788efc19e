"""A kind of step: a dataclass of typed settings that says which commands make its output folder."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from llava_faba.errors import nearest
from llava_faba.recipe.errors import RecipeError

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
    hints = typing.get_type_hints(kind, include_extras=True)
    declared = {entry.name: entry for entry in dataclasses.fields(kind)}
    values = {}
    for key, value in settings.items():
        if key not in declared:
            raise RecipeError(
                f"{place} has no setting {key!r}: known are {', '.join(declared)}.{nearest(key, declared)}"
            )
        values[key] = _typed(value, hints[key], f"{place}.{key}")
    missing = [
        name
        for name, entry in declared.items()
        if name not in values and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{place} lacks {', '.join(missing)}")
    return kind(**values)


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
    hint = _without_none(typing.get_type_hints(kind).get(setting))
    return typing.get_origin(hint) is tuple


def _typed(value: Any, hint: Any, place: str) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    hint = _without_none(hint)
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    origin = typing.get_origin(hint)
    if origin is tuple:
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(_typed(item, typing.get_args(hint)[0], f"{place}[{index}]") for index, item in enumerate(values))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{place} is {value!r}: give a mapping of flags to values")
        return {str(key): _plain(item, f"{place}.{key}") for key, item in value.items()}
    return _scalar(value, hint, place)


def _scalar(value: Any, hint: type, place: str) -> Any:
    if hint is bool:
        known = {True: True, False: False, "true": True, "false": False}
        if isinstance(value, bool | str) and value in known:
            return known[value]
    elif hint is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    elif hint in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = hint(value)
        except ValueError:
            number = None
        if number is not None and (hint is not int or float(value) == number):
            return number
    raise RecipeError(f"{place} is {value!r}: give a {hint.__name__}")


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise RecipeError(f"{place} is {value!r}: give a text, a number, true, false, or a list of those")


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _holds_paths(hint: Any) -> bool:
    hint = _without_none(hint)
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) is Annotated and _IS_PATH in hint.__metadata__
