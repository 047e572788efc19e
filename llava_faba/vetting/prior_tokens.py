"""How a prior becomes tokens: what config.json may say of it (``facial_prior_tokens``, ``facial_prior_regions``).

``global``: one token of the whole prior, the authors'. ``experts``: one for each of several experts. ``regions``: one
for each region of the face. ``regions+global``: those, then the global one. ``cross_attention``: no token of its own;
the picture's tokens attend to those of the regions. ``guided_cross_attention``: and to near ones more than to far ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import Check, list_of, table_of, whole

TOKENS_KEY, REGIONS_KEY = "facial_prior_tokens", "facial_prior_regions"
GLOBAL = "global"
KINDS = (GLOBAL, "experts", "regions", "regions+global", "cross_attention", "guided_cross_attention")
ATTENTION = ("cross_attention", "guided_cross_attention")
GUIDED = "guided_cross_attention"
HEADS = 8
MOST_REGIONS = 128
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,79}")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a name of small letters, digits and underscores")
    return value


def regions_check(largest: int) -> Check:
    """What a table of regions may be; ``largest``: the numbers of the longest prior."""
    region = table_of(
        {"name": _name, "columns": list_of(whole(0, largest - 1), most=largest), "dimensions": whole(0, 3)},
        "name", "columns", "dimensions",
    )  # fmt: skip
    return list_of(region, most=MOST_REGIONS)


def kind_of(config: Mapping[str, Any]) -> str:
    """The kind of tokens that a config names."""
    return config.get(TOKENS_KEY) or GLOBAL


def check_one_token(config: Mapping[str, Any], where: object) -> None:
    """Raises CheckpointError where a config makes anything but one token of a prior: transformers' home has no more."""
    kind = kind_of(config)
    if kind != GLOBAL:
        raise CheckpointError(
            f"{where}: {TOKENS_KEY} is '{kind}', and the native model has one token for a prior; use the checkpoint in "
            "LLaVA's home (llava_faba.load_model)."
        )


def has_whole(kind: str) -> bool:
    """Whether one of the tokens is of the whole prior."""
    return kind in (GLOBAL, "regions+global")


def token_count(config: Mapping[str, Any]) -> int:
    """How many tokens stand behind each picture's for its prior: none, where the picture's attend to the prior."""
    kind = kind_of(config)
    if kind in ATTENTION:
        return 0
    return int(has_whole(kind)) + (0 if kind == GLOBAL else len(config.get(REGIONS_KEY) or ()))


def problem(config: Mapping[str, Any], size: int, hidden: int) -> str | None:
    """What contradicts itself in a config with priors of ``size`` numbers; None where nothing does."""
    kind, regions = kind_of(config), config.get(REGIONS_KEY) or []
    if (kind == GLOBAL) != (not regions):
        return f"{TOKENS_KEY} is '{kind}', and {REGIONS_KEY} names {len(regions)} regions"
    names = [region["name"] for region in regions]
    if len(set(names)) < len(names):
        return f"{REGIONS_KEY}: two regions have one name"
    for region in regions:
        columns, dimensions = region["columns"], region["dimensions"]
        if not columns or max(columns) >= size or len(columns) % max(dimensions, 1):
            return f"{REGIONS_KEY}: '{region['name']}' has columns that a prior of {size} numbers does not have"
    if kind in ATTENTION and hidden % HEADS:
        return f"{TOKENS_KEY} is '{kind}', whose {HEADS} heads do not share {hidden} numbers (hidden_size)"
    return _guided_problem(config, regions) if kind == GUIDED else None


def _guided_problem(config: Mapping[str, Any], regions: list[Any]) -> str | None:
    placeless = next((region["name"] for region in regions if region["dimensions"] not in (2, 3)), None)
    if placeless is not None:
        return f"{TOKENS_KEY} is '{GUIDED}', and the region '{placeless}' has no place in the picture"
    if config.get("image_aspect_ratio") != "pad":
        return (
            f"{TOKENS_KEY} is '{GUIDED}', which knows where a region lies in a picture that is padded to a square: "
            f"image_aspect_ratio must be 'pad', not {config.get('image_aspect_ratio')!r}"
        )
    if config.get("mm_patch_merge_type", "flat") != "flat":
        return f"{TOKENS_KEY} is '{GUIDED}', which needs mm_patch_merge_type 'flat'"
    return None
