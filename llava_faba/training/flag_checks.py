"""Flags that LLaVA's ``train()`` takes and does not follow: refused before anything is loaded, with what to do instead.

``HIDDEN`` are those that have no use here at all; ``--help`` does not show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llava_faba.compat.flags import only_cpu
from llava_faba.errors import CheckpointError, UserError
from llava_faba.training.flag_ranges import check_numbers, check_output

_NO_EVALUATION = (
    "LLaVA's train() has no evaluation set, so that transformers would evaluate nothing; validate with "
    "--faba_eval_annotations and --faba_eval_steps"
)
_ORDER = "which records a step and an epoch show, and what a resumed run goes on with, would no longer be known"
HIDDEN: dict[str, str] = {
    **dict.fromkeys(
        (
            *("do_eval", "do_predict", "evaluation_strategy", "eval_strategy", "eval_steps", "eval_delay"),
            *("eval_accumulation_steps", "eval_on_start", "eval_do_concat_batches", "eval_use_gather_object"),
            *("batch_eval_metrics", "prediction_loss_only", "include_inputs_for_metrics", "include_for_metrics"),
            *("jit_mode_eval", "fp16_full_eval", "bf16_full_eval", "metric_for_best_model", "greater_is_better"),
        ),
        _NO_EVALUATION,
    ),
    "load_best_model_at_end": f"{_NO_EVALUATION}; the best checkpoint is in OUTPUT/best-rege",
    "remove_unused_columns": "it would take the pictures out of the batches",
    "label_smoothing_factor": "the loss is LLaVA's own, computed inside the model, which does not smooth labels",
    "label_names": _NO_EVALUATION,
    "neftune_noise_alpha": "transformers adds its noise to batches of texts, and LLaVA embeds texts piece by piece",
    "past_index": "the model keeps no past while it trains",
    "auto_find_batch_size": _ORDER,
    "split_batches": _ORDER,
    "dispatch_batches": _ORDER,
    "lora_weight_path": "LLaVA reads it nowhere; merge the adapter first (llava-faba checkpoint merge), train on that",
    "mm_patch_merge_type": "training shows the model one crop of each picture, and there is nothing to merge",
    "lora_bias": "LLaMA's linear layers have no biases, and LLaVA's own saving of them ('lora_only') fails at the end",
    "is_multimodal": "LLaVA sets it itself",
}


def check_flags(argv: Sequence[str]) -> None:
    """Read a training command line as ``train()`` will, and refuse what it would not do.

    Raises UserError. Leaves to ``train()`` what is wrong in form, and ``--help``.
    """
    if {"-h", "--help"} & set(argv):
        return
    from llava.train import train as upstream
    from transformers import HfArgumentParser

    parser = HfArgumentParser((upstream.ModelArguments, upstream.DataArguments, upstream.TrainingArguments))
    parsed, unknown = parser.parse_known_args(list(argv))
    values = {**_unknown(unknown), **vars(parsed)}
    upstream.ModelArguments(**{name: values[name] for name in upstream.ModelArguments.__dataclass_fields__})  # checks
    for name, why in HIDDEN.items():
        value = values.get(name)
        if name in values and not _is_default(value, parser.get_default(name)):
            raise UserError(f"--{name} {_text(value)} is not possible: {why}. Leave the flag out.")
    for check in (check_numbers, check_output, _half, _vision_tower, _aspect_ratio, _resume, _overwrite):
        check(values)
    _base_model(values)


def _unknown(words: Sequence[str]) -> dict[str, Any]:
    """Flags that this transformers no longer has and that are translated for it later (compat/flags.py)."""
    found: dict[str, Any] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else True
        elif name is not None:
            found[name] = word
    return found


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def _is_default(value: Any, default: Any) -> bool:
    off = {"no", "false", "none", ""}
    texts = [_text(one).lower() for one in (value, default)]
    return texts[0] == texts[1] or set(texts) <= off


def _half(values: Mapping[str, Any]) -> None:
    if values["fp16"] and only_cpu():
        raise UserError("--fp16 True trains on a GPU only: on a CPU pass --bf16 True instead, or leave --fp16 out.")


def _vision_tower(values: Mapping[str, Any]) -> None:
    if values["vision_tower"] is None:
        raise UserError(
            "--vision_tower is required: the folder or hub id of the CLIP tower that the base model sees with "
            "(openai/clip-vit-large-patch14-336 for LLaVA-1.5); it stands in its config.json as mm_vision_tower."
        )


def _aspect_ratio(values: Mapping[str, Any]) -> None:
    found = values["image_aspect_ratio"]
    if found == "anyres":
        raise UserError(
            "--image_aspect_ratio anyres: LLaVA's train() shows the model one crop of a picture, and after training "
            "it would be shown several; pass pad."
        )
    if found not in ("pad", "square"):
        raise UserError(
            f"--image_aspect_ratio {found}: LLaVA would cut pictures to squares without a word; choose pad or square."
        )


def _resume(values: Mapping[str, Any]) -> None:
    from llava_faba.training.resume import last_checkpoint

    named = values.get("resume_from_checkpoint")
    if named is None:
        return
    last = last_checkpoint(values["output_dir"])
    if last is not None and (str(named).lower() == "true" or Path(named).resolve() == last.resolve()):
        return
    found = f"{last} here" if last else "none here"
    raise UserError(
        f"--resume_from_checkpoint {named}: a run goes on from the last whole checkpoint in its --output_dir ({found}) "
        "and from no other. Leave the flag out; to go on from an earlier one, move the later ones away."
    )


def _overwrite(values: Mapping[str, Any]) -> None:
    if str(values.get("overwrite_output_dir", False)).lower() not in ("true", "1", "yes", "y", "t"):
        return
    if any(Path(values["output_dir"]).glob("checkpoint-*")):
        raise UserError(
            f"--overwrite_output_dir: {values['output_dir']} holds checkpoints, and the run would go on from them "
            "instead of overwriting them. Remove them, give another --output_dir, or leave the flag out to go on."
        )


def _base_model(values: Mapping[str, Any]) -> None:
    """What the base model's folder says of itself against the flags; nothing of a model that is not here yet."""
    from llava_faba.model.checkpoints import inspect_checkpoint

    name = str(values["model_name_or_path"])
    try:
        base = inspect_checkpoint(name, values.get("cache_dir"), download=False, adapter_alone=True)
    except CheckpointError:
        if Path(name).is_dir():
            raise
        return
    if base.is_adapter:
        raise UserError(
            f"--model_name_or_path {name}: holds LoRA weights, not a whole model. Merge them first: llava-faba "
            f"checkpoint merge --model-path {name} --dtype float32 --out MERGED, and train on MERGED."
        )
    if base.is_projectors_only or base.is_tower:
        kind = "a vision tower" if base.is_tower else "projectors alone (a stage's result)"
        remedy = "" if base.is_tower else f"; pass --pretrain_mm_mlp_adapter {name}/mm_projector.bin"
        raise UserError(f"--model_name_or_path {name}: holds {kind}, not a whole model{remedy}.")
    config = base.config
    if not config.get("mm_vision_tower") or "mm_hidden_size" not in config:
        return  # a language model alone
    _like_base(values, name, "mm_projector_type", config.get("mm_projector_type", "linear"))
    if values["pretrain_mm_mlp_adapter"] is None:
        _like_base(values, name, "mm_vision_select_layer", config.get("mm_vision_select_layer"))
        _like_base(values, name, "mm_vision_select_feature", config.get("mm_vision_select_feature", "patch"))
    if base.is_emola and values["facial_prior_projector_type"] is not None:
        kind = config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear")
        _like_base(values, name, "facial_prior_projector_type", kind)


def _like_base(values: Mapping[str, Any], name: str, flag: str, trained: Any) -> None:
    if trained is not None and values[flag] != trained:
        raise UserError(
            f"--{flag} is {values[flag]} (if left out, that is LLaVA's default), but the base model {name} was trained "
            f"with {trained}: pass --{flag} {trained}."
        )
