"""``llava-faba checkpoint to-transformers``: an EmoLA checkpoint of LLaVA's home as a transformers folder."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from faba_bench.files.folders import check_new, new_folder

from llava_faba.conversion import card, conversations, measured, proof, settings, tokens
from llava_faba.conversion.names import EMBEDDINGS, to_native
from llava_faba.conversion.shards import Reader, write_shards
from llava_faba.conversion.source import Source, open_source
from llava_faba.errors import CheckpointError, UserError

ORIGINALS = "llava"  # the subfolder that keeps what only LLaVA's home reads, for the way back
_KEPT = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class Options:
    """``conversation``: LLaVA's name of the template; None takes the one that the checkpoint names, else LLaVA's
    ``llava_v1``. ``dtype``: of the written weights, None keeps the files' own. ``results``: files of ``faba-bench
    score`` for the model card; those of another model's answers are an error."""

    conversation: str | None = None
    dtype: str | None = None
    results: Sequence[Path] = ()


def to_transformers(
    model_path: str | Path, out: Path, *, model_base: str | None = None, options: Options | None = None
) -> proof.Report:
    """Convert a checkpoint into the new folder ``out``, prove it, and return what was proved.

    Nothing of ``out`` is there before the proof is. Weights pass through a shard at a time.
    Raises CheckpointError for a checkpoint that is incomplete, unsafe, or that the native model has no place for, and
    when the proof fails; UserError for a folder that is not empty and an unknown conversation.
    """
    options = options or Options()
    check_new(Path(out), error=UserError)
    source = open_source(model_path, model_base)
    settings.check_convertible(source)
    report = converted(source, out, options, measured.section(options.results, model_path, model_base))
    report.notes += source.notes
    return report


def converted(source: Source, out: Path, options: Options, said: str = measured.NOTHING) -> proof.Report:
    """``to_transformers`` of a source that was checked; ``said``: what the model card says was measured."""
    with new_folder(out, error=UserError) as folder:
        return _write(source, folder, options, said)


def _write(source: Source, folder: Path, options: Options, said: str) -> proof.Report:
    name = options.conversation or source.config.get("conversation_template") or conversations.DEFAULT
    conversation = conversations.conversation(name)
    slow, fast, placeholder, rows = _tokenizer(source, folder)
    report = proof.Report(tokens=proof.prove_tokens(fast, slow, placeholder, proof.corpus(conversation)))
    dtype = options.dtype or _main_type(source)
    native = settings.native_config(source, rows, placeholder, dtype)
    _write_json(folder / "config.json", native)
    _write_json(folder / "generation_config.json", _generation(source))
    _write_json(folder / "processor_config.json", settings.processor_config(source, native))
    (folder / "chat_template.jinja").write_text(conversation.jinja(), encoding="utf-8")
    wanted = getattr(torch, options.dtype) if options.dtype else None
    write_shards(_tensors(source, rows, wanted), folder)
    prompts = proof.examples(source, slow, conversation, functools.partial(pixels_of, source, native))
    proof.prove_logits(source, folder, native, prompts, report, wanted)
    (folder / "README.md").write_text(card.native_card(source, native, report, name, said), encoding="utf-8")
    return report


def _tensors(source: Source, rows: int, dtype: torch.dtype | None) -> Iterator[tuple[str, Reader]]:
    for name in source.tensors:
        native = to_native(name)
        assert native is not None  # open_source saw to it
        yield native, functools.partial(_tensor, source, name, rows, dtype)


def _tensor(source: Source, name: str, rows: int, dtype: torch.dtype | None) -> torch.Tensor:
    value = source.read(name, dtype)
    if name in EMBEDDINGS and len(value) < rows:
        value = torch.cat((value, value.new_zeros(rows - len(value), value.shape[1])))
    return value


def _tokenizer(source: Source, folder: Path) -> tuple[Any, Any, int, int]:
    """Write the fast tokenizer; returns (the slow one, the fast one, the placeholder's id, rows of embeddings)."""
    from llava_faba.vetting import tokenizer as vetted

    files = vetted.tokenizer_files(source.tokens, "llama")
    if vetted.MODEL not in files:
        raise CheckpointError(f"{source.tokens}: no {vetted.MODEL}; only SentencePiece tokenizers are converted.")
    said = files.get(vetted.SETTINGS, {})
    slow = slow_tokenizer(files)
    if tokens.IMAGE_TOKEN in slow.get_vocab():
        raise CheckpointError(f"{source.tokens}: its tokenizer has a token '{tokens.IMAGE_TOKEN}' of its own already.")
    model = tokens.sentencepiece_model(source.tokens)
    added = sorted((number, token) for token, number in slow.get_added_vocab().items() if number >= len(model.pieces))
    if [number for number, _ in added] != list(range(len(model.pieces), len(model.pieces) + len(added))):
        raise CheckpointError(f"{source.tokens}: the ids of its added tokens have gaps.")
    special = set(slow.all_special_tokens)
    more = [(token, token in special) for _, token in added]
    placeholder = len(model.pieces) + len(more)
    held = int(source.tensors["model.embed_tokens.weight"]().shape[0])
    if held < placeholder:
        raise CheckpointError(
            f"{source.checkpoint.folder}: its tokenizer has {placeholder} tokens, its embeddings have {held} rows."
        )
    legacy = said.get("legacy") is not False
    fast = tokens.fast_tokenizer(model, legacy=legacy, added=[*more, (tokens.IMAGE_TOKEN, True)])
    fast.save(str(folder / "tokenizer.json"))
    length = source.config.get("tokenizer_model_max_length") or said.get("model_max_length")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": slow.bos_token,
            "eos_token": slow.eos_token,
            "unk_token": slow.unk_token,
            "pad_token": slow.pad_token or slow.unk_token,
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            **({"model_max_length": int(length)} if length and length < 2**31 else {}),
            "extra_special_tokens": {"image_token": tokens.IMAGE_TOKEN},
            "processor_class": "EmolaProcessor",
        },
    )
    kept = folder / ORIGINALS
    kept.mkdir()
    for name in _KEPT:
        if (source.tokens / name).is_file():
            shutil.copyfile(source.tokens / name, kept / name)
    return slow, fast, placeholder, max(held, placeholder + 1)


def slow_tokenizer(files: dict[str, Any]) -> Any:
    """SentencePiece itself, as LLaVA's tools use it, from vetted files (see ``vetting/tokenizer.py``)."""
    import tempfile

    from transformers import LlamaTokenizer, PreTrainedTokenizer

    from llava_faba.vetting import tokenizer as vetted

    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            if isinstance(content, bytes):
                (Path(scratch) / name).write_bytes(content)
            else:
                _write_json(Path(scratch) / name, content)
        legacy = files.get(vetted.SETTINGS, {}).get("legacy") is not False
        if issubclass(LlamaTokenizer, PreTrainedTokenizer):
            return LlamaTokenizer.from_pretrained(scratch, legacy=legacy)
        from llava_faba.compat.slow_llama import slow_llama_tokenizer

        return slow_llama_tokenizer().from_pretrained(scratch, legacy=legacy)


def _generation(source: Source) -> dict[str, Any]:
    from llava_faba.vetting import side_files

    found = side_files.generation_config(source.tokens) or {}
    found.pop("_from_model_config", None)
    return {**settings.special_ids(source), **found}


def pixels_of(source: Source, native: dict[str, Any], picture: Any) -> torch.Tensor:
    """A picture (h, w, 3) as LLaVA preprocesses it; only what both sides of the proof are fed, not itself proved."""
    from llava_faba.conversion.pictures import preprocess

    return preprocess(
        picture, settings.preprocessor(source), native["image_aspect_ratio"], native["image_grid_pinpoints"]
    )


def _main_type(source: Source) -> str:
    return str(source.tensors["model.norm.weight"]().dtype).removeprefix("torch.")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
