"""Registration: idempotent, undone without a trace, and refusing a LLaVA that does not fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llava_faba
from llava_faba.errors import SeamMismatchError
from llava_faba.registration import is_registered
from llava_faba.registration.seams import SEAMS


def llava_attributes() -> dict[tuple[str, str], int]:
    import llava.model.builder
    import llava.train.train  # noqa: F401

    return {
        (name, attribute): id(value)
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "llava" and module is not None
        for attribute, value in vars(module).items()
        if not attribute.startswith("__")
    }


def test_unregister_restores_every_original_and_both_are_idempotent():
    before = llava_attributes()
    llava_faba.register()
    llava_faba.register()
    assert is_registered()
    assert llava_attributes() != before
    llava_faba.unregister()
    llava_faba.unregister()
    assert not is_registered()
    after = llava_attributes()
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_an_unexpected_upstream_is_refused_and_left_alone(seam, monkeypatch):
    import importlib

    owner = importlib.import_module(seam.module)
    *parents, name = seam.attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    monkeypatch.setattr(owner, name, "something else")
    before = llava_attributes()
    with pytest.raises(SeamMismatchError) as caught:
        llava_faba.register()
    assert caught.value.seam == seam.name
    assert caught.value.expected in str(caught.value) and "something else" in caught.value.found
    after = llava_attributes()
    assert {key: after[key] for key in before} == before


def test_a_missing_upstream_attribute_is_refused(monkeypatch):
    import llava.train.train

    monkeypatch.delattr(llava.train.train, "find_all_linear_names")
    with pytest.raises(SeamMismatchError, match="lora-targets"):
        llava_faba.register()
    assert not is_registered()


@pytest.mark.parametrize(
    "code", ["import llava_faba", "from llava_faba.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_import_and_help_load_neither_torch_nor_llava(code):
    check = f"{code}\nimport sys; sys.exit(bool({{'torch', 'llava', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], stdout=subprocess.DEVNULL).returncode == 0


def test_architecture_page_lists_exactly_the_seams():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert listed == [seam.name for seam in SEAMS]


def test_setup_cfg_lists_every_package():
    import configparser
    from pathlib import Path

    root = Path(__file__).parents[2]
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {"llava_faba.scripts"}
    for top, package in ((root, "llava_faba"), (root / "eval", "faba_bench")):
        for init in (top / package).rglob("__init__.py"):
            found.add(".".join(init.parent.relative_to(top).parts))
    assert listed == found
