"""Files of lines that are appended to, and that a crash may have cut short."""

from __future__ import annotations

import os
from pathlib import Path

from faba_bench.files.oserrors import naming


def end_last_line(path: Path) -> None:
    """Put a line end behind a last line that has none, lest it swallow the line that comes next.

    Whoever reads the file passes over the torn line. Raises OSError, for a file that is not there too.
    """
    with naming(path), path.open("r+b") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
