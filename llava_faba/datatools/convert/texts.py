"""What the converters of the field's text sets share: label files in JSON, pictures that other sets hand out, texts.

Such sets publish labels and texts, and leave the media to the sets that they took them from. What is named and not
there is listed in ``conversion.json`` (``missing_media``), so that it can be fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from faba_bench.files.jsonfiles import read_items, read_json
from faba_bench.files.paths import inside
from faba_bench.files.terminal import printable
from faba_bench.protocol import load_protocol

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import IMAGE_SUFFIXES
from llava_faba.datatools.convert.ledger import Ledger
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import CONTEMPT

MISSING = "the picture is not there"
_SHOWN = 5
_AU = re.compile(r"AU[ _]?0*([1-9][0-9]?)(?:_[rc])?\Z", re.IGNORECASE)
_CLASSES: Mapping[str, str] = load_protocol("affectnet-8").emotion.aliases  # type: ignore[union-attr]
_NAMES = {name.lower(): name for name in load_protocol("affectnet-8").emotion.classes}  # type: ignore[union-attr]


class Media:
    """Pictures below a folder, by the paths that label files name. Raises ``UserError`` for a path that leads out."""

    def __init__(self, folder: Path, conversion: Conversion) -> None:
        if not folder.is_dir():
            raise UserError(f"{conversion.source}: no folder {folder} to look for pictures in (--images)")
        self.folder, self._conversion = folder, conversion

    def find(self, name: str, hint: str = "") -> Path | None:
        """The file called ``name`` below the folder, also with the folder's own name in front, or with another
        suffix of a picture; None where it is not there, which is remembered with ``hint``."""
        given = PurePosixPath(name.replace("\\", "/").lstrip("/"))
        tries = [given, PurePosixPath(*given.parts[1:])] if len(given.parts) > 1 else [given]
        if len(given.parts) > 1 and given.parts[0].lower() != self.folder.name.lower():
            tries.pop()
        for one in tries:
            path = inside(self.folder, str(one), error=UserError)
            if path.is_file():
                return path
            for suffix in IMAGE_SUFFIXES:
                if path.suffix.lower() in IMAGE_SUFFIXES and path.with_suffix(suffix).is_file():
                    return path.with_suffix(suffix)
        self._conversion.missing.append(f"{given}{hint}")
        return None

    def check(self) -> None:
        """Call this when all rows are read. Raises ``UserError`` for missing pictures, without ``--allow-missing``."""
        missing = self._conversion.missing
        if missing and not self._conversion.options.allow_missing:
            shown = ", ".join(printable(one) for one in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise UserError(
                f"{self._conversion.source}: {len(missing)} pictures are not below {self.folder}: {shown}{more}. "
                "Fetch them from the sets that they belong to, say where they are with --images, or leave them out "
                "with --allow-missing, which lists all of them in conversion.json"
            )


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of a JSON list or JSON-lines file. Raises ``UserError`` for anything else."""
    for number, item in enumerate(read_items(path, error=UserError)):
        where = f"{path.name}, record {number}"
        if not isinstance(item, dict):
            raise UserError(f"{path}: record {number} is not an object but {type(item).__name__}")
        yield where, item


def named_objects(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, name, object) of a file that is one object of objects."""
    value = read_json(path, limit=1 << 40, error=UserError)
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise UserError(f"{path}: expected an object of samples by their names")
    for name, item in value.items():
        yield f"{path.name}, '{printable(name)[:80]}'", name, item


def text_of(item: Mapping[str, Any], key: str, where: str, *, needed: bool = True) -> str:
    """The text under ``key``, empty where it is missing and not ``needed``. Raises ``UserError`` for what is none."""
    value = item.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value.strip()):
        raise UserError(f"{where}: '{key}' is {'missing' if value is None else 'no text'}")
    return value.strip()


def emotion_of(word: str, options: Options) -> tuple[str | None, str]:
    """(class, "") of a name as these sets write it, or (None, why the row is left out)."""
    lowered = word.strip().lower()
    name = _NAMES.get(lowered) or _CLASSES.get(lowered)
    if name is None:
        return None, f"no class of FABA-Bench: {printable(lowered)[:40] or 'an empty label'}"
    if name == CONTEMPT and options.classes == 7:
        return None, "Contempt (--classes 8 takes it)"
    return name, ""


def aus_of(values: Iterable[object], where: str) -> tuple[int, ...]:
    """AU numbers of a list such as ["AU1", "AU04_r"]. Raises ``UserError`` for another text."""
    found = set()
    for value in values:
        match = _AU.match(str(value).strip())
        if not match:
            raise UserError(f"{where}: {printable(str(value))[:60]!r} is no action unit such as 'AU12'")
        found.add(int(match[1]))
    return tuple(sorted(found))


def in_vocabulary(aus: tuple[int, ...], conversion: Conversion) -> tuple[int, ...]:
    """``aus`` without those that FABA-Bench's protocol does not know, which are counted in the notes."""
    known = load_protocol("faba").au.vocabulary  # type: ignore[union-attr]
    for number in aus:
        if number not in known:
            conversion.other_aus[number] += 1
    return tuple(number for number in aus if number in known)


def finish(conversion: Conversion, ledger: Ledger[Sample]) -> Split:
    """Settle the rows into the one split, by their ``part``; notes of what was left out of labels."""
    split = conversion.splits[0]
    for sample in ledger.settle():
        (split.eval if sample.part == "eval" else split.train).append(sample)
    if conversion.other_aus:
        listed = ", ".join(f"AU{number} {count}" for number, count in sorted(conversion.other_aus.items()))
        conversion.notes.append(f"AUs that FABA-Bench does not know were left out of the labels: {listed}")
    return split
