"""The table of shims: on where something is broken, off where nothing is, and undone without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support import ROOT

import llava_faba
from llava_faba.compat import engine
from llava_faba.compat.flags import translate
from llava_faba.compat.shims import SHIMS
from llava_faba.errors import UserError
from llava_faba.upstream import import_llava

pytestmark = pytest.mark.newest


@pytest.fixture(autouse=True)
def pristine() -> Iterator[None]:
    llava_faba.unregister()
    yield
    llava_faba.unregister()


def is_for_installed(versions: str) -> bool:
    requirement = Requirement(versions)
    name = "llava-torch" if requirement.name == "llava" else requirement.name
    try:
        return requirement.specifier.contains(version(name), prereleases=True)
    except PackageNotFoundError:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)


def shimmed() -> dict[str, Any]:
    """What every attribute of the table holds now; None where there is none."""
    import importlib

    found: dict[str, Any] = {}
    for shim in SHIMS:
        owner: Any = importlib.import_module(shim.module)
        *parents, name = shim.attribute.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        found[shim.target] = vars(owner).get(name)
    return found


def test_each_stack_gets_what_it_needs():
    llava_faba.register()
    assert engine.active() == [shim.name for shim in SHIMS if is_for_installed(shim.versions)]


def test_the_versions_tell_old_from_new():
    of_llava = [shim.name for shim in SHIMS if shim.versions.startswith("llava")]
    assert of_llava == ["worker-pictures"]
    for shim in SHIMS:
        package, low = shim.versions.split(">=")
        assert package in ("transformers", "peft", "huggingface-hub", "llava") and Version(low), shim.name


def test_unregister_takes_them_back_and_register_puts_them_in_again():
    import_llava("llava.train.train")
    engine.restore()
    before = shimmed()
    for _ in range(2):
        llava_faba.register()
        llava_faba.register()
        names = engine.active()
        assert len(names) == len(set(names))
        llava_faba.unregister()
        assert engine.active() == [] and shimmed() == before


def test_a_checkpoint_loads_without_register(golden):
    llava_faba.load_model(golden / "llava-v1-lora-emola-tiny")
    assert not {shim.name for shim in SHIMS if shim.in_llava} & set(engine.active())


def test_every_factory_says_what_it_answers():
    import importlib

    for shim in SHIMS:
        module, _, function = shim.factory.partition(":")
        assert getattr(importlib.import_module(module), function).__doc__


def test_architecture_page_lists_exactly_the_shims():
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The table of shims")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    listed = [tuple(cell.strip(" `").replace(" : ", ":") for cell in row) for row in rows]
    assert listed == [(shim.name, shim.target, shim.factory, shim.versions, shim.why) for shim in SHIMS]


def test_a_rotary_base_is_saved_for_either_generation(tmp_path):
    import json

    llava_faba.register()
    from llava.model.language_model.llava_llama import LlavaConfig

    LlavaConfig(rope_theta=5000.0, rope_scaling={"type": "linear", "factor": 2.0}).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["rope_theta"] == 5000.0 and saved["rope_scaling"] == {"type": "linear", "factor": 2.0}
    assert LlavaConfig.from_pretrained(tmp_path).to_dict()["rope_theta"] == 5000.0


NEW = {"eval_strategy", "warmup_steps", "use_cpu", "train_sampling_strategy", "bf16", "output_dir"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--evaluation_strategy no --bf16 True", "--eval_strategy no --bf16 True"),
        ("--evaluation_strategy=steps", "--eval_strategy steps"),
        ("--warmup_ratio 0.03 --output_dir a", "--warmup_steps 0.03 --output_dir a"),
        ("--warmup_ratio 0.03 --warmup_steps 7", "--warmup_steps 7"),
        ("--warmup_ratio 0.03 --warmup_steps 0", "--warmup_steps 0.03"),
        ("--no_cuda --bf16", "--use_cpu --bf16"),
        ("--group_by_length True", "--train_sampling_strategy group_by_length"),
        ("--group_by_length False", ""),
        ("--save_safetensors True --overwrite_output_dir", ""),
        ("--image_folder data --gradient_checkpointing True", "--image_folder data --gradient_checkpointing True"),
    ],
)
def test_dropped_flags_are_translated(old, new):
    assert translate(old.split(), NEW) == new.split()


def test_flags_that_are_still_known_are_left_alone():
    line = ["--evaluation_strategy", "no", "--warmup_ratio", "0.03", "--no_cuda", "True"]
    assert translate(line, {"evaluation_strategy", "warmup_ratio", "no_cuda"}) == line


@pytest.mark.parametrize("line", ["--warmup_ratio 1", "--warmup_ratio many", "--save_safetensors False"])
def test_what_cannot_be_said_any_more_is_an_error(line):
    with pytest.raises(UserError, match=line.split()[0]):
        translate(line.split(), NEW)
