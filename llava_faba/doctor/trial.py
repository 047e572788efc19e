"""A real load: a tiny EmoLA checkpoint is made, read as any other, and asked one question.

What it meets that no look at versions does: a numpy that torch was not built for, a torch that cannot read .bin files,
a tokenizer's missing library, a PEFT that does not know this transformers, a full disk.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llava_faba.doctor.finding import Finding
from llava_faba.upstream import describe, raised_in

_PRIOR_SIZE = 10
_SIDE = 28  # pixels, of four patches
_TEXTS = ["AU1: the brows are raised. What AUs are conveyed by this face?", "The jaw drops: surprise."] * 60


def trial() -> Iterator[Finding]:
    """Make, load and ask; an error names what raised it and the command that brings another one."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="llava-faba-doctor-") as folder:
        step = "making"
        try:
            import torch

            with torch.random.fork_rng(devices=[]):
                adapter = _make(Path(folder))
                step = "loading"
                loaded = _load(adapter)
                step = "asking"
                count = _ask(*loaded[:2])
        except Exception as error:  # whatever this environment throws is what the user would meet
            yield Finding("error", "trial", f"{step} a tiny EmoLA checkpoint failed: {describe(error)}", _remedy(error))
            return
    seconds = time.monotonic() - start
    text = f"a tiny EmoLA checkpoint (LoRA weights, .bin and .safetensors) was made, loaded and asked: {seconds:.1f} s"
    yield Finding("ok", "trial", text, details={"seconds": round(seconds, 1), "tokens": count})


def _remedy(error: BaseException) -> str:
    from llava_faba.packages import PACKAGES, repair

    if isinstance(error, OSError) and error.errno is not None:
        return f"make room in, or write access to, {tempfile.gettempdir()}, or name another folder in TMPDIR"
    if str(error).startswith("Numpy is not available"):  # torch's words when it was built for another numpy
        return "pip install 'numpy<2'"
    at_fault = (raised_in(error) or "").partition(".")[0]
    for package in PACKAGES:
        if at_fault == package.module:
            return repair(package)
    return "see docs/install.md for versions that work together"


def _make(folder: Path) -> Path:
    """Write base, vision tower and LoRA weights below ``folder``; returns the LoRA folder."""
    import torch
    from peft import LoraConfig, get_peft_model

    from llava_faba.demo.base import BaseSize, build_base
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    base, tower, adapter = folder / "base", folder / "tower", folder / "adapter"
    size = BaseSize(
        hidden=16, layers=1, heads=2, intermediate=32, vocabulary=340, image=_SIDE, patch=_SIDE // 2, vision_hidden=16
    )
    build_base(base, tower, _TEXTS, size)
    config: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {
        "mm_vision_tower": str(tower),
        "mm_hidden_size": size.vision_hidden,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
    }
    config |= {
        "model_type": EmolaConfig.model_type,
        "landmark_feature_hidden_size": _PRIOR_SIZE,
        "facial_prior_expert": "precomputed",
    }
    lora = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(EmolaLlamaForCausalLM(EmolaConfig.from_dict(config)), lora)
    model.base_model.model.config._name_or_path = str(base)
    model.save_pretrained(str(adapter))
    trained = {name: value for name, value in model.state_dict().items() if "projector" in name}
    torch.save(trained, adapter / "non_lora_trainables.bin")
    (adapter / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return adapter


def _load(adapter: Path) -> tuple[Any, Any, Any, int]:
    from llava_faba.model.loading import load_model

    return load_model(adapter, adapter.parent / "base")


def _ask(tokenizer: Any, model: Any) -> int:
    """How many tokens came back; at least one."""
    import torch
    from llava.constants import IMAGE_TOKEN_INDEX
    from llava.mm_utils import tokenizer_image_token

    ids = tokenizer_image_token(
        "USER: <image>\nWhat AUs? ASSISTANT:", tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt"
    )
    with torch.inference_mode():
        answer = model.generate(
            ids[None],
            images=torch.zeros(1, 3, _SIDE, _SIDE),
            facial_priors=torch.zeros(1, _PRIOR_SIZE),
            do_sample=False,
            max_new_tokens=2,
            min_new_tokens=1,
        )
    answer[0].numpy()
    return int(answer.shape[-1])
