"""Which tensors the files of a model must hold, by its config: names and shapes, without building anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llava_faba.vetting import prior_tokens
from llava_faba.vetting.families import DINO_TYPE, projector_layers, tower_defaults

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
IMAGE_PROJECTOR, PRIOR_PROJECTOR = "mm_projector", "landmark_feature_projector"
# Tables that older releases saved, and the vision tower, which is read from its own folder.
_OPTIONAL_PARTS = (".rotary_emb.inv_freq", "vision_tower.", ".masked_bias", "vision_resampler.")


def linear_layers(config: Mapping[str, Any]) -> Shapes:
    """The linear layers of a LLaMA or Mistral, (out, in) each, and its embedding, (vocabulary, hidden)."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    inner, vocabulary = config["intermediate_size"], config["vocab_size"]
    width = config.get("head_dim") or hidden // heads
    queries, keys = heads * width, (config.get("num_key_value_heads") or heads) * width
    layers: Shapes = {"model.embed_tokens": (vocabulary, hidden), "lm_head": (vocabulary, hidden)}
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        layers[f"{layer}.self_attn.q_proj"] = (queries, hidden)
        layers[f"{layer}.self_attn.k_proj"] = (keys, hidden)
        layers[f"{layer}.self_attn.v_proj"] = (keys, hidden)
        layers[f"{layer}.self_attn.o_proj"] = (hidden, queries)
        layers[f"{layer}.mlp.gate_proj"] = (inner, hidden)
        layers[f"{layer}.mlp.up_proj"] = (inner, hidden)
        layers[f"{layer}.mlp.down_proj"] = (hidden, inner)
    return layers


def language_model(config: Mapping[str, Any]) -> Shapes:
    """Every tensor of a LLaMA or Mistral."""
    hidden = config["hidden_size"]
    tensors: Shapes = {"model.norm.weight": (hidden,)}
    for layer, shape in linear_layers(config).items():
        if layer == "lm_head" and config.get("tie_word_embeddings"):
            continue
        tensors[f"{layer}.weight"] = shape
        biased = "attention_bias" if ".self_attn." in layer else "mlp_bias" if ".mlp." in layer else ""
        if config.get(biased):
            tensors[f"{layer}.bias"] = shape[:1]
    for index in range(config["num_hidden_layers"]):
        tensors[f"model.layers.{index}.input_layernorm.weight"] = (hidden,)
        tensors[f"model.layers.{index}.post_attention_layernorm.weight"] = (hidden,)
    return tensors


def projector(kind: str, size: int, hidden: int, prefix: str = "") -> Shapes:
    """The tensors of a projector of LLaVA's making: a linear layer, or an MLP with an activation between its layers."""
    tensors: Shapes = {}
    for index in range(projector_layers(kind)):
        place = "" if kind == "linear" else f"{2 * index}."
        tensors[f"{prefix}{place}weight"] = (hidden, size if index == 0 else hidden)
        tensors[f"{prefix}{place}bias"] = (hidden,)
    return tensors


def image_projector(config: Mapping[str, Any]) -> Shapes:
    """The image projector's tensors under their names in the model; none for a model without pictures."""
    if not config.get("mm_vision_tower") or "mm_hidden_size" not in config:
        return {}
    kind = config.get("mm_projector_type", "linear")
    return projector(kind, config["mm_hidden_size"], config["hidden_size"], f"model.{IMAGE_PROJECTOR}.")


def prior_projector(config: Mapping[str, Any]) -> Shapes:
    """The prior projector's tensors under its own names ("0.weight"); none for ``identity`` and without a prior.

    The names of what makes more than one token are those of ``emola/tokens.py``.
    """
    size = config.get("landmark_feature_hidden_size")
    if size is None:
        return {}
    kind = config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear")
    hidden, wanted = config["hidden_size"], prior_tokens.kind_of(config)
    if wanted == prior_tokens.GLOBAL:
        return projector(kind, size, hidden)
    attends = wanted in prior_tokens.ATTENTION
    prefix = "tokens." if attends else ""
    tensors: Shapes = {}
    for region in config.get(prior_tokens.REGIONS_KEY) or ():
        place = f"{prefix}region_{region['name']}"
        tensors |= {f"{place}.weight": (hidden, len(region["columns"])), f"{place}.bias": (hidden,)}
    if prior_tokens.has_whole(wanted):
        tensors |= projector(kind, size, hidden, "whole.")
    for layer in ("query", "key", "value", "attended", "branch") if attends else ():
        tensors |= {f"{layer}.weight": (hidden, hidden), f"{layer}.bias": (hidden,)}
    return tensors | ({"norm.weight": (hidden,), "norm.bias": (hidden,)} if attends else {})


def whole_model(config: Mapping[str, Any]) -> Shapes:
    """Every tensor that the files of a full model must hold."""
    tensors = language_model(config) | image_projector(config)
    tensors |= {f"model.{PRIOR_PROJECTOR}.{key}": shape for key, shape in prior_projector(config).items()}
    return tensors


def may_be_there(tensor: str, config: Mapping[str, Any]) -> bool:
    """Whether a tensor that no config asks for is known and does no harm."""
    if tensor == "model.image_newline" or any(part in tensor for part in _OPTIONAL_PARTS):
        return True
    return tensor == "lm_head.weight" and bool(config.get("tie_word_embeddings"))


def vision_tower(config: Mapping[str, Any]) -> Shapes:
    """Every tensor of a vision tower: a CLIP's under the names without ``vision_model.``, or a DINOv2's."""
    sizes = tower_defaults(config)
    if config.get("model_type") == DINO_TYPE:
        return _dinov2(sizes)
    hidden, inner, patch = sizes["hidden_size"], sizes["intermediate_size"], sizes["patch_size"]
    tensors: Shapes = {
        "embeddings.class_embedding": (hidden,),
        "embeddings.patch_embedding.weight": (hidden, sizes["num_channels"], patch, patch),
        "embeddings.position_embedding.weight": ((sizes["image_size"] // patch) ** 2 + 1, hidden),
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for index in range(sizes["num_hidden_layers"]):
        layer = f"encoder.layers.{index}"
        norms += [f"{layer}.layer_norm1", f"{layer}.layer_norm2"]
        linear = {f"{layer}.self_attn.{part}_proj": (hidden, hidden) for part in ("q", "k", "v", "out")}
        linear |= {f"{layer}.mlp.fc1": (inner, hidden), f"{layer}.mlp.fc2": (hidden, inner)}
        for place, shape in linear.items():
            tensors[f"{place}.weight"], tensors[f"{place}.bias"] = shape, shape[:1]
    for norm in norms:
        tensors[f"{norm}.weight"] = tensors[f"{norm}.bias"] = (hidden,)
    return tensors


def _dinov2(sizes: Mapping[str, Any]) -> Shapes:
    hidden, patch = sizes["hidden_size"], sizes["patch_size"]
    inner = hidden * sizes["mlp_ratio"]
    tensors: Shapes = {
        "embeddings.cls_token": (1, 1, hidden),
        "embeddings.mask_token": (1, hidden),
        "embeddings.position_embeddings": (1, (sizes["image_size"] // patch) ** 2 + 1, hidden),
        "embeddings.patch_embeddings.projection.weight": (hidden, sizes["num_channels"], patch, patch),
        "embeddings.patch_embeddings.projection.bias": (hidden,),
    }
    norms = ["layernorm"]
    for index in range(sizes["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        norms += [f"{layer}.norm1", f"{layer}.norm2"]
        linear = {f"{layer}.attention.attention.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        linear[f"{layer}.attention.output.dense"] = (hidden, hidden)
        linear |= {f"{layer}.mlp.fc1": (inner, hidden), f"{layer}.mlp.fc2": (hidden, inner)}
        for place, shape in linear.items():
            tensors[f"{place}.weight"], tensors[f"{place}.bias"] = shape, shape[:1]
        tensors[f"{layer}.layer_scale1.lambda1"] = tensors[f"{layer}.layer_scale2.lambda1"] = (hidden,)
    for norm in norms:
        tensors[f"{norm}.weight"] = tensors[f"{norm}.bias"] = (hidden,)
    return tensors


def differences(found: Mapping[str, Shape], wanted: Mapping[str, Shape], config: Mapping[str, Any]) -> list[str]:
    """What a file's tensors are otherwise than the config asks, in words; empty when they are as they should be."""
    problems = [
        f"{name} is missing" if name not in found else f"{name} is {found[name]}, not {shape}"
        for name, shape in wanted.items()
        if found.get(name) != shape
    ]
    problems += [
        f"{name} is no part of this model" for name in found.keys() - wanted.keys() if not may_be_there(name, config)
    ]
    return sorted(problems)
