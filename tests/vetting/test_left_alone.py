"""What others have stays as it is: transformers on import, later wrappers on unregister, a caller's settings."""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from llava.model import builder
from support import run_python

import llava_faba
from llava_faba.compat import quantization
from llava_faba.model import dispatch

IMPORTS = """
import importlib, pkgutil, sys
import huggingface_hub, transformers, transformers.trainer, peft
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PretrainedConfig, CLIPVisionModel

def state():
    owners = [AutoConfig, AutoTokenizer, PreTrainedModel, PretrainedConfig, CLIPVisionModel, peft.LoraConfig,
              peft.PeftModel, transformers.Trainer]
    found = {}
    for owner in owners:
        for name, value in vars(owner).items():
            if callable(value) or isinstance(value, classmethod):
                found[owner, name] = value
    for module in (transformers, transformers.trainer, huggingface_hub):
        for name in ("ALL_LAYERNORM_LAYERS", "HfFolder"):
            found[module.__name__, name] = vars(module).get(name)
    return found

import llava_faba
before = state()
found = pkgutil.walk_packages(llava_faba.__path__, "llava_faba.")
names = [one.name for one in found if not one.name.endswith("__main__")]
failed = []
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append((name, repr(error)))
after = state()
changed = [str(key) for key, value in before.items() if after.get(key) is not value and after.get(key) != value]
print(changed, len(names) > 100)
print(failed)
"""


def test_importing_every_module_changes_nothing_in_transformers():
    result = run_python("-c", IMPORTS)
    lines = result.stdout.strip().splitlines()
    assert lines[-2:-1] == ["[] True"], result.stdout[-2000:] + result.stderr[-2000:]


def test_unregister_leaves_a_later_wrapper_alone_and_register_does_not_wrap_twice(monkeypatch):
    original = builder.load_pretrained_model
    llava_faba.register()
    ours = builder.load_pretrained_model
    calls = []

    @functools.wraps(ours)
    def later(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return ours(*args, **kwargs)

    builder.load_pretrained_model = later
    try:
        llava_faba.unregister()
        assert builder.load_pretrained_model is later
        llava_faba.register()
        assert builder.load_pretrained_model is later
        llava_faba.unregister()
    finally:
        builder.load_pretrained_model = original


def test_a_later_change_of_a_class_stays(monkeypatch):
    train = sys.modules.get("llava.train.train") or __import__("llava.train.train", fromlist=["train"])
    original = train.ModelArguments
    llava_faba.register()
    later = type("Later", (train.ModelArguments,), {})
    train.ModelArguments = later
    try:
        llava_faba.unregister()
        assert train.ModelArguments is later
    finally:
        train.ModelArguments = original


@pytest.mark.parametrize("skipped", [None, ["lm_head"]])
def test_a_callers_quantization_config_is_not_edited(skipped, monkeypatch):
    given = SimpleNamespace(llm_int8_skip_modules=skipped)
    options = dispatch._keep_projectors_unquantized({"quantization_config": given})
    assert given.llm_int8_skip_modules == skipped
    assert "landmark_feature_projector" in options["quantization_config"].llm_int8_skip_modules

    seen: list[Any] = []
    wrapped = quantization.skips_by_part_of_name(lambda cls, **options: seen.append(options["quantization_config"]))
    given = SimpleNamespace(llm_int8_skip_modules=["mm_projector"])
    wrapped(object, quantization_config=given)
    assert given.llm_int8_skip_modules == ["mm_projector"] and seen
