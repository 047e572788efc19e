"""tools/audit.py never takes silence for good news; a stub stands in pip-audit's place, which needs a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

# What a pip-audit prints for each file of pins: STUB says which of its answers it is.
STUB = """
import json, os, pathlib, re, sys
path = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1])
pins = [line.split("==") for line in path.read_text().split()]
assert len({name for name, _ in pins}) == len(pins), "pip-audit refuses a package twice"
bad = {"gradio": ["CVE-2024-1561"], **json.loads(os.environ["BAD"])}
packages = [
    {"name": name, "version": version, "vulns": [{"id": one, "fix_versions": ["9.9"]} for one in bad.get(name, [])]}
    for name, version in pins
]
kind = os.environ["KIND"]
if kind == "down":
    sys.exit("requests.exceptions.ConnectionError: no route to the database")
if kind == "empty mirror":
    packages = [{**one, "vulns": []} for one in packages]
if kind in ("skips", "forgets"):
    packages = [one for one in packages if one["name"] != "torch"]
if kind == "skips":
    packages.append({"name": "torch", "skip_reason": "not found"})
print(json.dumps({"dependencies": packages, "fixes": []}))
sys.exit(int(any(one.get("vulns") for one in packages)))
"""
PINS = """
torch==2.0.1
NumPy==1.26.4 ; python_version < '3.11'
numpy==2.5.5 ; python_version >= '3.11'  # both are asked about
peft>=0.4
"""


def audit(folder: Path, kind: str, bad: dict[str, list[str]]) -> subprocess.CompletedProcess[str]:
    (folder / "pip_audit.py").write_text(STUB)
    (folder / "pins.txt").write_text(PINS)
    variables = {**os.environ, "PYTHONPATH": str(folder), "KIND": kind, "BAD": json.dumps(bad)}
    command = [sys.executable, str(ROOT / "tools" / "audit.py"), str(folder / "pins.txt")]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def test_no_weaknesses_is_said_only_of_all_pins(tmp_path):
    done = audit(tmp_path, "answers", {})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "pins.txt: 3 packages, no known weaknesses\n"


def test_weaknesses_are_listed_also_of_versions_for_other_pythons(tmp_path):
    done = audit(tmp_path, "answers", {"numpy": ["CVE-1", "CVE-2"]})
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "pins.txt: 3 packages, 4 weaknesses"
    for version in ("1.26.4", "2.5.5"):
        assert f"  numpy=={version}: CVE-1, fixed in 9.9" in done.stdout


@pytest.mark.parametrize("kind", ["down", "empty mirror", "skips", "forgets"])
def test_silence_is_no_good_news(tmp_path, kind):
    done = audit(tmp_path, kind, {})
    assert done.returncode == 3
    assert "NOT DONE" in done.stdout and "nothing is known" in done.stdout and "no known weak" not in done.stdout
