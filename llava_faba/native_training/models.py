"""The model of a training: EmoLA or an attached prior as it was saved, or a plain model that is given a prior."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from llava_faba.errors import CheckpointError, UserError
from llava_faba.native import EmolaForConditionalGeneration, FacialPriorModel, attach
from llava_faba.native_training.config import LoraSettings, TrainSettings
from llava_faba.native_training.data import TrainingData
from llava_faba.training.prior_report import report_priors
from llava_faba.vetting.native import vet_folder

BASE = "base"
"""The folder, in the training's own, of a base model that was given a prior here: the adapter is nothing without it."""
PROJECTOR = "prior_projector"


def load_base(settings: TrainSettings, data: TrainingData) -> tuple[Any, Any, str]:
    """(model, processor, its folder or hub id), in the precision that trains. Says what priors the records have.

    Raises CheckpointError for what transformers cannot read, UserError for a model without a prior and no 'attach'.
    """
    made = Path(settings.out) / BASE
    place = str(made) if settings.attach is not None and (made / "config.json").is_file() else settings.model
    model, processor = load(place, settings.dtype)
    if isinstance(model, EmolaForConditionalGeneration | FacialPriorModel):
        if settings.attach is not None and place == settings.model:
            raise UserError(f"{settings.model} has a facial prior already: leave 'attach' out.")
        report_priors(data, fitted=None)
        return model, processor, place
    if settings.attach is None:
        raise UserError(f"{settings.model} has no facial prior: add an 'attach' section, which gives it one.")
    model, processor = _attached(settings, data, model, processor)
    if int(os.environ.get("RANK", 0)) == 0:
        _save_base(model, processor, made)
    return model, processor, str(made)


def load(place: str, dtype: str) -> tuple[Any, Any]:
    """(model, processor): safetensors only, no code of the folder. Raises CheckpointError."""
    safe: dict[str, Any] = {"trust_remote_code": False}
    vet_folder(place)
    try:
        processor = AutoProcessor.from_pretrained(place, **safe)
        model = AutoModelForImageTextToText.from_pretrained(
            place, dtype=getattr(torch, dtype), use_safetensors=True, **safe
        )
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise CheckpointError(f"{place}: cannot be loaded by transformers: {error}") from error
    return model, processor


def lora_config(model: Any, settings: LoraSettings, learns: str | None = None) -> Any:
    """PEFT's configuration. Raises UserError for targets and modules that the model does not have."""
    import re

    from peft import LoraConfig

    names = [name for name, _ in model.named_modules()]
    targets: Any = settings.targets
    if targets is None:
        targets = _linears_of_the_language_model(model)
    else:
        try:
            if not any(re.fullmatch(targets, name) for name in names):
                raise UserError(f"lora.targets '{targets}' is the name of no module of this model.")
        except re.error as error:
            raise UserError(f"lora.targets '{targets}' is no regular expression: {error}.") from error
    modules = [*dict.fromkeys([PROJECTOR, *settings.modules])]
    for module in modules:
        if not any(name.rpartition(".")[2] == module or name == module for name in names):
            raise UserError(f"lora.modules: this model has no module '{module}'.")
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        modules_to_save=modules,
        task_type="CAUSAL_LM",
    )


def _linears_of_the_language_model(model: Any) -> list[str]:
    inner = model.vlm if isinstance(model, FacialPriorModel) else model
    decoder = inner.get_decoder()
    parts = {id(module) for module in decoder.modules() if isinstance(module, torch.nn.Linear)}
    visual = [id(module) for name, part in inner.named_modules() if re_visual(name) for module in part.modules()]
    found = [name for name, module in model.named_modules() if id(module) in parts and id(module) not in visual]
    if not found:
        raise UserError("no linear layer was found in the language model: name them with lora.targets.")
    return found


def re_visual(name: str) -> bool:
    """Whether a module of this name is a picture's: some models' decoder holds their vision tower too."""
    last = name.rpartition(".")[2]
    return any(word in last for word in ("vision", "visual", "projector", "connector"))


def _attached(settings: TrainSettings, data: TrainingData, model: Any, processor: Any) -> tuple[Any, Any]:
    store, chosen = data.store, settings.attach
    assert store is not None and chosen is not None  # the configuration was checked
    fitted = None if chosen.normalization == "none" else chosen.normalization
    from llava_faba.emola.normalization import fit_statistics
    from llava_faba.native.shared_experts import shared_expert

    sizes = shared_expert(store.expert, store.settings, store.size).sizes
    faces = report_priors(data, fitted=fitted, sizes=sizes)
    torch.manual_seed(int(settings.trainer.get("seed", 42)))
    model, processor = attach(
        model,
        processor,
        expert=store.expert,
        settings=store.settings,
        size=store.size,
        normalization=chosen.normalization,
        statistics=fit_statistics(chosen.normalization, faces, sizes),
        projector=chosen.projector,
    )
    model.config.facial_prior_expert_version = store.expert_version
    return model, processor


def _save_base(model: Any, processor: Any, folder: Path) -> None:
    from faba_bench.files.folders import new_folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder, error=UserError) as draft:
        model.save_pretrained(draft)
        processor.save_pretrained(draft)
