"""``AutoTokenizer.from_pretrained(..., use_fast=False)``, as LLaVA asks for its tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llava_faba.errors import UserError

_LLAMA = ("LlamaTokenizer", "LlamaTokenizerFast")


def honour_use_fast(original: Callable[..., Any]) -> Callable[..., Any]:
    """transformers 5 has no slow LLaMA tokenizer ("always use fast tokenizers, ignore use_fast").

    What it gives instead reads a tokenizer with ``"legacy": true``, LLaVA-1.5's own, otherwise: "A chat" begins with
    ``A``, not with ``▁A``, so that the model is fed text that it was never trained on. Asked for a slow LLaMA
    tokenizer, this gives one that runs SentencePiece, as transformers 4.x did, with the same ids.
    """
    from transformers import LlamaTokenizer, PreTrainedTokenizer

    if issubclass(LlamaTokenizer, PreTrainedTokenizer):
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, name: Any, *args: Any, use_fast: bool = True, **kwargs: Any) -> Any:
        if not use_fast:
            settings = _tokenizer_config(name, kwargs)
            if settings.get("tokenizer_class") in _LLAMA:
                return _slow_llama(name, settings, *args, **kwargs)
        return original(cls, name, *args, use_fast=use_fast, **kwargs)

    return from_pretrained


def _tokenizer_config(name: Any, options: dict[str, Any]) -> dict[str, Any]:
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    where = ("cache_dir", "revision", "token", "subfolder", "local_files_only")
    settings: dict[str, Any] = get_tokenizer_config(name, **{key: options[key] for key in where if key in options})
    return settings


def _slow_llama(name: Any, settings: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    from transformers.utils import cached_file

    from llava_faba.compat.slow_llama import slow_llama_tokenizer

    where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "subfolder") if key in kwargs}
    if cached_file(name, "tokenizer.model", _raise_exceptions_for_missing_entries=False, **where) is None:
        raise UserError(
            f"{name} has no tokenizer.model, without which its LLaMA tokens cannot be made as LLaVA was trained on "
            "them; copy the file from the base model."
        )
    kwargs.setdefault("legacy", settings.get("legacy") is not False)
    return slow_llama_tokenizer().from_pretrained(name, *args, **kwargs)
