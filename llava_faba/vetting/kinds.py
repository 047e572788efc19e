"""What a value in somebody's JSON file may be, and reading an object by a table that lists its keys.

A table maps each key to a ``Check``: a function that returns the value or raises ValueError, whose text ends the
sentence "KEY must be ...". What no table lists is not handed on: it is dropped and noted.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import CONFIG_LIMIT, kind_of, read_json
from faba_bench.files.paths import regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import CheckpointError

Check = Callable[[Any], Any]
Table = Mapping[str, Check]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
log = logging.getLogger("llava_faba")


class _Unreadable(Exception):
    pass


class Dropped(Exception):
    """Raised by a check whose value is neither wrong nor handed on."""


def read(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder. Raises CheckpointError, naming the file and what is wrong."""
    regular_file(path, limit=CONFIG_LIMIT, error=CheckpointError)
    try:
        value = read_json(path, error=_Unreadable, allow_nan=True)  # a NaN is refused where its key is checked
    except (_Unreadable, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(printable(str(path)))
        raise CheckpointError(f"{path}: not readable as JSON: {str(reason).lstrip(', :')}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected an object, found {type(value).__name__}.")
    return value


def checked(
    values: Mapping[str, Any], table: Table, where: str | Path, *, quiet: Collection[str] = ()
) -> dict[str, Any]:
    """``values`` as ``table`` lists them; what it does not list is dropped, with a note unless ``quiet`` names it.

    Raises CheckpointError for a value that is not what its key says.
    """
    kept: dict[str, Any] = {}
    unknown: list[str] = []
    for key, value in values.items():
        check = table.get(key)
        if check is None:
            if key not in quiet:
                unknown.append(key)
            continue
        try:
            kept[key] = check(value)
        except Dropped:
            continue
        except ValueError as error:
            raise CheckpointError(f"{where}: {key} must be {error}, not {shown(value)}.") from None
    if unknown:
        named = ", ".join(printable(key)[:60] for key in sorted(unknown)[:12])
        more = f" and {len(unknown) - 12} more" if len(unknown) > 12 else ""
        log.warning("%s: keys that llava-faba does not know are left out: %s%s", where, named, more)
    return kept


def shown(value: Any) -> str:
    """A value as messages show it: short, on one line."""
    return kind_of(value) if isinstance(value, dict | list) else printable(repr(value))[:80]


def whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value) if isinstance(value, float) else value

    return check


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(limit: int = 1000) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise ValueError(f"a text of at most {limit} characters")
        return value

    return check


def path_or_name(value: Any) -> str:
    """A path on some machine, or a model's name on the hub."""
    if not isinstance(value, str) or len(value) > 4000 or not value.isprintable():
        raise ValueError("a path or a model's name")
    if any(len(part.encode("utf-8", "replace")) > 255 for part in value.split("/")):
        raise ValueError("a path whose parts have at most 255 bytes")
    return value


def name(value: Any) -> str:
    """A module's or parameter's name, dots included: letters, digits, underscores."""
    if not isinstance(value, str) or len(value) > 200 or not _NAME.fullmatch(value):
        raise ValueError("a name of letters, digits, underscores and dots")
    return value


def one_of(*choices: Any) -> Check:
    def check(value: Any) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise ValueError("one of " + ", ".join(repr(choice) for choice in choices))
        return value

    return check


def optional(inner: Check) -> Check:
    """null, or ``inner``."""
    return lambda value: None if value is None else inner(value)


def either(*checks: Check) -> Check:
    def check(value: Any) -> Any:
        wanted = []
        for inner in checks:
            try:
                return inner(value)
            except ValueError as error:
                wanted.append(str(error))
        raise ValueError(" or ".join(wanted))

    return check


def list_of(inner: Check, *, most: int = 10_000, length: int | None = None) -> Check:
    def check(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most or length not in (None, len(value)):
            raise ValueError(f"a list of {length if length is not None else f'at most {most}'} values")
        try:
            return [inner(item) for item in value]
        except ValueError as error:
            raise ValueError(f"a list whose items are each {error}") from None

    return check


def dict_of(keys: Check, values: Check, *, most: int = 10_000) -> Check:
    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > most:
            raise ValueError(f"an object of at most {most} keys")
        try:
            return {keys(key): values(item) for key, item in value.items()}
        except ValueError as error:
            raise ValueError(f"an object whose keys and values are each {error}") from None

    return check


def table_of(table: Table, *needed: str) -> Check:
    """An object with these keys and no others; those ``needed`` must be there."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("an object")
        unknown = sorted(value.keys() - table.keys())
        if unknown:
            raise ValueError(f"an object of {', '.join(table)}, without {printable(unknown[0])[:60]!r}")
        missing = [key for key in needed if key not in value]
        if missing:
            raise ValueError(f"an object with {' and '.join(needed)}")
        kept = {}
        for key, item in value.items():
            try:
                kept[key] = table[key](item)
            except ValueError as error:
                raise ValueError(f"an object whose {key} is {error}") from None
        return kept

    return check


def dropped(value: Any) -> Any:
    """Known, of no use here, and left out without a word."""
    raise Dropped


def dropped_if(inner: Check) -> Check:
    """Left out where it says what is the case anyway; any other value is refused."""

    def check(value: Any) -> Any:
        inner(value)
        raise Dropped

    return check


def finite_numbers(low: float = -1e6, high: float = 1e6, *, most: int = 1 << 16) -> Check:
    return list_of(number(low, high), most=most)
