"""A tokenizer's files: SentencePiece's model for LLaMA, LLaVA's only slow one; JSON for the others.

A LLaMA whose tokens never were SentencePiece's (LLaMA 3, SmolLM2) names ``PreTrainedTokenizerFast`` and has JSON too.

Classes by name, templates, paths to other files and pickled tokenizers are not handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faba_bench.files.paths import regular_file

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import (
    Check,
    Table,
    checked,
    dict_of,
    dropped,
    either,
    flag,
    list_of,
    number,
    one_of,
    optional,
    read,
    shown,
    table_of,
    text,
    whole,
)

MODEL, SETTINGS, FAST = "tokenizer.model", "tokenizer_config.json", "tokenizer.json"
SPECIAL, ADDED = "special_tokens_map.json", "added_tokens.json"
MODEL_LIMIT = 64 << 20
_BPE_CLASS = "PreTrainedTokenizerFast"
_LLAMA_CLASSES = ("LlamaTokenizer", "LlamaTokenizerFast", _BPE_CLASS)
_MPT_CLASSES = ("GPTNeoXTokenizer", "GPTNeoXTokenizerFast")
_ID_LIMIT = 1 << 22
_TOKEN = table_of(
    {
        "__type": one_of("AddedToken"),
        "content": text(),
        "lstrip": flag,
        "normalized": flag,
        "rstrip": flag,
        "single_word": flag,
        "special": flag,
    },
    "content",
)
_SPECIAL = optional(either(text(), _TOKEN))


def _id_text(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,7}", value) or int(value) > _ID_LIMIT:
        raise ValueError(f"a token's number up to {_ID_LIMIT}")
    return value


_NAMES: dict[str, Check] = dict.fromkeys(
    ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"), _SPECIAL
)
_SPECIAL_TABLE: Table = {
    **_NAMES,
    "additional_special_tokens": list_of(either(text(), _TOKEN), most=1000),
}
_SETTINGS: dict[str, Check] = {
    **_SPECIAL_TABLE,
    "add_bos_token": flag,
    "add_eos_token": flag,
    "add_prefix_space": optional(flag),
    "added_tokens_decoder": dict_of(_id_text, _TOKEN, most=100_000),
    "clean_up_tokenization_spaces": flag,
    "errors": one_of("replace", "strict", "ignore"),
    "legacy": optional(flag),
    "model_max_length": optional(number(1, 1e31)),
    "padding_side": one_of("left", "right"),
    "sp_model_kwargs": optional(table_of({})),
    "spaces_between_special_tokens": flag,
    "split_special_tokens": flag,
    "tokenizer_class": optional(text(60)),
    "truncation_side": one_of("left", "right"),
    "use_default_system_prompt": flag,
    # Known, and of no use to LLaVA, which writes its conversations itself; paths; what a newer release notes.
    **dict.fromkeys(
        (
            "backend", "chat_template", "extra_special_tokens", "is_local", "local_files_only", "model_input_names",
            "model_specific_special_tokens", "name_or_path", "processor_class", "slow_tokenizer_class",
            "special_tokens_map_file",
            "special_tokens_pattern", "tokenizer_file", "vocab_file", "device_map", "torch_dtype", "trust_remote_code",
            "from_slow", "init_inputs", "max_length", "stride", "truncation_strategy", "use_fast", "add_special_tokens",
            "cache_dir", "_commit_hash", "truncation", "pad_to_multiple_of",
        ),
        dropped,
    ),
}  # fmt: skip
_PATTERN_LIMIT = 1000
# A quantifier behind a group that ends in one: ((a+)+, (a*)*, ...): takes exponential time on the right text.
_NESTED = re.compile(r"[*+}]\)[*+{]")


def tokenizer_files(folder: Path, kind: str) -> dict[str, Any]:
    """The tokenizer's files of a model of the family ``kind`` ("llama", "mistral" or "mpt"), to be written anew.

    Returns JSON values by file name, and for SentencePiece's model its bytes; empty where the folder has no tokenizer.
    Raises CheckpointError for a file that is broken or asks for a tokenizer of another class.
    """
    files: dict[str, Any] = {}
    if (folder / SETTINGS).is_file():
        settings = checked(read(folder / SETTINGS), _SETTINGS, folder / SETTINGS)
        settings["tokenizer_class"] = _class_of(settings.get("tokenizer_class"), kind, folder / SETTINGS)
        files[SETTINGS] = settings
    if (folder / SPECIAL).is_file():
        files[SPECIAL] = checked(read(folder / SPECIAL), _SPECIAL_TABLE, folder / SPECIAL)
    if (folder / ADDED).is_file():
        numbers = dict_of(text(), whole(0, _ID_LIMIT), most=100_000)
        try:
            files[ADDED] = numbers(read(folder / ADDED))
        except ValueError as error:
            raise CheckpointError(f"{folder / ADDED}: must be {error}.") from None
    bpe = kind == "llama" and files.get(SETTINGS, {}).get("tokenizer_class") == _BPE_CLASS
    if bpe and (folder / MODEL).exists():
        raise CheckpointError(
            f"{folder}: {SETTINGS} says that tokens are made by {FAST}, but {MODEL} is there as well; remove the one "
            "that the model was not trained with."
        )
    if (folder / MODEL).exists():
        files[MODEL] = _sentencepiece(folder / MODEL)
    if bpe and not (folder / FAST).is_file():
        raise CheckpointError(f"{folder}: {FAST} is missing, by which {SETTINGS} says its tokens are made.")
    if (kind != "llama" or bpe) and (folder / FAST).is_file():
        files[FAST] = _fast(read(folder / FAST), folder / FAST)
    if kind == "llama" and not bpe and files and MODEL not in files:
        raise CheckpointError(
            f"{folder}: {MODEL} is missing, without which its LLaMA tokens cannot be made as LLaVA was trained on "
            "them; copy the file from the base model."
        )
    return files


def tokens_in(files: Mapping[str, Any]) -> int | None:
    """How many tokens there are with the added ones; None without SentencePiece's model or a vocabulary in JSON."""
    if MODEL not in files:
        return _highest_token(files[FAST]) if FAST in files else None
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=files[MODEL])
    pieces = {processor.id_to_piece(index) for index in range(processor.get_piece_size())}
    settings = files.get(SETTINGS, {})
    added = {token["content"] for token in settings.get("added_tokens_decoder", {}).values()}
    added |= set(files.get(ADDED, {}))
    for source in (settings, files.get(SPECIAL, {})):
        named = [source.get(name) for name in _NAMES] + list(source.get("additional_special_tokens") or ())
        added |= {token["content"] if isinstance(token, dict) else token for token in named if token}
    return len(pieces) + len(added - pieces)


def _highest_token(fast: Any) -> int | None:
    """One more than the highest number that tokenizer.json gives a token; None for a form that is not known."""
    vocabulary, added = fast["model"].get("vocab"), fast.get("added_tokens") or []
    if not isinstance(vocabulary, dict) or not isinstance(added, list):
        return None
    numbers = [*vocabulary.values(), *(token.get("id") for token in added if isinstance(token, dict))]
    known = [number for number in numbers if isinstance(number, int)]
    return 1 + max(known, default=-1)


def _class_of(name: str | None, kind: str, where: Path) -> str:
    allowed = _MPT_CLASSES if kind == "mpt" else _LLAMA_CLASSES
    if name is None:
        return allowed[0] if kind != "mpt" else allowed[1]
    if name not in allowed:
        raise CheckpointError(f"{where}: tokenizer_class {shown(name)} is none of {', '.join(allowed)}.")
    return name


def _sentencepiece(path: Path) -> bytes:
    import sentencepiece

    regular_file(path, limit=MODEL_LIMIT, error=CheckpointError)
    data = path.read_bytes()
    try:
        size = sentencepiece.SentencePieceProcessor(model_proto=data).get_piece_size() if data else 0
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a readable SentencePiece model ({str(error).splitlines()[0][:200]}); copy it from the base "
            "model."
        ) from error
    if not 0 < size <= _ID_LIMIT:
        raise CheckpointError(f"{path}: a SentencePiece model of {size} tokens; copy it again from the base model.")
    return data


def _fast(values: Any, where: Path) -> Any:
    """tokenizer.json: data for the tokenizers library, which runs no code, but does match regular expressions."""
    if not isinstance(values.get("model"), dict):
        raise CheckpointError(f"{where}: holds no tokenizer; copy it again from the base model.")
    waiting: list[Any] = [values.get(part) for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            pattern = item.get("Regex")
            if pattern is not None and (
                not isinstance(pattern, str) or len(pattern) > _PATTERN_LIMIT or _NESTED.search(pattern)
            ):
                raise CheckpointError(f"{where}: a regular expression that may take for ever: {shown(pattern)}.")
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return values
