"""docs/training.md: each line of what is guaranteed names its test, and each refused flag is one that is refused."""

from __future__ import annotations

import re

from support import ROOT

from llava_faba.training.flag_checks import HIDDEN

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_guarantee_names_a_test_that_is_there():
    sources = "\n".join(path.read_text() for path in (ROOT / "tests" / "training").glob("test_*.py"))
    rows = [line for line in section("What is guaranteed").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 8
    for row in rows:
        named = row.rsplit("|", 2)[1]
        files = re.findall(r"`(?:tests/training/)?(test_\w+\.py)", named)
        functions = re.findall(r"(?:::|`)(test_\w+)`", named)
        assert files or functions, row
        assert all((ROOT / "tests" / "training" / name).is_file() for name in files), row
        assert all(f"def {name}(" in sources for name in functions), row


def test_the_table_names_what_has_no_use():
    table = section("Flags that are refused")
    told = set(re.findall(r"--(\w+)", table))
    evaluation = {name for name, why in HIDDEN.items() if "no evaluation set" in why}
    assert HIDDEN.keys() - evaluation <= told and "evaluation_strategy" in told
