"""config.json as both generations of transformers read it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


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
