"""The table of docs/upstream.md names tests that exist, and patches as they are installed."""

from __future__ import annotations

import ast
import re

from support import ROOT

from llava_faba.patching.catalogue import patches_for

PAGE = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_exists():
    named = set(re.findall(r"\btest_\w+", PAGE))
    files = list((ROOT / "tests").rglob("test_*.py"))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    functions = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert len(named) > 8 and named <= functions | {path.stem for path in files}


def test_it_lists_every_patch_and_its_code_base():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (both|wheel|git) \|", PAGE, re.MULTILINE))
    wheel, git = ({patch.name for patch in patches_for(name)} for name in ("wheel", "git"))
    expected = {name: "both" if name in wheel & git else "wheel" if name in wheel else "git" for name in wheel | git}
    assert rows == expected
