"""``load_model``: EmoLA checkpoints of either format and plain LLaVA ones, on any device, in any dtype."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from llava_faba.building import building_modules
from llava_faba.compat.engine import mend_packages, replaced
from llava_faba.devices import choose_device, choose_dtype
from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import (
    IMAGE_PROJECTOR_FILE,
    NON_LORA,
    Checkpoint,
    inspect_checkpoint,
    model_name,
    read_weights,
)
from llava_faba.model.handing_over import hand_over, restore_loaded
from llava_faba.model.loaded import LoadedModel
from llava_faba.model.vision_tower import towers_of_all_families
from llava_faba.vetting.folder import original_of
from llava_faba.vetting.kinds import read

_DEFAULT_CONTEXT = 2048  # what LLaVA's builder assumes when the config does not say
_LLAMA_TYPES = ("llava", "llava_llama", "emollava")


def load_model(
    model_path: str | Path,
    model_base: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = torch.float32,
) -> LoadedModel:
    """Load a checkpoint, whatever its folder is called.

    ``model_path``: folder or hub id of an EmoLA checkpoint (LoRA folder or merged, the authors' format or ours) or of
    a plain LLaVA one. ``model_base``: the base of a folder that holds LoRA weights or projectors alone;
    left out, the one that the folder names.
    ``device``: also "auto", a GPU if there is one. ``dtype``: a torch type, its name, or "auto": float32 on a CPU,
    bfloat16 on a GPU (float16 on one older than Ampere).
    LoRA weights are merged. Returns ``(tokenizer, model, image_processor, context_len)`` like LLaVA's builder, with
    these names.

    Raises CheckpointError for folders that are incomplete, contradictory or unsafe to read, UpstreamError when LLaVA
    does not import, UserError for a device that is not there.
    """
    from llava_faba.upstream import import_llava

    device = choose_device(device)
    dtype = choose_dtype(dtype, device)

    import_llava()
    mend_packages(training=False)
    with building_modules(), towers_of_all_families():
        checkpoint = inspect_checkpoint(model_path)
        checkpoint.check_weights()
        if checkpoint.is_tower:
            raise CheckpointError(f"{checkpoint.folder}: a vision tower, not a model that answers.")
        if checkpoint.needs_base:
            tokenizer, model = _load_on_base(checkpoint, str(model_base) if model_base else None, dtype)
        else:
            tokenizer, model = _load_full(checkpoint, dtype)
        _add_image_tokens(tokenizer, model)
        image_processor = _load_vision_tower(model, device, dtype, checkpoint)
        model.to(device=device, dtype=dtype)
        restore_loaded(model)
        restore_loaded(tokenizer)
    model.eval()
    context = getattr(model.config, "max_sequence_length", _DEFAULT_CONTEXT)
    return LoadedModel(tokenizer, model, image_processor, context)


def _load_full(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    private = hand_over(checkpoint)
    if checkpoint.config.get("model_type") in _LLAMA_TYPES:
        model = _build(_llama_class(checkpoint), private, _config(checkpoint, private), dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(
            str(private), torch_dtype=dtype, low_cpu_mem_usage=True, trust_remote_code=False
        )
    return _tokenizer(private), model


def _load_on_base(checkpoint: Checkpoint, model_base: str | None, dtype: torch.dtype) -> tuple[Any, Any]:
    extra = checkpoint.projector_weights() if checkpoint.is_emola else {}
    base = checkpoint.checked_base(model_base)
    private, private_base = hand_over(checkpoint, near=(base.folder,)), hand_over(base, near=(checkpoint.folder,))
    non_lora = checkpoint.weights_file(NON_LORA if checkpoint.is_adapter else IMAGE_PROJECTOR_FILE)
    if non_lora is not None:
        extra = {model_name(name): value for name, value in read_weights(non_lora).items()} | extra
    model = _build(_llama_class(checkpoint), private_base, _config(checkpoint, private), dtype, elsewhere=extra)
    _load_exactly(model, extra, checkpoint.folder)
    if checkpoint.is_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(private)).merge_and_unload()
    return _tokenizer(private_base), model


def _build(cls: Any, folder: Path, config: Any, dtype: torch.dtype, elsewhere: Collection[str] = ()) -> Any:
    """Load a model and see that every weight came from a file: this one or, for ``elsewhere``, a later one."""
    with _without_loading_reports(), _without_initial_weights(cls):
        model, report = cls.from_pretrained(
            str(folder), config=config, torch_dtype=dtype, low_cpu_mem_usage=True, output_loading_info=True
        )
    # transformers 4.37 does not report all: of meta tensors of equal size it takes one for the other's copy.
    absent = [*report["missing_keys"], *(name for name, value in model.named_parameters() if value.is_meta)]
    missing = [name for name in dict.fromkeys(absent) if name not in elsewhere and "vision_tower" not in name]
    if missing:
        raise CheckpointError(
            f"{original_of(folder)}: {len(missing)} weights are missing from its files, {missing[0]} for one; copy "
            "it again."
        )
    return model


@contextlib.contextmanager
def _without_initial_weights(cls: Any) -> Iterator[None]:
    """transformers 4 draws weights that no file had, some without memory, which imports torch's compiler for it.

    Each of them comes from another file a moment later, or ``_build`` refuses the folder.
    """
    import transformers

    if int(transformers.__version__.partition(".")[0]) >= 5:
        yield
        return
    with replaced(cls, "_initialize_weights", lambda self, module: None):
        yield


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
    _give_memory(model, state)
    try:
        unknown = model.load_state_dict(state, strict=False).unexpected_keys
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: its weights do not fit the base model: {error}") from error
    if unknown:
        raise CheckpointError(f"{folder}: weights that this model has no place for: {', '.join(unknown[:5])}")


def _give_memory(model: Any, names: Collection[str]) -> None:
    """Memory for parameters that are about to be loaded and have none: loading into a meta tensor does nothing.

    transformers 4.36 and 4.37 leave an image projector so whose base (Vicuna, say) does not hold it.
    """
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta and name in names:
            module, _, leaf = name.rpartition(".")
            empty = torch.empty_like(parameter, device="cpu")
            setattr(model.get_submodule(module), leaf, torch.nn.Parameter(empty, parameter.requires_grad))


def _llama_class(checkpoint: Checkpoint) -> Any:
    from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

    from llava_faba.model.emola import EmolaLlamaForCausalLM

    return EmolaLlamaForCausalLM if checkpoint.is_emola else LlavaLlamaForCausalLM


def _config(checkpoint: Checkpoint, private: Path) -> Any:
    from llava.model.language_model.llava_llama import LlavaConfig

    from llava_faba.model.config import EmolaConfig

    cls = EmolaConfig if checkpoint.is_emola else LlavaConfig
    return cls.from_dict({**read(private / "config.json"), "model_type": cls.model_type})


def _tokenizer(private: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(private), use_fast=False, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{original_of(private)}: its tokenizer cannot be read: {error}") from error


def _add_image_tokens(tokenizer: Any, model: Any) -> None:
    """The tokens that LLaVA's builder adds, under the same conditions (llava/model/builder.py)."""
    from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_PATCH_TOKEN

    if getattr(model.config, "mm_use_im_patch_token", True):
        tokenizer.add_tokens([DEFAULT_IMAGE_PATCH_TOKEN], special_tokens=True)
    if getattr(model.config, "mm_use_im_start_end", False):
        tokenizer.add_tokens([DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN], special_tokens=True)
    model.resize_token_embeddings(len(tokenizer))


def _load_vision_tower(model: Any, device: Any, dtype: torch.dtype, checkpoint: Checkpoint) -> Any:
    tower = model.get_vision_tower() if hasattr(model, "get_vision_tower") else None
    if tower is None:
        raise CheckpointError(
            f"{checkpoint.folder}: a language model without a vision tower (mm_vision_tower in config.json): it cannot "
            "be shown pictures."
        )
    if not tower.is_loaded:
        tower.load_model()
    tower.to(device=device, dtype=dtype)
    return tower.image_processor
