"""A LLaMA tokenizer on SentencePiece itself, for a transformers that no longer has one."""

from __future__ import annotations

import functools
import itertools
from typing import Any

_SPACE = "▁"


@functools.cache
def slow_llama_tokenizer() -> Any:
    """The class, named ``LlamaTokenizer`` so that what it saves loads with any transformers.

    transformers 5 keeps the slow machinery (``SentencePieceBackend``) but no LLaMA tokenizer on it. What LLaMA's adds:
    BOS and EOS, the word mark at the start of a text that is not ``legacy``, and decoding of byte tokens.
    """
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    class LlamaTokenizer(SentencePieceBackend):
        model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 - the attribute's form in transformers

        def __init__(self, add_bos_token: bool = True, add_eos_token: bool = False, **kwargs: Any) -> None:
            tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
            frame = "_".join(name for name, on in (("bos", add_bos_token), ("eos", add_eos_token)) if on) or "none"
            options = {**tokens, "clean_up_tokenization_spaces": False, **kwargs, "special_tokens_pattern": frame}
            super().__init__(add_bos_token=add_bos_token, add_eos_token=add_eos_token, **options)

        def tokenize(self, text: str, **kwargs: Any) -> list[str]:
            if self.legacy or not text:
                return list(super().tokenize(text, **kwargs))
            tokens = list(super().tokenize(_SPACE + text.replace(_SPACE, " "), **kwargs))
            # A text that begins with a special token has no word there.
            is_alone = tokens[:1] == [_SPACE] and tokens[1:2] and tokens[1] in self.all_special_tokens
            return tokens[1:] if is_alone else tokens

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            added = {token for token, number in self.added_tokens_encoder.items() if number >= self.vocab_size}
            stretches = (list(group) for _, group in itertools.groupby(tokens, lambda token: token in added and token))
            texts = (" ".join(one) if one[0] in added else self._stretch_to_string(one) for one in stretches)
            return " ".join(text for text in texts if text)

        def _stretch_to_string(self, tokens: list[str]) -> str:
            """The text of SentencePiece's own tokens; legacy puts a space before words that a special token ends."""
            special = set(self.all_special_tokens)
            tokens = [tokens[0].removeprefix(_SPACE), *tokens[1:]]
            text = ""
            while tokens:
                end = next((at for at, token in enumerate(tokens) if token in special), len(tokens))
                before_special = 0 < end < len(tokens)
                text += (" " if self.legacy and before_special else "") + self.sp_model.decode(tokens[:end])
                text += "".join(tokens[end : end + 1])
                tokens = tokens[end + 1 :]
            return text

    LlamaTokenizer.__qualname__ = "LlamaTokenizer"
    return LlamaTokenizer
