#!/usr/bin/env python3
"""``make audit [FILES]``: what a public database knows against the packages that requirements/ pins.

pip-audit asks; three answers are told apart, and only one of them is good news:

0  the database answered, and knows nothing against any of them
1  it knows weaknesses, which are listed
3  it did not answer, or not truthfully: **nothing is known**

A database that is not really there can look like one that knows nothing (a mirror without that part of the index). So
it is first asked about a release that it must know something against; if it does not, its silence about the others
means nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KNOWN_BAD = "gradio==4.16.0"  # CVE-2024-1561 and others: files of the server's machine read over HTTP
NO_ANSWER = 3


class NoAnswerError(Exception):
    """The database did not answer."""


def main(arguments: list[str]) -> int:
    files = [Path(name) for name in arguments] or sorted((ROOT / "requirements").glob("*.txt"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            canary = Path(folder) / "known-bad.txt"
            canary.write_text(KNOWN_BAD + "\n", encoding="utf-8")
            if not weaknesses(canary):
                raise NoAnswerError(f"it knows nothing against {KNOWN_BAD}, which has published weaknesses")
        found = {path.name: weaknesses(path) for path in files if pinned(path)}
    except NoAnswerError as error:
        print(f"audit: NOT DONE, no database of weaknesses answers here: {error}")
        print("audit: nothing is known about the pinned packages. Run it where the database can be reached.")
        return NO_ANSWER
    for name, lines in found.items():
        print(f"{name}: {len(lines)} weaknesses" if lines else f"{name}: none known")
        print("".join(f"  {line}\n" for line in lines), end="")
    return 1 if any(found.values()) else 0


def pinned(path: Path) -> list[str]:
    """The exact versions in a requirements file; ranges (llava-newest.txt) say nothing to a database."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if "==" in line.partition(";")[0]]


def weaknesses(path: Path) -> list[str]:
    """One line for each weakness of what a file pins. Raises NoAnswerError when that could not be found out."""
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / path.name
        exact.write_text("\n".join(pinned(path)) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        done = subprocess.run(
            [*command, "--format", "json", "--requirement", str(exact)], capture_output=True, text=True
        )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
        packages = report["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError(f"{path.name}: {done.stderr.strip()[-500:] or error}") from error
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if skipped or done.returncode not in (0, 1):
        raise NoAnswerError(f"{path.name}: no answer about {', '.join(skipped[:5]) or 'anything'}")
    return [
        f"{one['name']} {one['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or '-'}"
        for one in packages
        for weakness in one["vulns"]
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
