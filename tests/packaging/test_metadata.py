"""What setup.cfg, requirements/ and the pages say about versions agrees with the one table of packages."""

from __future__ import annotations

import re
from collections import Counter
from configparser import ConfigParser

import pytest
from support import ROOT

from llava_faba.packages import MAIN, PACKAGES

FILES = sorted((ROOT / "requirements").glob("*.txt"))
TOOLS = {"dev"}  # the extra of those who work on llava-faba


def extras() -> dict[str, list[str]]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return {name: value.split() for name, value in config["options.extras_require"].items()}


def base() -> list[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["options"]["install_requires"].split()


def test_each_extra_asks_for_what_the_table_says():
    found = extras()
    assert sorted(base()) == sorted(row.requirement for row in PACKAGES if not row.extras)
    for name, needed in found.items():
        if name in TOOLS:
            continue
        wanted = [row.requirement for row in PACKAGES if name in row.extras]
        assert sorted(one for one in needed if not one.startswith("llava-faba[")) == sorted(wanted), name
    assert f"llava-faba[{MAIN}]" in found["train"]
    assert {extra for row in PACKAGES for extra in row.extras} <= set(found)


def test_every_package_of_the_base_install_is_needed():
    assert all(row.is_needed for row in PACKAGES if not row.extras)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_requirements_file_names_each_package_once(path):
    """Two versions of one package cannot be installed; merges of two branches make such files."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    names = Counter(re.sub(r"[-_.]+", "-", re.split(r"[=<>;\s]", line)[0]).lower() for line in lines if ";" not in line)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("name", ["torch", "transformers", "accelerate", "peft"])
def test_the_override_file_allows_what_the_newest_tests_run_and_no_later_series(name):
    from packaging.requirements import Requirement
    from packaging.version import Version

    pins = "".join((ROOT / "requirements" / file).read_text() for file in ("torch-newest.txt", "newest.txt"))
    tested = Version(re.search(rf"^{name}==(\S+)$", pins, re.MULTILINE)[1])
    lines = (ROOT / "requirements" / "llava-newest.txt").read_text().splitlines()
    (allowed,) = (Requirement(line) for line in lines if re.match(rf"{name}\W", line))
    assert tested in allowed.specifier and f"{tested.major}.{tested.minor + 1}" not in allowed.specifier
