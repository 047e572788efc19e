"""EmoLA folders of LLaVA's home with random weights, made without LLaVA: what the converter is fed in these tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from support import ADAPTER

HIDDEN, WIDE, LAYERS, HEADS, VOCABULARY = 64, 128, 2, 4, 380
TOWER_HIDDEN = 32


def make_source(
    folder: Path,
    golden: Path,
    *,
    image: int = 240,
    patch: int = 40,
    prior: int = 136,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a merged EmoLA into ``folder``/emola and its tower into ``folder``/tower; returns the former.

    The tokenizer is the golden one's. ``image``, ``patch``: of the tower; large enough for dlib to find a face.
    ``config``: more keys for config.json. Weights are scaled so that answers depend on picture and prior.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(seed)
    emola, tower = folder / "emola", folder / "tower"
    emola.mkdir(parents=True)
    vision = CLIPVisionConfig(
        hidden_size=TOWER_HIDDEN,
        intermediate_size=2 * TOWER_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        image_size=image,
        patch_size=patch,
        projection_dim=TOWER_HIDDEN,
    )
    CLIPVisionModel(vision).to(dtype).save_pretrained(tower)
    pictures = json.loads((golden / "clip-tiny" / "preprocessor_config.json").read_text())
    pictures |= {"size": {"shortest_edge": image}, "crop_size": {"height": image, "width": image}}
    (tower / "preprocessor_config.json").write_text(json.dumps(pictures))
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        shutil.copy(golden / "base" / name, emola)
    values = json.loads(next(golden.glob("llava-*/config.json")).read_text())
    values |= {
        "mm_vision_tower": str(tower),
        "landmark_feature_hidden_size": prior,
        "facial_prior_expert": "dlib-68",
        "vocab_size": VOCABULARY,
        "torch_dtype": str(dtype).removeprefix("torch."),
        **config,
    }
    (emola / "config.json").write_text(json.dumps(values))
    weights = {name: value.to(dtype) for name, value in random_weights(values).items()}
    save_file(weights, emola / "model.safetensors", metadata={"format": "pt"})
    return emola


def random_weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors of a merged EmoLA by LLaVA's names, without the tower's."""
    kind = config.get("facial_prior_projector_type") or config["mm_projector_type"]
    prior = int(config["landmark_feature_hidden_size"])
    shapes = {"model.embed_tokens": (VOCABULARY, HIDDEN), "lm_head": (VOCABULARY, HIDDEN)}
    for layer in range(int(config["num_hidden_layers"])):
        attention = {f"self_attn.{one}_proj": (HIDDEN, HIDDEN) for one in "qkvo"}
        dense = {"mlp.gate_proj": (WIDE, HIDDEN), "mlp.up_proj": (WIDE, HIDDEN), "mlp.down_proj": (HIDDEN, WIDE)}
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in (attention | dense).items()}
    found = {f"{name}.weight": torch.randn(shape) * 0.12 for name, shape in shapes.items()}
    for layer in range(int(config["num_hidden_layers"])):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"model.layers.{layer}.{norm}.weight"] = 1 + 0.1 * torch.randn(HIDDEN)
    found["model.norm.weight"] = 1 + 0.1 * torch.randn(HIDDEN)
    found |= _projector("model.mm_projector", config["mm_projector_type"], TOWER_HIDDEN)
    found |= _projector("model.landmark_feature_projector", kind, prior)
    if "unpad" in str(config.get("mm_patch_merge_type")):
        found["model.image_newline"] = torch.randn(HIDDEN)
    return found


def _projector(name: str, kind: str, size: int) -> dict[str, torch.Tensor]:
    if kind == "linear":
        return {f"{name}.weight": torch.randn(HIDDEN, size) * 0.5, f"{name}.bias": torch.randn(HIDDEN) * 0.5}
    found = {}
    for number in range(int(kind[3])):
        width = HIDDEN if number else size
        found[f"{name}.{2 * number}.weight"] = torch.randn(HIDDEN, width) * 0.5
        found[f"{name}.{2 * number}.bias"] = torch.randn(HIDDEN) * 0.5
    return found


def convert(source: Path, out: Path, *more: str) -> Path:
    """``llava-faba checkpoint to-transformers``; returns ``out``."""
    from llava_faba.cli.main import main

    assert main(["checkpoint", "to-transformers", "--model-path", str(source), "--out", str(out), *more]) == 0
    return out


def load(folder: Path, **options: Any) -> tuple[Any, Any]:
    """(model, processor) by transformers' Auto classes."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import llava_faba.native  # noqa: F401

    model = AutoModelForImageTextToText.from_pretrained(folder, **options).eval()
    return model, AutoProcessor.from_pretrained(folder)


def prompt_of(processor: Any, question: str = "What AUs are conveyed by this face?") -> str:
    """One question about one picture, as the chat template writes it."""
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    return str(processor.apply_chat_template([turn], add_generation_prompt=True))


def trained_place(golden: Path, where: Path) -> Path:
    """``where`` with what a training needs: the golden base, converted (``base``), and its records (``data``)."""
    from llava_faba.cli.main import main

    shutil.copytree(golden / "data", where / "data")
    command = ["checkpoint", "to-transformers", "--model-path", str(golden / ADAPTER), "--out", str(where / "adapter")]
    assert main([*command, "--adapter", str(where / "base"), "--conv-mode", "v1"]) == 0
    return where


def training(name: str, trainer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings of ``llava-faba train`` into ``name``: LoRA on the golden records, ``trainer``'s and ``more`` added."""
    return {
        "train": 1,
        "model": "base",
        "records": "data/train.json",
        "image_folder": "data",
        "out": name,
        "max_length": 512,
        "learning_rate": 1e-3,
        "lora": {"r": 8, "alpha": 16, "dropout": 0.0},
        **more,
        "trainer": {"lr_scheduler_type": "constant", "seed": 1, "use_cpu": True, "save_strategy": "no", **trainer},
    }
