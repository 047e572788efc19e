"""``to-transformers --adapter BASE``: a LoRA checkpoint as a PEFT adapter on a converted base, nothing merged."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from faba_bench.files.folders import check_new, new_folder

from llava_faba.conversion import conversations, plain_forward, proof, settings
from llava_faba.conversion.names import EMBEDDINGS, to_native
from llava_faba.conversion.plain_forward import Weights, difference
from llava_faba.conversion.shards import readers
from llava_faba.conversion.source import Lora, Source, open_source
from llava_faba.conversion.to_transformers import Options, converted, pixels_of, slow_tokenizer
from llava_faba.errors import CheckpointError, UserError
from llava_faba.vetting import tokenizer as vetted
from llava_faba.vetting.kinds import read

PROJECTORS = ("multi_modal_projector", "prior_projector")  # trained whole, so the adapter holds them whole
_PROCESSOR = ("processor_config.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


def to_adapter(
    model_path: str | Path, out: Path, base: Path, *, model_base: str | None = None, options: Options | None = None
) -> proof.Report:
    """Write a PEFT adapter into the new folder ``out``, for the native model in ``base``; prove it on eight prompts.

    ``base`` is made when it is not there: the checkpoint without its LoRA weights. One that is there may have been made
    with another adapter of the same base: all but the projectors must be equal to the bit.
    Raises CheckpointError for a checkpoint without LoRA, another base, and when the proof fails; UserError when ``out``
    is not empty.
    """
    check_new(Path(out), error=UserError)
    if options and options.results:
        raise UserError("--result is for the card of a merged model; an adapter's folder has no card.")
    source = open_source(model_path, model_base)
    settings.check_convertible(source)
    if not source.lora:
        raise CheckpointError(f"{source.checkpoint.folder}: holds no LoRA weights; convert it without --adapter.")
    bare = Source(source.checkpoint, source.tower, source.tokens, source.tensors)
    if not (base / "config.json").is_file():
        converted(bare, base, options or Options())
    native = read(base / "config.json")
    _check_base(bare, base, native)
    with new_folder(out, error=UserError) as folder:
        _write(source, folder, base)
        report = _prove(source, folder, base, native, options or Options())
    report.notes += source.notes
    return report


def _check_base(bare: Source, base: Path, native: dict[str, Any]) -> None:
    placeholder = int(native.get("tokenizer_size") or 0) - 1
    wanted = settings.native_config(
        bare, int(native.get("text_config", {}).get("vocab_size", 0)), placeholder, str(native.get("dtype"))
    )
    other = [key for key in wanted if key != "llava_config" and wanted[key] != native.get(key)]
    mine = readers(base)
    for name, reader in bare.tensors.items():
        target = str(to_native(name))
        if any(f".{projector}." in target for projector in PROJECTORS):
            continue
        value = reader()
        held = mine[target]() if target in mine else None
        if held is not None and name in EMBEDDINGS:
            held = held[: len(value)]
        if held is None or not torch.equal(value.to(held.dtype), held):
            other.append(target)
            break
    if other:
        raise CheckpointError(
            f"{base}: not the converted base of {bare.checkpoint.folder}: {other[0]} differs. Name a new folder, "
            "and it is made."
        )


def _write(source: Source, folder: Path, base: Path) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, lora in source.lora.items():
        module = f"base_model.model.{str(to_native(name)).removesuffix('.weight')}"
        tensors[f"{module}.lora_A.weight"] = lora.down().clone()
        tensors[f"{module}.lora_B.weight"] = lora.up().clone()
    for name, reader in source.tensors.items():
        target = str(to_native(name))
        if any(f".{projector}." in target for projector in PROJECTORS):
            tensors[f"base_model.model.{target}"] = reader().clone()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    said = source.checkpoint.adapter or {}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": int(said.get("r", 8)),
        "lora_alpha": said.get("lora_alpha", 8),
        "lora_dropout": said.get("lora_dropout", 0.0),
        "bias": "none",
        "fan_in_fan_out": bool(said.get("fan_in_fan_out")),
        "inference_mode": True,
        # Whole names: the vision tower has layers of the same last names.
        "target_modules": sorted(str(to_native(name)).removesuffix(".weight") for name in source.lora),
        "modules_to_save": list(PROJECTORS),
    }
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    for name in _PROCESSOR:
        shutil.copyfile(base / name, folder / name)


def _prove(source: Source, folder: Path, base: Path, native: dict[str, Any], options: Options) -> proof.Report:
    name = options.conversation or source.config.get("conversation_template") or conversations.DEFAULT
    slow = slow_tokenizer(vetted.tokenizer_files(source.tokens, "llama"))
    prompts = proof.examples(
        source, slow, conversations.conversation(name), functools.partial(pixels_of, source, native)
    )
    llava, tower = source.config, source.tower.config
    before = Weights(lambda one: source.tensors[one](), source.lora)
    expected = plain_forward.logits(before, llava, tower, prompts)
    rows = expected[0].shape[-1]
    held, mine = readers(base), _reader(folder)

    def read_written(one: str) -> torch.Tensor:
        target = str(to_native(one))
        saved = mine.get(f"base_model.model.{target}")
        value = held[target]() if saved is None else saved()
        return value[:rows] if one in EMBEDDINGS else value

    loras = {}
    for one, lora in source.lora.items():
        module = f"base_model.model.{str(to_native(one)).removesuffix('.weight')}"
        loras[one] = Lora(mine[f"{module}.lora_A.weight"], mine[f"{module}.lora_B.weight"], lora.scale, lora.transposed)
    found = plain_forward.logits(Weights(read_written, loras), llava, tower, prompts)
    report = proof.Report(prompts=len(prompts))
    report.logits = max(difference(a, b) for a, b in zip(expected, found, strict=True))
    if proof.can_run(held.values()):
        ran = proof.by_transformers(base, native, prompts, adapter=folder)
        kept = int(native["image_token_index"])
        pairs = zip(expected, ran, strict=True)
        report.logits = max(report.logits, *(difference(a[:, :kept], b[:, :kept]) for a, b in pairs))
        report.ran_model = True
    if not report.logits <= proof.TOLERANCE:
        raise CheckpointError(
            f"{source.checkpoint.folder}: base and adapter give logits that differ from the source's by "
            f"{report.logits:.2g} (allowed: {proof.TOLERANCE:g}); no adapter was written."
        )
    return report


def _reader(folder: Path) -> dict[str, Callable[[], torch.Tensor]]:
    from llava_faba.vetting.weights import read_weights

    held = read_weights(folder / "adapter_model.safetensors")
    return {name: functools.partial(held.__getitem__, name) for name in held}
