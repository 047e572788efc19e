#!/usr/bin/env python3
"""What the newest release of each dependency breaks: a maintainer runs this once a month, in a clone.

    make setup-newest && python tools/check_upstream.py            # each dependency, one at a time
    python tools/check_upstream.py peft numpy --base .venv         # these, on the stack that LLaVA pins

Each dependency gets a fresh environment that lies over the base: nothing but the dependency, and what its newest
release asks for, differs from what the base has pinned. Then the tests run in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
DEPENDENCIES = (
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "deepspeed",
    "numpy",
    "safetensors",
    "sentencepiece",
)
# "TypeError: ..." at the start of a line, or after pytest's mark, indentation, and torchrun's mark.
_RAISED = re.compile(r"^(?:E\s)?\s*(?:\[rank\d+\]: )?((?:\w+\.)*\w*(?:Error|Exception|Exit): .+)$", re.MULTILINE)
TESTS = ("tests/compat", "tests/registration", "tests/model/test_golden.py", "tests/training/test_training.py")


@dataclass(frozen=True)
class Outcome:
    """What came of one dependency: its versions before and after, all that pip changed, and the tests that failed."""

    name: str
    before: str
    after: str
    changed: list[str]
    failures: list[str]

    def __str__(self) -> str:
        head = f"{self.name} {self.before} -> {self.after}"
        if self.before == self.after:
            return f"{self.name} {self.before}: nothing newer"
        others = f" (with {', '.join(self.changed)})" if self.changed else ""
        if not self.failures:
            return f"{head}{others}: works"
        return f"{head}{others}: BREAKS\n" + "\n".join(f"    {line}" for line in self.failures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dependencies", nargs="*", default=DEPENDENCIES, help="default: %(default)s")
    parser.add_argument(
        "--base", type=Path, default=ROOT / ".venv-newest", help="environment made by make setup-newest"
    )
    parser.add_argument("--tests", nargs="+", default=TESTS, help="what pytest runs, default: %(default)s")
    args = parser.parse_args()
    python = args.base.absolute() / "bin" / "python"
    if not python.exists():
        parser.error(f"{args.base} is no environment; run 'make setup-newest' (or 'make setup' for .venv) first")
    outcomes = []
    for name in args.dependencies:
        outcomes.append(check(name, python, args.tests))
        print(outcomes[-1], flush=True)
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def check(name: str, base: Path, tests: list[str]) -> Outcome:
    """Install the newest release of ``name`` over the base environment and run the tests there."""
    before = versions(base)
    if name not in before:
        return Outcome(name, "not installed", "not installed", [], [])
    with tempfile.TemporaryDirectory(prefix=f"check-{name}-") as scratch:
        python = overlay(base, Path(scratch) / "env")
        # torch stays: a plain requirement on it would pull another build.
        pins = Path(scratch) / "constraints.txt"
        pins.write_text(f"torch=={before['torch']}\n" if name != "torch" else "", encoding="utf-8")
        command = [str(python), "-m", "pip", "install", "-q", "--upgrade", "-c", str(pins), name]
        installed = subprocess.run(command, capture_output=True, text=True)
        if installed.returncode != 0:
            reasons = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
            return Outcome(name, before[name], "its newest", [], reasons or ["pip failed"])
        after = versions(python)
        changed = [f"{key} {after[key]}" for key in sorted(after) if key != name and after[key] != before.get(key)]
        if after[name] == before[name]:
            return Outcome(name, before[name], after[name], [], [])
        return Outcome(name, before[name], after[name], changed, failures(python, tests))


def overlay(base: Path, folder: Path) -> Path:
    """A fresh environment that falls back on the base's packages; its python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    own, below = (Path(subprocess.check_output([str(one), "-c", where], text=True).strip()) for one in (python, base))
    (own / "base.pth").write_text(f"import site; site.addsitedir({str(below)!r})\n", encoding="utf-8")
    (folder / "bin" / "deepspeed").write_text(f"#!{python}\nfrom deepspeed.launcher.runner import main\nmain()\n")
    (folder / "bin" / "deepspeed").chmod(0o755)
    return python


def versions(python: Path) -> dict[str, str]:
    """Every installed package; of one that is there twice the first on the path, which is the one imported."""
    code = (
        "import importlib.metadata as m, json; found = {}\n"
        "for d in m.distributions(): found.setdefault(d.metadata['Name'].lower().replace('_', '-'), d.version)\n"
        "print(json.dumps(found))"
    )
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", code], text=True))
    return found


def failures(python: Path, tests: list[str]) -> list[str]:
    """One line for each reason why tests fail; the end of the output when there was no test to fail."""
    with tempfile.TemporaryDirectory(prefix="check-report-") as scratch:
        report = Path(scratch) / "report.xml"
        result = subprocess.run(
            [str(python), "-m", "pytest", "-q", "-m", "newest", "--tb=short", f"--junitxml={report}", *tests],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
        )
        if result.returncode == 0:
            return []
        cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    tests_of: dict[str, list[str]] = {}
    for case in cases:
        for failure in (*case.iterfind("failure"), *case.iterfind("error")):
            tests_of.setdefault(reason(failure.text or ""), []).append(f"{case.get('classname')}::{case.get('name')}")
    reasons = [f"{why} ({len(names)} tests: {names[0]} ...)" for why, names in tests_of.items()]
    return reasons or (result.stdout + result.stderr).splitlines()[-5:]


def reason(report: str) -> str:
    """The exception in a test's report: where the test ran a program, the program's and not the test's assertion."""
    raised = [found.group(1)[:300] for found in _RAISED.finditer(report)]
    return next(
        (one for one in reversed(raised) if not one.startswith("AssertionError")), (raised or ["no reason given"])[-1]
    )


if __name__ == "__main__":
    sys.exit(main())
