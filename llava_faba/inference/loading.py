"""``load_model``: a checkpoint of either home, by what its config.json says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from llava_faba.conversion.conversations import check_template
from llava_faba.devices import choose_device, choose_dtype
from llava_faba.errors import UserError
from llava_faba.inference.engines.kinds import ATTACHED, NATIVE
from llava_faba.model.loaded import LoadedModel
from llava_faba.vetting.kinds import read

_NATIVE_FILES = ["*.json", "*.safetensors", "*.jinja"]  # in folders inside as well


def load_model(
    model_path: str | Path,
    model_base: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = torch.float32,
) -> LoadedModel:
    """Load a checkpoint, whatever its folder is called and whichever home it belongs to.

    ``model_path``: folder or hub id of an EmoLA checkpoint of LLaVA's home (LoRA folder or merged, the authors' format
    or ours), of one that ``checkpoint to-transformers`` or ``attach`` made (needs no LLaVA), or of a plain LLaVA one.
    ``model_base``: the base of a folder that holds LoRA weights or projectors alone; left out, the one that it names.
    ``device``: also "auto", a GPU if there is one. ``dtype``: a torch type, its name, or "auto": float32 on a CPU,
    bfloat16 on a GPU (float16 on one older than Ampere).
    LoRA weights are merged. Returns ``(tokenizer, model, image_processor, context_len)`` like LLaVA's builder, with
    these names; of transformers' home the third is the whole ``EmolaProcessor`` or ``FacialPriorProcessor``.

    Raises CheckpointError for folders that are incomplete, contradictory or unsafe to read, UpstreamError when LLaVA is
    needed and does not import, UserError for a device that is not there.
    """
    folder = native_folder(model_path)
    if folder is None:
        from llava_faba.model.loading import load_model as load_of_llava

        return load_of_llava(model_path, model_base, device=device, dtype=dtype)
    if model_base is not None:
        raise UserError(f"{model_path}: a folder of transformers is whole; leave model_base (--model-base) out.")
    from llava_faba.emola.versions import check_transformers

    device = choose_device(device)
    check_transformers()
    from llava_faba.native.loading import load_native

    loaded = LoadedModel(*load_native(folder, device, choose_dtype(dtype, device)))
    if loaded.model.config.model_type == NATIVE:  # attached models keep a template of their own
        check_template(loaded.image_processor.chat_template, str(folder))
    return loaded


def is_native(model: Any) -> bool:
    """Whether a loaded model is one of transformers' home."""
    return getattr(getattr(model, "config", None), "model_type", None) in (NATIVE, ATTACHED)


def native_folder(model_path: str | Path) -> Path | None:
    """The local folder of a checkpoint of transformers' home, fetched where it is a hub id; None for all others.

    Raises CheckpointError for a config.json that is no regular file, or no JSON object.
    """
    folder = Path(model_path)
    if folder.is_dir():
        path = folder / "config.json"
        return folder if os.path.lexists(path) and _is_native(path) else None
    name = str(model_path)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        return None
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if not _is_native(Path(hf_hub_download(name, "config.json"))):
            return None
        return Path(snapshot_download(name, allow_patterns=_NATIVE_FILES))
    except Exception:  # a dozen kinds; whoever reads LLaVA's checkpoints says what is amiss
        return None


def _is_native(path: Path) -> bool:
    return read(path).get("model_type") in (NATIVE, ATTACHED)
