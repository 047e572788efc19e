"""The one reader of JSON from outside: sizes, depth, encodings, NaN, duplicate keys, and where each fault is.

Every function takes `error`, the exception to raise, so that callers keep their own kind; messages name file and line.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from faba_bench.files.paths import regular_file
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

DEPTH_LIMIT = 64
"""How deep lists and objects may be nested: records and configs need fewer than ten."""
CONFIG_LIMIT = 64 << 20
"""The largest JSON file that describes something (config, index, result, tokenizer), in bytes."""
LINE_LIMIT = 16 << 20
"""The longest line of a JSON-lines file, in bytes."""
_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def parse_json(
    text: str | bytes,
    where: str,
    *,
    allow_nan: bool = False,
    depth: int = DEPTH_LIMIT,
    error: type[Exception] = FileProblem,
) -> Any:
    """The value that `text` holds. `where` names it in messages.

    Raises `error` for anything but one JSON value in UTF-8 (a BOM is passed over): NaN and infinity unless `allow_nan`,
    an object's key given twice, more than `depth` levels, numbers of thousands of digits.
    """
    if isinstance(text, bytes):
        text = _decoded(text, where, error)
    text = text.removeprefix("\ufeff")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_constant=None if allow_nan else _refuse_constant,
        )
    except json.JSONDecodeError as reason:
        place = (
            f"{where}, line {reason.lineno}, column {reason.colno}"
            if "\n" in text
            else f"{where}, column {reason.colno}"
        )
        raise error(f"{place}: not JSON: {reason.msg}") from reason
    except RecursionError as reason:
        raise error(
            f"{where}: not JSON that can be read: JSON nested too deeply (more than {depth} levels)"
        ) from reason
    except ValueError as reason:  # a number of thousands of digits, NaN, a duplicate key
        raise error(f"{where}: not JSON that can be read: {printable(str(reason))[:300]}") from reason
    if text.count("[") + text.count("{") > depth and _deeper_than(value, depth):
        raise error(f"{where}: not JSON that can be read: JSON nested too deeply (more than {depth} levels)")
    return value


def read_json(
    path: str | Path,
    *,
    limit: int = CONFIG_LIMIT,
    allow_nan: bool = False,
    error: type[Exception] = FileProblem,
) -> Any:
    """The value of a JSON file of at most `limit` bytes. Raises `error`, also for what is no regular file."""
    return parse_json(_read(Path(path), limit, error), printable(str(path)), allow_nan=allow_nan, error=error)


def read_object(
    path: str | Path,
    *,
    limit: int = CONFIG_LIMIT,
    allow_nan: bool = False,
    error: type[Exception] = FileProblem,
) -> dict[str, Any]:
    """As `read_json`, and the value must be an object."""
    value = read_json(path, limit=limit, allow_nan=allow_nan, error=error)
    if not isinstance(value, dict):
        raise error(f"{printable(str(path))}: expected an object, found {kind_of(value)}")
    return value


def iter_json_lines(
    path: str | Path, *, error: type[Exception] = FileProblem, problems: list[str] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) for every line of a JSON-lines file that is not blank; one line is held at a time.

    Lines end at LF or CRLF only: U+2028 and other separators are part of a text. A bad line raises `error`, or is added
    to `problems` and passed over where a list is given.
    """
    path = regular_file(path, error=error)
    try:
        stream = path.open("rb")
    except OSError as reason:
        raise error(f"{printable(str(path))}: cannot be read: {reason.strerror}") from reason
    with stream:
        number = 0
        while line := stream.readline(LINE_LIMIT + 1):
            number += 1
            where = f"{printable(str(path))}, line {number}"
            try:
                if len(line) > LINE_LIMIT:
                    raise error(f"{where}: longer than {LINE_LIMIT} bytes")
                if line.strip(b" \t\r\n\xef\xbb\xbf" if number == 1 else b" \t\r\n"):
                    yield number, parse_json(line.rstrip(b"\r\n"), where, error=error)
            except error as reason:
                if problems is None or len(line) > LINE_LIMIT:
                    raise
                problems.append(str(reason))


def read_items(path: str | Path, *, error: type[Exception] = FileProblem) -> list[Any]:
    """The items of an annotation file: a JSON list, or JSON lines, told apart by content and not by name.

    Raises `error` when it is neither, naming file and line; all bad lines of a JSON-lines file at once.
    """
    path = regular_file(path, error=error)
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"{") or (path.suffix == ".jsonl" and not head.startswith(b"[")):
        return _lines_or_object(path, error)
    value = read_json(path, limit=1 << 40, error=error)
    if not isinstance(value, list):
        raise error(f"{printable(str(path))}: expected a list of records, found {kind_of(value)}")
    return value


def iter_items(path: str | Path, *, error: type[Exception] = FileProblem) -> Iterator[Any]:
    """The items of `read_items`, one after the other, without holding the file or the items before.

    Raises `error` as `read_items` does, behind the items that stand before the fault.
    """
    path, given = regular_file(path, error=error), 0
    try:
        for item in streamed_items(path):
            given += 1
            yield item
    except Unstreamable:  # whatever it is, the reader of whole files says what and where
        yield from itertools.islice(read_items(path, error=error), given, None)


def is_lone_object(path: str | Path, items: list[Any]) -> bool:
    """Is a file that `read_items` has read one object, such as ``{"records": [...]}``, and not called ``.jsonl``?

    One line of JSON lines looks the same: callers look for their keys in it.
    """
    path = Path(path)
    if len(items) != 1 or not isinstance(items[0], dict) or path.suffix == ".jsonl":
        return False
    with path.open("rb") as stream:
        return stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


class Unstreamable(Exception):
    """A file that is no sound JSON list or JSON lines."""


def streamed_items(path: Path) -> Iterator[Any]:
    """The items of a JSON list or of JSON lines, one held at a time. Raises `Unstreamable` for anything amiss."""
    try:
        with path.open("rb") as stream:
            head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        if head.startswith(b"["):
            with path.open(encoding="utf-8-sig") as text:
                yield from _list_items(text)
        elif not head.startswith(b"{") and path.suffix != ".jsonl":
            raise Unstreamable("neither a list nor lines of objects")
        else:
            yield from (value for _, value in iter_json_lines(path, error=Unstreamable))
    except (OSError, ValueError, RecursionError) as reason:
        raise Unstreamable(str(reason)) from reason


def _list_items(stream: TextIO) -> Iterator[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)
    buffer = _Buffer(stream)
    buffer.take("[")
    if buffer.peek() == "]":
        buffer.take("]")
    else:
        while True:
            value = buffer.value(decoder)
            if isinstance(value, dict | list) and _deeper_than(value, DEPTH_LIMIT - 1):
                raise Unstreamable("nested too deeply")
            yield value
            if buffer.peek() == "]":
                buffer.take("]")
                break
            buffer.take(",")
    if buffer.peek():
        raise Unstreamable("more behind the list")


class _Buffer:
    """A window on a text that moves on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self._at, self._ended = stream, "", 0, False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def take(self, sign: str) -> None:
        if self.peek() != sign:
            raise Unstreamable(f"no {sign!r} where one belongs")
        self._at += 1

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The next JSON value, which may reach beyond what was read so far."""
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if self._ended:
                    raise
            else:
                if end < len(self._text) or self._ended:  # a number at the very end may go on
                    self._at = end
                    return value
            self._more()

    def _more(self) -> None:
        """As much again as is waiting, so that a long value is not parsed over and over."""
        rest = self._text[self._at :]
        read = self._stream.read(max(1 << 20, len(rest)))
        self._ended = not read
        self._text, self._at = rest + read, 0


def kind_of(value: object) -> str:
    """A JSON value's kind, as messages name it."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "a number")


def _lines_or_object(path: Path, error: type[Exception]) -> list[Any]:
    problems: list[str] = []
    items = [value for _, value in iter_json_lines(path, error=error, problems=problems)]
    if not problems:
        return items
    if not items:  # one object over several lines, then
        value = None
        try:
            value = read_json(path, limit=1 << 40, error=error)
        except error:
            value = None
        if value is not None:
            raise error(f"{printable(str(path))}: expected a list of records, found {kind_of(value)}")
    shown = "\n  ".join(problems[:20])
    more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
    raise error(f"{printable(str(path))}: {len(problems)} lines cannot be read:\n  {shown}{more}")


def _read(path: Path, limit: int, error: type[Exception]) -> bytes:
    regular_file(path, limit=limit, error=error)
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(f"{printable(str(path))}: cannot be read: {reason.strerror}") from reason


def _decoded(data: bytes, where: str, error: type[Exception]) -> str:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            raise error(f"{where}: {encoding}, not UTF-8; convert the file to UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = data[: reason.start].count(b"\n") + 1
        place = f"{where}, line {line}" if line > 1 else where
        raise error(f"{place}: not UTF-8 (byte 0x{data[reason.start]:02x}); convert the file to UTF-8") from reason


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} is given twice in one object")
            seen.add(key)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _deeper_than(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
