"""``load_model``: EmoLA checkpoints of either format and plain LLaVA ones, on any device, in any dtype."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import IMAGE_PROJECTOR_FILE, NON_LORA, Checkpoint, inspect_checkpoint, read_weights

_DEFAULT_CONTEXT = 2048  # what LLaVA's builder assumes when the config does not say
_LLAMA_TYPES = ("llava", "llava_llama", "emollava")


def load_model(
    model_path: str | Path,
    model_base: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any, Any, int]:
    """Load a checkpoint, whatever its folder is called.

    ``model_path``: folder or hub id of an EmoLA checkpoint (LoRA folder or merged, the authors' format or ours) or of
    a plain LLaVA one. ``model_base``: the base of a folder that holds LoRA weights or projectors alone;
    left out, the one that the folder names.
    LoRA weights are merged. Returns ``(tokenizer, model, image_processor, context_len)`` like LLaVA's builder.

    Raises CheckpointError for folders that are incomplete, contradictory or unsafe to read, UpstreamError when LLaVA
    does not import.
    """
    from llava_faba.upstream import import_llava

    import_llava()
    checkpoint = inspect_checkpoint(model_path)
    checkpoint.check_weights()
    if checkpoint.needs_base:
        tokenizer, model = _load_on_base(checkpoint, str(model_base) if model_base else None, dtype)
    else:
        tokenizer, model = _load_full(checkpoint, dtype)
    _add_image_tokens(tokenizer, model)
    image_processor = _load_vision_tower(model, device, dtype)
    model.to(device=device, dtype=dtype)
    model.eval()
    context = getattr(model.config, "max_sequence_length", _DEFAULT_CONTEXT)
    return tokenizer, model, image_processor, context


def _load_full(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    folder = str(checkpoint.folder)
    if checkpoint.config.get("model_type") in _LLAMA_TYPES:
        model = _build(_llama_class(checkpoint), folder, _config(checkpoint), dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=dtype, low_cpu_mem_usage=True, trust_remote_code=False
        )
    return _tokenizer(folder), model


def _load_on_base(checkpoint: Checkpoint, model_base: str | None, dtype: torch.dtype) -> tuple[Any, Any]:
    extra = checkpoint.projector_weights() if checkpoint.is_emola else {}
    base = checkpoint.base(model_base)
    inspect_checkpoint(base).check_weights()
    non_lora = checkpoint.weights_file(NON_LORA if checkpoint.is_adapter else IMAGE_PROJECTOR_FILE)
    if non_lora is not None:
        extra = {_model_name(name): value for name, value in read_weights(non_lora).items()} | extra
    model = _build(_llama_class(checkpoint), base, _config(checkpoint, base), dtype, elsewhere=extra)
    _load_exactly(model, extra, checkpoint.folder)
    if checkpoint.is_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(checkpoint.folder)).merge_and_unload()
    return _tokenizer(base), model


def _build(cls: Any, folder: str, config: Any, dtype: torch.dtype, elsewhere: Collection[str] = ()) -> Any:
    """Load a model and see that every weight came from a file: this one or, for ``elsewhere``, a later one."""
    with _without_loading_reports():
        model, report = cls.from_pretrained(
            folder, config=config, torch_dtype=dtype, low_cpu_mem_usage=True, output_loading_info=True
        )
    # transformers 4.37 does not report all: of meta tensors of equal size it takes one for the other's copy.
    absent = [*report["missing_keys"], *(name for name, value in model.named_parameters() if value.is_meta)]
    missing = [name for name in dict.fromkeys(absent) if name not in elsewhere and "vision_tower" not in name]
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing from its files, {missing[0]} for one; copy it again."
        )
    return model


@contextlib.contextmanager
def _without_loading_reports() -> Iterator[None]:
    """transformers would warn of weights that come from another file a moment later; ``_build`` checks instead."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _load_exactly(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    try:
        unknown = model.load_state_dict(state, strict=False).unexpected_keys
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: its weights do not fit the base model: {error}") from error
    if unknown:
        raise CheckpointError(f"{folder}: weights that this model has no place for: {', '.join(unknown[:5])}")


def _model_name(name: str) -> str:
    """A parameter's name in the plain model, from its name under PEFT (``base_model.model.model.x``)."""
    return name.removeprefix("base_model.").removeprefix("model.") if name.startswith("base_model.") else name


def _llama_class(checkpoint: Checkpoint) -> Any:
    from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

    from llava_faba.model.emola import EmolaLlamaForCausalLM

    return EmolaLlamaForCausalLM if checkpoint.is_emola else LlavaLlamaForCausalLM


def _config(checkpoint: Checkpoint, base: str | None = None) -> Any:
    from llava.model.language_model.llava_llama import LlavaConfig

    from llava_faba.model.config import EmolaConfig, resolve_vision_tower

    cls = EmolaConfig if checkpoint.is_emola else LlavaConfig
    config = cls.from_dict({**checkpoint.config, "model_type": cls.model_type})
    resolve_vision_tower(config, checkpoint.folder, base)
    return config


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, use_fast=False, trust_remote_code=False)


def _add_image_tokens(tokenizer: Any, model: Any) -> None:
    """The tokens that LLaVA's builder adds, under the same conditions (llava/model/builder.py)."""
    from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_PATCH_TOKEN

    if getattr(model.config, "mm_use_im_patch_token", True):
        tokenizer.add_tokens([DEFAULT_IMAGE_PATCH_TOKEN], special_tokens=True)
    if getattr(model.config, "mm_use_im_start_end", False):
        tokenizer.add_tokens([DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN], special_tokens=True)
    model.resize_token_embeddings(len(tokenizer))


def _load_vision_tower(model: Any, device: Any, dtype: torch.dtype) -> Any:
    tower = model.get_vision_tower()
    if not tower.is_loaded:
        tower.load_model()
    tower.to(device=device, dtype=dtype)
    return tower.image_processor
