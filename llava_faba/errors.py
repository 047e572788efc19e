"""Errors that a user can fix. Each message says what was wrong, where, and what to do.

The command lines print these without a traceback and exit with 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something outside the program has to change: a file, a flag, an installed package."""


class UpstreamError(UserError):
    """LLaVA is missing, does not import, or is not the LLaVA that this plugin knows."""


class SeamMismatchError(UpstreamError):
    """A place in LLaVA that the plugin attaches to does not look as expected.

    Attributes: ``seam`` (its name in the table), ``expected``, ``found`` (both human-readable).
    """

    def __init__(self, seam: str, expected: str, found: str) -> None:
        self.seam, self.expected, self.found = seam, expected, found
        super().__init__(
            f"seam '{seam}': expected {expected}, found {found}. "
            "This LLaVA differs from the releases that llava-faba supports (llava 1.2.2.post1 from PyPI or the "
            "git tree of the same version); install one of those, or run 'llava-faba doctor' for details."
        )


class CheckpointError(UserError):
    """A model folder is incomplete, unsafe or contradicts itself."""


class ExpertError(UserError):
    """A facial prior expert is unknown, not installed, or has no weights."""


class PriorError(UserError):
    """A facial prior is missing, unreadable or has the wrong size."""


class RecordError(UserError):
    """An annotation file or one of its records is malformed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` when one of ``known`` resembles ``name``, else an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
