"""What must not be torn apart by a split: records that show the same picture or the same person, over all inputs.

A picture is known by what it shows (its decoded pixels), and by its path where no file can be looked at; a person by
the subject's name. Whatever two records share, they and all that hang together with them fall on one side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llava_faba.datatools.validate.media import look_at_image
from llava_faba.datatools.validate.parallel import Workforce
from llava_faba.errors import RecordError
from llava_faba.images import ImageFolder


@dataclass(frozen=True)
class Pictures:
    """How pictures were told apart: ``keys`` by path as the mixture writes it, and how many could not be looked at."""

    keys: Mapping[str, str]
    looked_at: int = 0
    unseen: int = 0


def look_at_pictures(paths: Sequence[str], folder: Path | None, workers: int = 1, progress: bool = False) -> Pictures:
    """The key of each picture, by its pixels where ``folder`` holds it (inside, a regular file), else by its path."""
    keys = {path: f"path/{PurePosixPath(path)}" for path in paths}
    if folder is None:
        return Pictures(keys, 0, len(keys))
    rule = ImageFolder(folder)
    files: dict[str, str] = {}
    for path in keys:
        try:
            files[path] = str(rule.check(path))
        except RecordError:
            continue
    looked = 0
    for path, fact in zip(
        files, Workforce(workers, progress).each(look_at_image, list(files.values()), "images"), strict=True
    ):
        if fact.error is None:
            keys[path] = f"pixels/{fact.pixels}"
            looked += 1
    return Pictures(keys, looked, len(keys) - looked)


def subject_of(record: Mapping[str, Any], pattern: re.Pattern[str] | None) -> str | None:
    """Whom a record shows: its ``subject``, or group 1 of ``pattern`` in its image path."""
    subject, image = record.get("subject"), record.get("image")
    if subject is None and pattern is not None and isinstance(image, str) and (match := pattern.search(image)):
        subject = match.group(1)
    return None if subject is None else str(subject)


class Groups:
    """Sets of records that hang together, joined step by step; each set is called by its smallest name."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def _root(self, name: str) -> str:
        self._parent.setdefault(name, name)
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, names: Sequence[str]) -> None:
        """Everything about these names is one set."""
        roots = sorted({self._root(name) for name in names}, key=_order)
        for other in roots[1:]:
            self._parent[other] = roots[0]

    def of(self, name: str) -> str:
        """What the set is called that ``name`` is in: a subject's name, where it holds one."""
        return self._root(name)


def _order(name: str) -> tuple[bool, str]:
    return (not name.startswith("subject/"), name)


def group_records(
    inputs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    placed: Sequence[Sequence[str | None]],
    pictures: Pictures,
    split_by: str,
    pattern: re.Pattern[str] | None,
) -> list[list[str]]:
    """The group of each record of each input (name and records); ``placed``: their image paths in the mixture.

    ``split_by`` "subject" joins people and pictures, "image" pictures, "record" nothing.
    """
    groups = Groups()
    names: list[list[str]] = []
    for (name, content), paths in zip(inputs, placed, strict=True):
        own = []
        for index, (record, path) in enumerate(zip(content, paths, strict=True)):
            keys = []
            if split_by != "record" and path is not None:
                keys.append(f"image/{pictures.keys[path]}")
            if split_by == "subject" and (subject := subject_of(record, pattern)) is not None:
                keys.append(f"subject/{subject}")
            keys = keys or [f"record/{name}/{index}"]
            groups.join(keys)
            own.append(keys[0])
        names.append(own)
    return [[groups.of(name) for name in own] for own in names]


def largest(groups: Sequence[Sequence[str]]) -> int:
    """How many records the largest group has."""
    counts = Counter(name for own in groups for name in own)
    return max(counts.values(), default=0)
