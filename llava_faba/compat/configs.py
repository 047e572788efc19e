"""config.json and adapter_config.json as both generations of transformers and peft read them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import read_object

from llava_faba.compat.engine import replaced
from llava_faba.compat.peft_keys import PEFT_0_7


def rope_for_older_readers(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``LlavaConfig.to_dict``: transformers 5 writes the rotary embedding into ``rope_parameters`` alone.

    transformers 4.x reads ``rope_theta`` and ``rope_scaling`` and silently takes its defaults where they are absent:
    a model with another base or with scaling would compute with wrong positions.
    """
    from transformers import LlamaConfig

    if not hasattr(LlamaConfig(), "rope_parameters"):
        return original

    @functools.wraps(original)
    def to_dict(self: Any) -> dict[str, Any]:
        values = original(self)
        rope = dict(values.get("rope_parameters") or {})
        kind = rope.pop("rope_type", "default")
        if "rope_theta" in rope:
            values["rope_theta"] = rope.pop("rope_theta")
        if kind != "default":
            values["rope_scaling"] = {**rope, "type": kind}  # 4.x refuses more keys than type and factor
        return values

    return to_dict


def base_model_named(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``LlavaConfig.to_diff_dict``: transformers 5 no longer saves ``_name_or_path``.

    A folder with projectors alone (LLaVA's pretraining stage) names the model that they belong to by nothing else.
    """
    from transformers import PretrainedConfig

    if "_name_or_path" in PretrainedConfig(name_or_path="base").to_diff_dict():
        return original

    @functools.wraps(original)
    def to_diff_dict(self: Any) -> dict[str, Any]:
        values = original(self)
        if self._name_or_path:
            values["_name_or_path"] = self._name_or_path
        return values

    return to_diff_dict


def adapters_for_older_readers(original: Callable[..., None]) -> Callable[..., None]:
    """``train()`` saves adapters: newer peft writes each of its settings, and peft 0.7 reads no file that has them.

    Left out are those at their default, which is what an older peft does anyway; one that was set stays, and an older
    peft refuses it.
    """
    from peft import LoraConfig

    defaults = {field.name: _default(field) for field in dataclasses.fields(LoraConfig)}
    later = defaults.keys() - PEFT_0_7
    if not later:
        return original
    save = LoraConfig.save_pretrained

    def save_pretrained(self: Any, save_directory: str, **kwargs: Any) -> None:
        save(self, save_directory, **kwargs)
        path = Path(save_directory) / "adapter_config.json"
        values = read_object(path, allow_nan=True)
        kept = {
            name: value
            for name, value in values.items()
            if name != "peft_version" and not (name in later and value == defaults[name])
        }
        path.write_text(json.dumps(kept, indent=2, sort_keys=True), encoding="utf-8")

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> None:
        with replaced(LoraConfig, "save_pretrained", save_pretrained):
            original(*args, **kwargs)

    return train


def _default(field: Any) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
