"""The error of this floor."""

from __future__ import annotations

from faba_bench.errors import BenchError


class FileProblem(BenchError):
    """A file that is missing, unreadable, malformed, too large, or outside the folder that it belongs to."""
