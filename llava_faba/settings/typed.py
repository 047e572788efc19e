"""A dataclass made of plain settings, each value checked against the type that its field declares."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from llava_faba.errors import UserError, nearest

_Settings = TypeVar("_Settings")


def typed(kind: type[_Settings], settings: Mapping[str, Any], place: str, *, error: type[UserError]) -> _Settings:
    """The dataclass ``kind`` with these settings, each of its declared type. Raises ``error``, naming the key."""
    hints = typing.get_type_hints(kind, include_extras=True)
    declared = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in settings.items():
        if key not in declared:
            raise error(f"{place} has no setting {key!r}: known are {', '.join(declared)}.{nearest(key, declared)}")
        values[key] = _typed(value, hints[key], f"{place}.{key}", error)
    missing = [
        name
        for name, entry in declared.items()
        if name not in values and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise error(f"{place} lacks {', '.join(missing)}")
    return kind(**values)


def _typed(value: Any, hint: Any, place: str, error: type[UserError]) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    hint = without_none(hint)
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    origin = typing.get_origin(hint)
    if origin is tuple:
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(
            _typed(item, typing.get_args(hint)[0], f"{place}[{index}]", error) for index, item in enumerate(values)
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise error(f"{place} is {value!r}: give a mapping of flags to values")
        return {str(key): _plain(item, f"{place}.{key}", error) for key, item in value.items()}
    return _scalar(value, hint, place, error)


def _scalar(value: Any, hint: type, place: str, error: type[UserError]) -> Any:
    if hint is bool:
        known = {True: True, False: False, "true": True, "false": False}
        if isinstance(value, bool | str) and value in known:
            return known[value]
    elif hint is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    elif hint in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = hint(value)
            is_it = hint is not int or float(value) == number
        except (ValueError, OverflowError):  # infinity, a number of 400 digits
            is_it = False
        if is_it:
            return number
    raise error(f"{place} is {value!r}: give a {hint.__name__}")


def _plain(value: Any, place: str, error: type[UserError]) -> Any:
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise error(f"{place} is {value!r}: give a text, a number, true, false, or a list of those")


def without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint
