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
import re
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
    pins = {path.name: pinned(path) for path in files}
    try:
        if not weaknesses({KNOWN_BAD})[KNOWN_BAD]:
            raise NoAnswerError(f"it knows nothing against {KNOWN_BAD}, which has published weaknesses")
        known = weaknesses(set().union(*pins.values()))
    except NoAnswerError as error:
        print(f"audit: NOT DONE, no database of weaknesses answers here: {error}")
        print("audit: nothing is known about the pinned packages. Run it where the database can be reached.")
        return NO_ANSWER
    for name, wanted in pins.items():
        lines = [line for pin in sorted(wanted) for line in known[pin]]
        print(f"{name}: {len(wanted)} packages, {len(lines) or 'no known'} weaknesses")
        print("".join(f"  {line}\n" for line in lines), end="")
    return 1 if any(known.values()) else 0


def pinned(path: Path) -> set[str]:
    """The exact versions in a requirements file, as ``name==version``, whatever Python or system they are for.

    Ranges (llava-newest.txt) say nothing to a database.
    """
    lines = (re.split("[;#]", line)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {
        f"{normalized(name)}=={version}" for name, found, version in (line.partition("==") for line in lines) if found
    }


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def weaknesses(pins: set[str]) -> dict[str, list[str]]:
    """For each pin one line per weakness. Raises NoAnswerError when that could not be found out for all of them."""
    found: dict[str, list[str]] = {}
    rest = sorted(pins)
    while rest:  # pip-audit takes a package in one version at a time
        now = {pin.partition("==")[0]: pin for pin in reversed(rest)}
        found |= asked(sorted(now.values()))
        rest = [pin for pin in rest if pin not in found]
    return found


def asked(pins: list[str]) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "pins.txt"
        exact.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        done = subprocess.run(
            [*command, "--format", "json", "--requirement", str(exact)], capture_output=True, text=True
        )
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        answers = {f"{normalized(one['name'])}=={one['version']}": one["vulns"] for one in packages if "vulns" in one}
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError(done.stderr.strip()[-500:] or str(error)) from error
    silent = [pin for pin in pins if pin not in answers]
    if silent or done.returncode not in (0, 1):
        raise NoAnswerError(f"no answer about {', '.join(silent[:5]) or 'anything'}")
    return {
        pin: [f"{pin}: {one['id']}, fixed in {', '.join(one['fix_versions']) or '-'}" for one in answers[pin]]
        for pin in pins
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
