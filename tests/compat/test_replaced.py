"""What is replaced for the time of one call: by one function, in the table, and put back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from support import ROOT

from llava_faba.compat.engine import replaced

PACKAGE = ROOT / "llava_faba"
OTHERS = ("torch", "transformers", "peft", "gradio", "llava", "accelerate", "deepspeed", "sys")


def uses() -> Iterator[tuple[str, str]]:
    """File (below the package) and replaced attribute, "" where the name is computed, of each call of ``replaced``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "replaced":
                name = node.args[1]
                yield path.relative_to(PACKAGE).as_posix(), name.value if isinstance(name, ast.Constant) else ""


def rows() -> dict[str, str]:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Replacements for the time of one call")[2]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return {line.split("|")[1].strip(" `"): line.split("|")[2] for line in lines}


def test_the_table_names_each_of_them():
    found = set(uses())
    table = rows()
    assert {file for file, _ in found} == set(table) and len(found) > 10
    for file, name in found:
        assert name in table[file], (file, name)


def test_nothing_of_another_package_is_assigned_by_hand():
    by_hand = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else ()
            by_hand += [
                f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(target)}"
                for target in targets
                if isinstance(target, ast.Attribute) and ast.unparse(target).split(".")[0] in OTHERS
            ]
    # Programs: they hand their own arguments on, and end with the process.
    programs = ("inference/engines/launch.py", "registration/runner.py", "training/main.py")
    assert by_hand == [f"{program}: sys.argv" for program in programs]


class Parent:
    kept = "parent's"


class Child(Parent):
    own = "child's"


@pytest.mark.parametrize("name", ["kept", "own"])
def test_it_is_put_back_after_an_error_too(name):
    before, held = getattr(Child, name), name in vars(Child)
    with pytest.raises(ZeroDivisionError), replaced(Child, name, "ours"):
        assert getattr(Child, name) == "ours"
        1 / 0  # noqa: B018 - the error
    assert getattr(Child, name) == before and (name in vars(Child)) == held
