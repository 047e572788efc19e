"""What the readers of JSON, tables and "label: value" lists have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from faba_bench.strict.values import Value


class Labels(Protocol):
    """Finds the labels of a task: action units or emotions."""

    def cell(self, text: str, bare: bool = False) -> tuple[Any, ...] | None:
        """The labels that a whole cell or key names, None when it is none; `bare`: a number will do."""

    def spans(self, text: str) -> Sequence[tuple[int, int, tuple[Any, ...]]]:
        """Places of labels in a text, in order."""


class Entry(NamedTuple):
    """What a structure says of some labels; `source` is "c" or "r" for OpenFace's two columns."""

    labels: tuple[Any, ...]
    value: Value
    source: str = ""


@dataclass
class Structure:
    """All that a structure says: entries, texts that stand for the answer, and why it is ambiguous."""

    entries: list[Entry] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ambiguous: str = ""
    intensities: bool = False
    found: bool = False
    #: Fields that hold the answer: how deep, how telling, and their text.
    answers: list[tuple[int, int, str]] = field(default_factory=list)
    #: Labels listed in an order or without a value: present, as lists of action units are.
    listed: list[Any] = field(default_factory=list)

    def add(self, labels: Sequence[Any], value: Value, source: str = "") -> None:
        """One more entry."""
        self.entries.append(Entry(tuple(labels), value, source))
        self.found = True

    def list(self, labels: Sequence[Any], present: bool = True) -> None:
        """Labels in a list of what is present or absent."""
        self.found = True
        for label in labels:
            self.entries.append(Entry((label,), Value(present), "list"))
