"""Errors that say everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 20


class BenchError(ValueError):
    """Something that the user can fix: an input file, a name, a combination of options."""


class ProtocolError(BenchError):
    """An unknown protocol, a task that it lacks, or a broken protocol file."""


class InputProblems(BenchError):
    """All problems of an input, in the order of the records.

    `problems` holds every one of them; the message shows the first twenty and says how many there are.
    """

    def __init__(self, what: str, problems: Sequence[str], hint: str = "") -> None:
        self.problems = list(problems)
        self.hint = hint
        count = len(self.problems)
        lines = [f"{what}: {count} problem{'' if count == 1 else 's'}"]
        lines += [f"  - {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  - ... and {count - _SHOWN} more")
        if hint:
            lines.append(f"  hint: {hint}")
        super().__init__("\n".join(lines))


class ResultError(BenchError):
    """A result file that is not one, or two results that cannot be compared."""


def short(value: object, longest: int = 80) -> str:
    """``repr(value)``, cut where it is long: a message must stay readable whatever the input holds."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def quote_ids(ids: Sequence[object], shown: int = 10) -> str:
    """``'3', '7' and 12 more``."""
    listed = ", ".join(short(str(value)) for value in ids[:shown])
    return listed if len(ids) <= shown else f"{listed} and {len(ids) - shown} more"
