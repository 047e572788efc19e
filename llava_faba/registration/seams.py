"""The table of seams: every place where llava-faba reaches into LLaVA.

A seam names an upstream attribute, what it must look like for us to touch it, and the function of ours that makes
the replacement from the original. The order of the table is the order of application.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from llava_faba.compat.replacement import Replacement


@dataclass(frozen=True)
class Seam(Replacement):
    """One upstream attribute that we replace.

    ``is_class`` and ``parameters`` say what the original must be: a class (``parameters`` are then fields or
    attributes it has) or a function that takes at least these parameters.
    """

    is_class: bool = False
    parameters: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        kind = "a class with" if self.is_class else "a function with the parameters"
        return f"{self.target} to be {kind} {', '.join(self.parameters) or 'any members'}"

    def mismatch(self, original: Any) -> str | None:
        """What is wrong with the upstream attribute, or None when it is as expected."""
        if self.is_class != inspect.isclass(original) or not callable(original):
            return f"{type(original).__name__} {original!r:.80}"
        if self.is_class:
            known = set(dir(original)) | set(getattr(original, "__dataclass_fields__", {}))
        else:
            known = set(inspect.signature(original).parameters)
        missing = [name for name in self.parameters if name not in known]
        return f"one without {', '.join(missing)}" if missing else None


AUTO_CLASSES = "llava_faba.model.auto_classes"
"""The module that makes transformers know the model type; named as text, like the factories of the seams."""

SEAMS: tuple[Seam, ...] = (
    Seam(
        "builder-class",
        "llava.model.builder:LlavaLlamaForCausalLM",
        "llava_faba.model.dispatch:llava_or_emola",
        "load_pretrained_model builds EmoLA where the config has a facial prior, LLaVA's own class elsewhere",
        is_class=True,
        parameters=("from_pretrained", "prepare_inputs_labels_for_multimodal", "encode_images", "get_model"),
    ),
    Seam(
        "builder-load",
        "llava.model.builder:load_pretrained_model",
        "llava_faba.model.upstream_builder:wrap_load_pretrained_model",
        "EmoLA folders are known by their content, not by their name; their files are checked before they are used",
        parameters=("model_path", "model_base", "model_name"),
    ),
    Seam(
        "vision-tower",
        "llava.model.multimodal_encoder.builder:CLIPVisionTower",
        "llava_faba.model.vision_tower:tower_of_its_family",
        "a folder that holds a DINOv2 is a vision tower too; CLIP's stay LLaVA's own",
        is_class=True,
        parameters=("load_model", "feature_select", "forward"),
    ),
    Seam(
        "vision-modules",
        "llava.model.llava_arch:LlavaMetaModel.initialize_vision_modules",
        "llava_faba.model.vision_modules:wrap_initialize_vision_modules",
        "the prior projector is made where LLaVA makes the image projector",
        parameters=("self", "model_args", "fsdp"),
    ),
    Seam(
        "model-arguments",
        "llava.train.train:ModelArguments",
        "llava_faba.training.arguments:emola_model_arguments",
        "the flags --facial_prior_*",
        is_class=True,
        parameters=("model_name_or_path", "mm_projector_type", "vision_tower", "version"),
    ),
    Seam(
        "data-arguments",
        "llava.train.train:DataArguments",
        "llava_faba.training.arguments:emola_data_arguments",
        "the flags --facial_prior_store, --skip_bad_records and --allow_outside",
        is_class=True,
        parameters=("data_path", "image_folder", "image_aspect_ratio", "is_multimodal"),
    ),
    Seam(
        "training-arguments",
        "llava.train.train:TrainingArguments",
        "llava_faba.training.arguments:emola_training_arguments",
        "the flags of EmoLA's optimizer, projector stages and validation",
        is_class=True,
        parameters=("mm_projector_lr", "lora_enable", "group_by_modality_length"),
    ),
    Seam(
        "train-class",
        "llava.train.train:LlavaLlamaForCausalLM",
        "llava_faba.model.dispatch:llava_or_emola",
        "training builds EmoLA when an expert was asked for",
        is_class=True,
        parameters=("from_pretrained", "prepare_inputs_labels_for_multimodal", "encode_images", "get_model"),
    ),
    Seam(
        "lora-targets",
        "llava.train.train:find_all_linear_names",
        "llava_faba.training.lora_targets:wrap_find_all_linear_names",
        "upstream returns last name parts, so the prior projector's '0' and '2' would become LoRA targets",
        parameters=("model",),
    ),
    Seam(
        "data-module",
        "llava.train.train:make_supervised_data_module",
        "llava_faba.data.module:wrap_make_supervised_data_module",
        "the FABA dataset and collator, which carry priors beside the images",
        parameters=("tokenizer", "data_args"),
    ),
    Seam(
        "trainer",
        "llava.train.train:LLaVATrainer",
        "llava_faba.training.trainer:emola_trainer",
        "priors stay float32, empty parameter groups are dropped, checkpoints hold the non-LoRA weights, validation",
        is_class=True,
        parameters=("create_optimizer", "_save_checkpoint", "_prepare_inputs"),
    ),
    Seam(
        "gather-parameter",
        "llava.train.train:maybe_zero_3",
        "llava_faba.training.saving:wrap_maybe_zero_3",
        "upstream imports deepspeed while saving even when it was not used",
        parameters=("param",),
    ),
    Seam(
        "non-lora-weights",
        "llava.train.train:get_peft_state_non_lora_maybe_zero_3",
        "llava_faba.training.saving:wrap_non_lora_state",
        "upstream saves only what was trained, and frozen projectors would be lost",
        parameters=("named_params", "require_grad_only"),
    ),
    Seam(
        "save-full-model",
        "llava.train.train:safe_save_model_for_hf_trainer",
        "llava_faba.training.saving:wrap_safe_save",
        "upstream calls torch.cuda.synchronize() without CUDA, and a projector stage has a second projector",
        parameters=("trainer", "output_dir"),
    ),
    Seam(
        "train",
        "llava.train.train:train",
        "llava_faba.training.session:wrap_train",
        "seeds before LoRA weights are drawn, prepares DeepSpeed on a CPU, tells the class seam what to build",
        parameters=("attn_implementation",),
    ),
)
