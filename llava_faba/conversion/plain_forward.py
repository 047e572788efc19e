"""EmoLA's forward pass in plain torch, float32, a layer at a time: what a converted checkpoint is proved against.

It knows the names of LLaVA's home and shares no code with transformers, LLaVA or the native model; LoRA is applied as
LoRA, not merged. Of the weights one layer is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from llava_faba.conversion.names import PRIOR_PROJECTOR
from llava_faba.conversion.settings import layout, pinpoints, rope
from llava_faba.conversion.source import Lora
from llava_faba.emola import anyres
from llava_faba.emola.normalization import PriorNormalizer
from llava_faba.emola.projector import projector_depth


@dataclass(frozen=True)
class Weights:
    """``read``: a tensor by its name in LLaVA's home; ``lora``: what is added to weights, unmerged."""

    read: Callable[[str], torch.Tensor]
    lora: dict[str, Lora]

    def tensor(self, name: str) -> torch.Tensor:
        return self.read(name).float()

    def linear(self, name: str, x: torch.Tensor, *, bias: bool = True) -> torch.Tensor:
        """``name`` without ".weight"; the bias where there is one."""
        result = functional.linear(x, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias") if bias else None)
        lora = self.lora.get(f"{name}.weight")
        if lora is None:
            return result
        if lora.transposed:
            return result + functional.linear(x, lora.delta())
        return result + functional.linear(functional.linear(x, lora.down().float()), lora.up().float()) * lora.scale


@dataclass(frozen=True)
class Example:
    """``ids``: token ids, the picture as -200 (once); ``pixels``: (3, S, S) or (crops, 3, S, S); ``size``: (height,
    width) of the original; ``prior``: (prior size,), raw."""

    ids: list[int]
    pixels: torch.Tensor
    size: tuple[int, int]
    prior: torch.Tensor


PICTURE = -200


@torch.no_grad()
def logits(
    weights: Weights, config: dict[str, Any], tower: dict[str, Any], examples: Sequence[Example]
) -> list[torch.Tensor]:
    """Logits (positions, vocabulary) of each example; ``config``, ``tower``: LLaVA's and CLIP's, as dictionaries."""
    sequences = _embedded(weights, config, tower, examples)
    for number in range(int(config["num_hidden_layers"])):
        layer = _Layer(weights, config, number)
        sequences = [layer(x) for x in sequences]
    norm = weights.tensor("model.norm.weight")
    head = "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"
    matrix = weights.tensor(head)
    return [functional.linear(_rms(x, norm, config), matrix) for x in sequences]


def _embedded(
    weights: Weights, config: dict[str, Any], tower: dict[str, Any], examples: Sequence[Example]
) -> list[torch.Tensor]:
    table = weights.read("model.embed_tokens.weight")
    pictures = _pictures(weights, config, tower, examples)
    priors = _priors(weights, config, torch.stack([one.prior for one in examples]))
    sequences = []
    for one, picture, prior in zip(examples, pictures, priors, strict=True):
        at = one.ids.index(PICTURE)
        before, behind = (
            table[torch.tensor(part, dtype=torch.long)].float() for part in (one.ids[:at], one.ids[at + 1 :])
        )
        sequences.append(torch.cat((before, picture, prior[None], behind)))
    return sequences


def _priors(weights: Weights, config: dict[str, Any], priors: torch.Tensor) -> torch.Tensor:
    from types import SimpleNamespace

    kind = str(config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear"))
    x = PriorNormalizer.from_config(SimpleNamespace(**config), priors.shape[1])(priors)
    name, depth = PRIOR_PROJECTOR.removesuffix("."), projector_depth(kind)
    if kind == "linear":
        return weights.linear(name, x)
    for number in range(depth):
        x = weights.linear(f"{name}.{2 * number}", functional.gelu(x) if number else x)
    return x


def _pictures(
    weights: Weights, config: dict[str, Any], tower: dict[str, Any], examples: Sequence[Example]
) -> list[torch.Tensor]:
    stacks = [one.pixels if one.pixels.ndim == 4 else one.pixels[None] for one in examples]
    features = _clip(weights, config, tower, torch.cat(stacks))
    features = weights.linear("model.mm_projector.0", features)
    features = weights.linear("model.mm_projector.2", functional.gelu(features))
    found = []
    for one, part in zip(examples, features.split([len(stack) for stack in stacks]), strict=True):
        if layout(config) != "anyres":
            found.append(part[0])
            continue
        merge = str(config.get("mm_patch_merge_type", "flat"))
        newline = weights.tensor("model.image_newline") if "unpad" in merge else None
        side = int(tower.get("image_size", 224))
        found.append(anyres.merged(part, one.size, pinpoints(config) or [], side, merge, newline))
    return found


def _clip(weights: Weights, config: dict[str, Any], tower: dict[str, Any], pixels: torch.Tensor) -> torch.Tensor:
    """Hidden states of the layer that the config selects, (n, patches, tower's hidden size)."""
    name, heads = "vision_tower.vision_model", int(tower.get("num_attention_heads", 12))
    epsilon, act = float(tower.get("layer_norm_eps", 1e-5)), str(tower.get("hidden_act", "quick_gelu"))
    patch = weights.tensor(f"{name}.embeddings.patch_embedding.weight")
    x = functional.conv2d(pixels.float(), patch, stride=patch.shape[-1]).flatten(2).transpose(1, 2)
    first = weights.tensor(f"{name}.embeddings.class_embedding").expand(len(x), 1, -1)
    x = torch.cat((first, x), dim=1) + weights.tensor(f"{name}.embeddings.position_embedding.weight")
    x = _layer_norm(weights, f"{name}.pre_layrnorm", x, epsilon)
    count = int(tower.get("num_hidden_layers", 12))
    select = int(config.get("mm_vision_select_layer", -2))
    for number in range(select if select >= 0 else count + 1 + select):
        layer = f"{name}.encoder.layers.{number}"
        h = _layer_norm(weights, f"{layer}.layer_norm1", x, epsilon)
        q, k, v = (_heads(weights.linear(f"{layer}.self_attn.{one}_proj", h), heads) for one in "qkv")
        h = _joined(functional.scaled_dot_product_attention(q, k, v))
        x = x + weights.linear(f"{layer}.self_attn.out_proj", h)
        h = weights.linear(f"{layer}.mlp.fc1", _layer_norm(weights, f"{layer}.layer_norm2", x, epsilon))
        h = h * torch.sigmoid(1.702 * h) if act == "quick_gelu" else functional.gelu(h)
        x = x + weights.linear(f"{layer}.mlp.fc2", h)
    return x[:, 1:] if config.get("mm_vision_select_feature", "patch") == "patch" else x


class _Layer:
    """One decoder layer of LLaMA, its weights read once."""

    def __init__(self, weights: Weights, config: dict[str, Any], number: int) -> None:
        held: dict[str, torch.Tensor] = {}

        def read(name: str) -> torch.Tensor:
            if name not in held:
                held[name] = weights.tensor(name)
            return held[name]

        self.weights, self.config, self.name = Weights(read, weights.lora), config, f"model.layers.{number}"
        self.heads = int(config["num_attention_heads"])
        self.groups = int(config.get("num_key_value_heads") or self.heads)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        w, name, config = self.weights, self.name, self.config
        bias, wide = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
        h = _rms(x, w.tensor(f"{name}.input_layernorm.weight"), config)
        q = _heads(w.linear(f"{name}.self_attn.q_proj", h, bias=bias)[None], self.heads)
        k = _heads(w.linear(f"{name}.self_attn.k_proj", h, bias=bias)[None], self.groups)
        v = _heads(w.linear(f"{name}.self_attn.v_proj", h, bias=bias)[None], self.groups)
        q, k = _turned(q, config), _turned(k, config)
        k, v = (part.repeat_interleave(self.heads // self.groups, dim=1) for part in (k, v))
        h = _joined(functional.scaled_dot_product_attention(q, k, v, is_causal=True))[0]
        x = x + w.linear(f"{name}.self_attn.o_proj", h, bias=bias)
        h = _rms(x, w.tensor(f"{name}.post_attention_layernorm.weight"), config)
        gate = functional.silu(w.linear(f"{name}.mlp.gate_proj", h, bias=wide))
        h = gate * w.linear(f"{name}.mlp.up_proj", h, bias=wide)
        return x + w.linear(f"{name}.mlp.down_proj", h, bias=wide)


def _turned(x: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """Rotary position embeddings of (1, heads, positions, size)."""
    _, base, factor = rope(config)
    size = x.shape[-1]
    steps = torch.arange(x.shape[-2], dtype=torch.float32) / factor
    angles = torch.outer(steps, 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size))
    cosine, sine = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
    half = torch.cat((-x[..., size // 2 :], x[..., : size // 2]), -1)
    return x * cosine + half * sine


def _rms(x: torch.Tensor, weight: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + float(config.get("rms_norm_eps", 1e-6))))


def _layer_norm(weights: Weights, name: str, x: torch.Tensor, epsilon: float) -> torch.Tensor:
    scale, shift = weights.tensor(f"{name}.weight"), weights.tensor(f"{name}.bias")
    return functional.layer_norm(x, (x.shape[-1],), scale, shift, epsilon)


def _heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x.view(*x.shape[:-1], count, -1).transpose(-2, -3)


def _joined(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(-2, -3).flatten(-2)


def difference(left: torch.Tensor, right: torch.Tensor) -> float:
    """The largest difference of two equal shapes, relative to the largest number where that is above 1."""
    scale = max(1.0, float(left.abs().max()))
    found = float((left - right).abs().max()) / scale
    return math.inf if math.isnan(found) else found
