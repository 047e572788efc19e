"""The demo's base model: a small LLaVA made from nothing, before upstream's own training teaches it to speak.

A SentencePiece tokenizer trained on the demo's texts, a CLIP vision tower in Hugging Face format with random (frozen)
weights, and a random LLaMA. Small enough for two CPU cores, built of the same classes as the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class BaseSize:
    """How large the demo's models are. ``image`` and ``patch`` in pixels."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    intermediate: int = 256
    vocabulary: int = 1000
    positions: int = 512
    image: int = 240
    patch: int = 40
    vision_hidden: int = 128
    vision_layers: int = 2


def build_base(folder: Path, vision_folder: Path, texts: Iterable[str], size: BaseSize, seed: int = 0) -> None:
    """Write an untrained LLaVA into ``folder`` and its vision tower into ``vision_folder``."""
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write_vision_tower(vision_folder, size)
    _write_tokenizer(folder, texts, size)
    _write_language_model(folder, size)


def conversation_texts(records: Iterable[dict[str, Any]]) -> list[str]:
    """Every turn of training records, without the image token: what the tokenizer is trained on."""
    return [turn["value"].replace("<image>", "").strip() for record in records for turn in record["conversations"]]


def _write_vision_tower(folder: Path, size: BaseSize) -> None:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=size.vision_hidden,
        intermediate_size=size.vision_hidden * 2,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.heads,
        image_size=size.image,
        patch_size=size.patch,
        projection_dim=size.vision_hidden,
    )
    CLIPVisionModel(config).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": size.image},
        crop_size={"height": size.image, "width": size.image},
        image_mean=_CLIP_MEAN,
        image_std=_CLIP_STD,
    ).save_pretrained(folder)


def _write_tokenizer(folder: Path, texts: Iterable[str], size: BaseSize) -> None:
    import sentencepiece
    from llava.conversation import conv_templates

    system = [conv_templates["llava_v1"].get_prompt(), "USER: ASSISTANT: </s>"]
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*texts, *system * 200]),
            model_writer=file,
            vocab_size=size.vocabulary,
            model_type="bpe",
            byte_fallback=True,
            character_coverage=1.0,
            hard_vocab_limit=False,
            pad_id=-1,
            minloglevel=2,
            num_threads=1,
        )
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": False,  # the two transformers generations read it alike (legacy tokens differ)
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": size.positions,
        "clean_up_tokenization_spaces": False,
        "sp_model_kwargs": {},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _write_language_model(folder: Path, size: BaseSize) -> None:
    from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
    from transformers import AutoTokenizer

    from llava_faba.compat.engine import mend_packages

    mend_packages()
    tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=False)
    config = LlavaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.unk_token_id,
        tie_word_embeddings=False,
    )
    LlavaLlamaForCausalLM(config).save_pretrained(folder)
