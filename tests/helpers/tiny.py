"""Tiny EmoLA checkpoints for tests that need one whose prior the model can compute by itself (``dlib-68``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PRIOR_SIZE = 136
ADAPTER_NAME = "llava-v1-emola-lora"
_TEXTS = [
    f"AU{number}: the {part} {verb}. What AUs are conveyed by this face? What emotions are conveyed by this face?"
    for number, (part, verb) in enumerate(
        (part, verb)
        for part in ("brows", "lids", "cheeks", "lip corners", "chin", "jaw", "lips", "nose")
        for verb in ("are raised", "go down", "are drawn together", "part", "stay still", "are pressed")
    )
]


def make_emola(folder: Path, *, seed: int = 0, image: int = 240, **config: Any) -> Path:
    """Write an EmoLA LoRA checkpoint with random weights into ``folder`` and return the adapter's folder.

    Beside it lie its ``base`` and its vision ``tower``, which takes pictures of ``image`` pixels: large enough for
    dlib to find a face in what the model sees. ``config``: more keys for the adapter's config.json. Weights are scaled
    so that answers depend on picture and prior, and are as sure of each token as a trained model's.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from llava_faba.demo.base import BaseSize, build_base
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    base = folder / "base"
    size = BaseSize(hidden=64, intermediate=128, vocabulary=400, vision_hidden=32, image=image, patch=image // 6)
    build_base(base, folder / "tower", _TEXTS * 4, size, seed)
    values = json.loads((base / "config.json").read_text(encoding="utf-8"))
    values |= {
        "mm_vision_tower": str(folder / "tower"),
        "mm_hidden_size": 32,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "mm_patch_merge_type": "flat",
        "image_aspect_ratio": "pad",
        "tokenizer_padding_side": "right",
    }
    (base / "config.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    values |= {
        "landmark_feature_hidden_size": PRIOR_SIZE,
        "facial_prior_expert": "dlib-68",
        "facial_prior_normalization": "none",
        **config,
    }
    torch.manual_seed(seed)
    emola = EmolaLlamaForCausalLM(EmolaConfig.from_dict({**values, "model_type": EmolaConfig.model_type}))
    with torch.no_grad():
        for name, parameter in emola.named_parameters():
            if "projector" in name:
                torch.nn.init.normal_(parameter, std=0.5)
            elif parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.12)
    _save_base(emola, base)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    wrapped = get_peft_model(emola, lora)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapter = folder / ADAPTER_NAME
    wrapped.save_pretrained(str(adapter))
    projectors = {name: value for name, value in wrapped.state_dict().items() if "projector" in name}
    torch.save(projectors, adapter / "non_lora_trainables.bin")
    (adapter / "config.json").write_text(json.dumps({**values, "model_type": "emollava"}, indent=2), encoding="utf-8")
    named = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    named["base_model_name_or_path"] = str(base)
    (adapter / "adapter_config.json").write_text(json.dumps(named), encoding="utf-8")
    return adapter


def make_faces(folder: Path, count: int) -> list[str]:
    """``count`` different JPEG pictures of a face (E. Collins, NASA, public domain), some of them not square.

    Returns their names.
    """
    import numpy as np
    import skimage.data
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    portrait = Image.fromarray(skimage.data.astronaut())
    random = np.random.default_rng(0)
    names = []
    for index in range(count):
        left, top, grow = (int(value) for value in random.integers(0, 24, 3))
        wide = 20 * (index % 3)
        box = (95 + left - wide, 5 + top, 345 + left + grow + wide, 255 + top + grow)
        names.append(f"face{index:02d}.jpg")
        portrait.crop(box).resize((240 + wide, 240)).save(folder / names[-1], quality=92)
    return names


def make_questions(path: Path, images: Sequence[str]) -> list[dict[str, Any]]:
    """A LLaVA question file with questions of different lengths, one for each image; returns the questions."""
    texts = (
        "What AUs are conveyed by this face?",
        "What emotions are conveyed by this face?",
        "Which lips?",
    )
    questions = [
        {"question_id": f"q{index:02d}", "image": image, "text": texts[index % len(texts)]}
        for index, image in enumerate(images)
    ]
    path.write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")
    return questions


def _save_base(emola: Any, base: Path) -> None:
    """A plain LLaVA: all but the prior's projector (and the vision tower, which has its own folder)."""
    from safetensors.torch import save_file

    ours = ("landmark_feature_projector", "vision_tower")
    state = {
        name: value.clone().contiguous()
        for name, value in emola.state_dict().items()
        if not any(part in name for part in ours)
    }
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
