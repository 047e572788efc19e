"""What decides the weights of a run: every flag but the few named here, and the content of what the flags name.

A run goes on from a checkpoint only where all of it is as it was. The list is derived from the parsed arguments, so
that a flag that somebody adds is compared from the first day on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
import transformers
from faba_bench.files.digests import sha256_file, sha256_json

from llava_faba.errors import UserError
from llava_faba.inference.conversations import TEMPLATE_KEY

COMPLETE = "all flags are written down"
"""The key that tells a manifest of this release from earlier ones, which held some of the flags."""

LENGTH_FLAGS = ("num_train_epochs", "max_steps")
"""Flags that may grow, so that a finished run can be trained further."""

# Flags without an influence on the weights. Never written down either: some of them are secrets.
_FREE = frozenset(
    (
        # where things go, and how a folder is called
        *("output_dir", "overwrite_output_dir", "run_name", "logging_dir", "cache_dir", "project"),
        *("resume_from_checkpoint", "save_strategy", "save_steps", "save_total_limit", "save_safetensors"),
        *("save_on_each_node", "enable_jit_checkpoint", "restore_callback_states_from_checkpoint"),
        # what is said
        *("log_level", "log_level_replica", "log_on_each_node", "logging_strategy", "logging_first_step"),
        *("logging_steps", "logging_nan_inf_filter", "report_to", "disable_tqdm", "skip_memory_metrics", "debug"),
        *("include_tokens_per_second", "include_num_input_tokens_seen", "include_inputs_for_metrics"),
        # workers and waiting
        *("dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_persistent_workers"),
        *("dataloader_pin_memory", "dataloader_multiprocessing_context", "ddp_timeout", "ddp_backend", "local_rank"),
        *("ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_find_unused_parameters", "torch_empty_cache_steps"),
        *("gradient_checkpointing", "gradient_checkpointing_kwargs"),  # computes the same, to the bit
        # evaluation, which leaves training as it was
        *("do_train", "do_eval", "do_predict", "evaluation_strategy", "eval_strategy", "eval_steps", "eval_delay"),
        *("eval_accumulation_steps", "eval_on_start", "eval_do_concat_batches", "eval_use_gather_object"),
        *("per_device_eval_batch_size", "per_gpu_eval_batch_size", "prediction_loss_only", "include_for_metrics"),
        *("batch_eval_metrics", "bf16_full_eval", "fp16_full_eval", "jit_mode_eval", "load_best_model_at_end"),
        *("metric_for_best_model", "greater_is_better"),
        # what these do to the records is in the records
        *("skip_bad_records", "allow_outside", "facial_prior_compare_all", "lazy_preprocess", "is_multimodal"),
        # compared by content, below
        *("deepspeed", "model_name_or_path", "vision_tower", "data_path", "image_folder", "facial_prior_store"),
        *("pretrain_mm_mlp_adapter", "pretrain_facial_prior_projector", "version"),
    )
)
_FREE_FAMILIES = ("hub_", "push_to_hub", "trackio_", "faba_eval_", "_", "tpu_metrics")
_ENGINE_FREE = (  # of a DeepSpeed config: memory, speed and what is said; the ZeRO stage is compared by itself
    *("zero_optimization", "activation_checkpointing", "steps_per_print", "wall_clock_breakdown", "dump_state"),
    *("comms_logger", "flops_profiler", "tensorboard", "wandb", "csv_monitor", "comms_config"),
)
_PICTURES = 256  # of which the whole content is read; of the others, their sizes
_given: ContextVar[list[Any] | None] = ContextVar("given", default=None)


@contextlib.contextmanager
def remembering_arguments() -> Iterator[None]:
    """While inside, one call of ``train()``, LLaVA's ModelArguments are kept: it hands them to nobody."""
    token = _given.set([])
    try:
        yield
    finally:
        _given.reset(token)


def remember(arguments: Any) -> None:
    """Called by argument classes when they are made from flags."""
    kept = _given.get()
    if kept is not None:
        kept.append(arguments)


def run_settings(trainer: Any) -> dict[str, Any]:
    """Everything that must stay as it was for a run to go on as if it had not been stopped, as JSON values.

    Every process must call it; the contents are read by the first one.
    """
    args, config = trainer.args, trainer.model.config
    dataset = trainer.train_dataset
    given = _given.get() or []
    sources = [args, getattr(dataset, "data_args", None), *given[-1:]]
    values = {name: value for source in sources if source is not None for name, value in deciding_flags(source).items()}
    values[COMPLETE] = True
    values["processes"] = args.world_size
    values["order of records"] = "by seed and epoch"  # earlier releases drew it from the global random state
    values["conversation template"] = getattr(config, TEMPLATE_KEY, None)
    zero = getattr(args, "hf_deepspeed_config", None)
    values["ZeRO stage"] = zero.get_value("zero_optimization.stage") if zero else None
    values["DeepSpeed config"] = _engine(zero.config) if zero else None
    values["transformers"] = transformers.__version__
    values["facial prior"] = getattr(config, "facial_prior_expert", None)
    values["facial prior normalization"] = getattr(config, "facial_prior_normalization", None)
    records = getattr(dataset, "list_data_dict", None)
    if records is not None:
        values["records"] = f"{len(records)} (sha256 {sha256_json(records)[:12]})"
    values["trained weights"] = sorted(name for name, value in trainer.model.named_parameters() if value.requires_grad)
    model_args, cache = given[-1] if given else None, getattr(args, "cache_dir", None)
    values |= _of_first_process(lambda: _contents(model_args, dataset, values["facial prior"], cache))
    return json.loads(json.dumps(values, default=lambda value: getattr(value, "value", str(value))))


def deciding_flags(arguments: Any) -> dict[str, Any]:
    """The fields of a dataclass of flags, but for those that cannot change the weights."""
    return {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(arguments)
        if field.name not in _FREE and not field.name.startswith(_FREE_FAMILIES) and hasattr(arguments, field.name)
    }


def _engine(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sorted(config.items()) if name not in _ENGINE_FREE}


def _contents(model_args: Any, dataset: Any, expert: str | None, cache: str | None) -> dict[str, Any]:
    """Digests of what the flags name: base, vision tower, projectors to start from, pictures, priors.

    ``cache``: where the base lies if it is a hub id; LLaVA keeps the tower in transformers' own cache.
    """
    values: dict[str, Any] = {}
    if model_args is not None:
        values["content of the base"] = _model(model_args.model_name_or_path, cache)
        if getattr(model_args, "vision_tower", None):
            values["content of the vision tower"] = _model(model_args.vision_tower)
        for flag in ("pretrain_mm_mlp_adapter", "pretrain_facial_prior_projector"):
            path = getattr(model_args, flag, None)
            values[f"content of --{flag}"] = _file_or_folder(Path(path)) if path else None
    data_args, records = getattr(dataset, "data_args", None), getattr(dataset, "list_data_dict", None)
    if records is None or data_args is None:
        return values
    images = [record["image"] for record in records if isinstance(record.get("image"), str)]
    priors = getattr(dataset, "priors", None)
    store = getattr(priors, "store", None)
    values["pictures"] = digest_of_pictures(list(dict.fromkeys(images)), Path(data_args.image_folder or "."), store)
    if expert is not None and priors is not None:
        values["priors"] = digest_of_priors(priors, records)
    return values


def _model(path: str, cache: str | None = None) -> str:
    from llava_faba.model.checkpoints import inspect_checkpoint
    from llava_faba.model.fingerprint import fingerprint

    return f"sha256 {fingerprint([inspect_checkpoint(path, cache).folder])[:12]}"


def _file_or_folder(path: Path) -> str:
    files = sorted(path.glob("*.bin")) + sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return f"sha256 {sha256_json([sha256_file(file) for file in files])[:12]}"


def digest_of_pictures(images: list[str], folder: Path, store: Any) -> str:
    """What the pictures are: by the store's SHA-256 of each, else by the sizes of all and the contents of some."""
    from llava_faba.priors.content import Content, in_threads

    known = [store.content(image) for image in images if image in store] if store is not None else []
    names = [content.name for content in known if content is not None]
    digest = hashlib.sha256()
    if len(names) == len(images):
        for image, name in zip(images, names, strict=True):
            digest.update(f"{image}\0{name}\0".encode("utf-8", "surrogatepass"))
        return f"{len(images)} (sha256 {digest.hexdigest()[:12]})"
    for image, size in zip(images, in_threads(lambda name: _size(folder / name), images), strict=True):
        digest.update(f"{image}\0{size}\0".encode("utf-8", "surrogatepass"))
    count = min(_PICTURES, len(images))
    chosen = [folder / images[number * len(images) // count] for number in range(count)]
    for content in in_threads(Content.of, chosen):
        digest.update((content.name if content is not None else "unreadable").encode())
    return f"{len(images)} (sha256 of {count} and of all sizes {digest.hexdigest()[:12]})"


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a million Path objects are not free
    except OSError:
        return -1


def digest_of_priors(priors: Any, records: list[Any]) -> str:
    """What the records' priors are, number by number."""
    digest = hashlib.sha256()
    for record in records:
        prior = priors.get(record)
        digest.update(b"none" if prior is None else prior.tobytes())
    return f"sha256 {digest.hexdigest()[:12]}"


def _of_first_process(compute: Any) -> dict[str, Any]:
    """``compute()`` of rank 0, in every process; its errors of ours in every process, too."""
    shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not shared:
        return compute()
    answer: list[Any] = [None, None]
    if torch.distributed.get_rank() == 0:
        try:
            answer[0] = compute()
        except (UserError, OSError) as error:
            answer[1] = str(error)
    torch.distributed.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise UserError(answer[1])
    return answer[0]
