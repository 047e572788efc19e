"""An EmoLA config.json of LLaVA's home as the native one; what cannot be carried over is refused by name."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from llava_faba.conversion.source import Source
from llava_faba.emola.projector import projector_depth
from llava_faba.emola.settings import REFERENCE_EXPERT
from llava_faba.errors import CheckpointError

_TEXT = (
    "attention_bias",
    "attention_dropout",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
)
_VISION = (
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "image_size",
    "initializer_factor",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
    "projection_dim",
)
_PRIOR = (
    "facial_prior_expert_version",
    "facial_prior_expert_settings",
    "facial_prior_sizes",
    "facial_prior_statistics",
)


def check_convertible(source: Source) -> None:
    """Raise CheckpointError for what the native model has no place for, naming the key."""
    config, place = source.config, f"{source.checkpoint.folder}/config.json"
    refused = []
    if source.checkpoint.family != "llama":
        refused.append(f"model_type is '{config.get('model_type')}', only LLaMA-based ones are converted")
    if config.get("mm_use_im_start_end"):
        refused.append("mm_use_im_start_end: pictures between start and end tokens are not converted")
    if config.get("mm_projector_type", "linear") != "mlp2x_gelu":
        refused.append(
            f"mm_projector_type is '{config.get('mm_projector_type', 'linear')}'; transformers' LLaVA has mlp2x_gelu "
            "alone"
        )
    kind = config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear")
    projector_depth(str(kind))  # unknown ones end here
    if config.get("mm_vision_select_feature", "patch") not in ("patch", "cls_patch"):
        refused.append(f"mm_vision_select_feature is '{config['mm_vision_select_feature']}'")
    for key in ("mm_resampler_type", "s2", "quantization_config"):
        if config.get(key):
            refused.append(f"{key} is set")
    ratio = config.get("image_aspect_ratio")
    if ratio == "anyres" and config.get("mm_vision_select_feature", "patch") != "patch":
        refused.append("image_aspect_ratio 'anyres' with mm_vision_select_feature 'cls_patch'")
    if ratio not in (None, "pad", "square", "anyres"):
        refused.append(f"image_aspect_ratio is '{ratio}'")
    merge = str(config.get("mm_patch_merge_type", "flat"))
    if merge not in ("flat", "spatial", "spatial_unpad"):
        refused.append(f"mm_patch_merge_type is '{merge}'")
    if ratio != "anyres" and "unpad" in merge:
        refused.append("mm_patch_merge_type 'spatial_unpad' without image_aspect_ratio 'anyres'")
    rope_kind, _, _ = rope(config)
    if rope_kind not in ("default", "linear"):
        refused.append(f"rotary embeddings scaled by '{rope_kind}' cannot be proved here")
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        refused.append(f"hidden_act is '{config['hidden_act']}'")
    if source.tower.config.get("hidden_act", "quick_gelu") not in ("quick_gelu", "gelu"):
        refused.append(f"the vision tower's hidden_act is '{source.tower.config['hidden_act']}'")
    if refused:
        raise CheckpointError(f"{place}: cannot be carried over: {'; '.join(refused)}.")


def rope(config: dict[str, Any]) -> tuple[str, float, float]:
    """(kind, base, factor) of a config's rotary embeddings, in any release's spelling."""
    parameters = dict(config.get("rope_parameters") or {})
    scaling = dict(config.get("rope_scaling") or {}) or parameters
    kind = scaling.get("type") or scaling.get("rope_type") or "default"
    base = float(parameters.get("rope_theta", config.get("rope_theta", 10000.0)))
    return str(kind), base, float(scaling.get("factor", 1.0))


def native_config(source: Source, rows: int, placeholder: int, dtype: str) -> dict[str, Any]:
    """config.json of the native model; ``rows``: of its embeddings, ``placeholder``: the id of ``<image>``."""
    config, tower = source.config, source.tower.config
    text = {key: config[key] for key in _TEXT if config.get(key) is not None}
    text |= {"model_type": "llama", "vocab_size": rows, "dtype": dtype, **special_ids(source)}
    vision = {key: tower[key] for key in _VISION if tower.get(key) is not None}
    vision |= {"model_type": "clip_vision_model", "dtype": dtype}
    side = int(vision.get("image_size", 224)) // int(vision.get("patch_size", 32))
    kind = config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear")
    picture = preprocessor(source)
    return {
        "architectures": ["EmolaForConditionalGeneration"],
        "model_type": "emola",
        "dtype": dtype,
        "text_config": text,
        "vision_config": vision,
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
        "image_token_index": placeholder,
        "image_seq_length": side * side + 1,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": int(config.get("mm_vision_select_layer", -2)),
        "vision_feature_select_strategy": strategy(config),
        "landmark_feature_hidden_size": config["landmark_feature_hidden_size"],
        "facial_prior_expert": config.get("facial_prior_expert") or REFERENCE_EXPERT,
        "facial_prior_projector_type": kind,
        "facial_prior_normalization": config.get("facial_prior_normalization") or "none",
        **{key: config[key] for key in _PRIOR if config.get(key) is not None},
        "image_aspect_ratio": layout(config),
        "image_grid_pinpoints": pinpoints(config),
        "mm_patch_merge_type": config.get("mm_patch_merge_type", "flat"),
        "image_mean": picture["image_mean"],
        "image_std": picture["image_std"],
        "tokenizer_size": placeholder + 1,
        "llava_config": {
            **{key: _without_place(key, value) for key, value in config.items()},
            "vocab_size": int(source.tensors["model.embed_tokens.weight"]().shape[0]),
        },
        **special_ids(source),
    }


def _without_place(key: str, value: Any) -> Any:
    """Folders of the machine that it was trained on are nobody else's business: their last part says what they are."""
    if key in ("mm_vision_tower", "_name_or_path") and isinstance(value, str) and value.startswith(("/", ".", "~")):
        return Path(value).name
    return value


def special_ids(source: Source) -> dict[str, int]:
    """Ids of the first, last and padding token."""
    config = source.config
    found = {"bos_token_id": config.get("bos_token_id", 1), "eos_token_id": config.get("eos_token_id", 2)}
    padding = config.get("pad_token_id")
    found["pad_token_id"] = 0 if padding is None or padding < 0 else padding
    return found


def processor_config(source: Source, native: dict[str, Any]) -> dict[str, Any]:
    """processor_config.json: how pictures become tensors, and what made the priors."""
    picture = {**preprocessor(source)}
    picture.pop("feature_extractor_type", None)
    picture |= {
        "image_processor_type": "EmolaImageProcessor",
        "do_pad": native["image_aspect_ratio"] == "pad",
        "image_grid_pinpoints": native["image_grid_pinpoints"],
    }
    return {
        "processor_class": "EmolaProcessor",
        "image_processor": picture,
        "patch_size": native["vision_config"].get("patch_size", 32),
        "vision_feature_select_strategy": native["vision_feature_select_strategy"],
        "num_additional_image_tokens": 2,
        "image_token": "<image>",
        "mm_patch_merge_type": native["mm_patch_merge_type"],
        "facial_prior": {
            "expert": native["facial_prior_expert"],
            "version": native.get("facial_prior_expert_version"),
            "settings": native.get("facial_prior_expert_settings"),
            "size": native["landmark_feature_hidden_size"],
            **({"sizes": native["facial_prior_sizes"]} if native.get("facial_prior_sizes") else {}),
            "normalization": native["facial_prior_normalization"],
            "statistics": native.get("facial_prior_statistics"),
        },
    }


def preprocessor(source: Source) -> dict[str, Any]:
    """The tower's preprocessor_config.json, checked."""
    from llava_faba.vetting import side_files

    return side_files.preprocessor(source.tower.folder, source.tower.config)


def strategy(config: dict[str, Any]) -> str:
    return "default" if config.get("mm_vision_select_feature", "patch") == "patch" else "full"


def layout(config: dict[str, Any]) -> str | None:
    """ "pad", "anyres" or None (CLIP's own crop, which LLaVA calls "square" or nothing)."""
    ratio = config.get("image_aspect_ratio")
    return ratio if ratio in ("pad", "anyres") else None


def pinpoints(config: dict[str, Any]) -> list[list[int]] | None:
    """LLaVA-1.6's resolutions, (width, height) each; older configs hold them as text."""
    if layout(config) != "anyres":
        return None
    value = config.get("image_grid_pinpoints")
    value = ast.literal_eval(value) if isinstance(value, str) else value
    if not value:
        raise CheckpointError("config.json: image_aspect_ratio is 'anyres' without image_grid_pinpoints.")
    return [[int(wide), int(high)] for wide, high in value]
