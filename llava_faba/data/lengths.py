"""Whether a record fits into ``--model_max_length`` as the model counts: text, picture and prior.

LLaVA cuts the text, in which a picture is one token, and the model cuts again behind the picture's patches and the
prior's token. What is cut off is the end: the answer, or its last token, from which a model learns to stop.

Counting with a tokenizer takes a millisecond a record. So a record is counted only where two bounds leave it open: one
token a letter, and the tokens of its words one by one, which are few and kept.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faba_bench.files.terminal import printable
from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX

from llava_faba.data.records import Problem

_NO_LIMIT = 1 << 30
_FIRST = 8  # records that are counted whatever their length: what is wrong with a template is wrong with all
_ENOUGH = 1000  # records with problems, after which the others are counted no more
_WORDS = 1_000_000  # whose tokens are kept
_SLACK = 4  # tokens that a turn may have more than its words: marks of words, of pictures


@dataclass(frozen=True)
class Length:
    """``tokens`` that the model sees: text, picture, prior; ``answer`` tokens, of which ``kept`` are not cut off."""

    tokens: int
    answer: int
    kept: int


class LengthCounter:
    """Counts records of a ``FabaDataset`` as a model with ``picture`` positions for an image (and its prior) does.

    ``limit``: positions that the model takes.
    """

    def __init__(self, tokenizer: Any, data_args: Any, picture: int) -> None:
        self.limit = int(tokenizer.model_max_length)
        self._tokenizer, self._data_args, self._picture = tokenizer, data_args, picture
        self._words: dict[str, int] = {}
        self._overheads: dict[tuple[int, bool], int] = {}
        self._marks = _marks()

    def length(self, record: Mapping[str, Any]) -> Length:
        """Exactly, by LLaVA's own code. Raises ValueError where that cannot take the record."""
        ids, labels = self._preprocessed(record)
        taught = [label != IGNORE_INDEX for label in labels]
        wide: list[bool] = []
        for token, learnt in zip(ids, taught, strict=True):
            wide += [False] * self._picture if token == IMAGE_TOKEN_INDEX else [learnt]
        return Length(len(wide), sum(taught), sum(wide[: self.limit]))

    def is_surely_short(self, record: Mapping[str, Any]) -> bool:
        """True only where no count is needed: it fits, and holds nothing that LLaVA takes for a template's part."""
        texts = [turn["value"] for turn in record["conversations"]]
        has_image = "image" in record
        if any(mark in text for text in texts for mark in self._marks):
            return False
        room = self.limit - self._overhead(len(texts), has_image) - _SLACK * len(texts)
        if all(text.isascii() for text in texts) and sum(map(len, texts)) <= room:
            return True
        return sum(map(self._words_in, texts)) <= room

    def _words_in(self, text: str) -> int:
        total = 0
        for word in text.split(" "):  # no token reaches from one word into the next
            known = self._words.get(word)
            if known is None:
                if len(self._words) > _WORDS:
                    self._words.clear()
                known = self._words[word] = max(1, len(self._tokenizer.tokenize(word)))
            total += known
        return total

    def _overhead(self, turns: int, has_image: bool) -> int:
        """Positions of a conversation whose turns say next to nothing."""
        key = (turns, has_image)
        if key not in self._overheads:
            said = [{"from": ("human", "gpt")[place % 2], "value": "a"} for place in range(turns)]
            record: dict[str, Any] = {"conversations": said}
            if has_image:
                said[0]["value"] = "<image>\na"
                record["image"] = ""
            try:
                self._overheads[key] = self.length(record).tokens
            except ValueError:  # the template does not take it, as the record's own count will tell
                self._overheads[key] = self.limit + 1
        return self._overheads[key]

    def _preprocessed(self, record: Mapping[str, Any]) -> tuple[list[int], list[int]]:
        from llava.train import train as upstream

        sources = copy.deepcopy([record["conversations"]])
        has_image = "image" in record
        with _unlimited(self._tokenizer), contextlib.redirect_stdout(io.StringIO()):
            try:
                if has_image:
                    sources = upstream.preprocess_multimodal(sources, self._data_args)
                made = upstream.preprocess(sources, self._tokenizer, has_image=has_image)
            except (AssertionError, IndexError) as error:
                raise ValueError(
                    f"the conversation template of --version does not take {len(record['conversations'])} turns "
                    f"{'with' if has_image else 'without'} an image"
                ) from error
        return made["input_ids"][0].tolist(), made["labels"][0].tolist()


def length_problems(
    records: Sequence[Mapping[str, Any]], counter: LengthCounter, *, all_of_them: bool
) -> list[Problem]:
    """The records whose answers are cut, gone, or nowhere found by the template; positions are those in ``records``.

    ``all_of_them``: False stops after a thousand.
    """
    problems = []
    for position, record in enumerate(records):
        if position >= _FIRST and counter.is_surely_short(record):
            continue
        message = _problem(record, counter)
        if message is not None:
            name = printable(str(record.get("id", record.get("image", "no id"))))[:200]
            problems.append(Problem(position, name, message))
            if len(problems) == _ENOUGH and not all_of_them:
                break
    return problems


def _problem(record: Mapping[str, Any], counter: LengthCounter) -> str | None:
    try:
        found = counter.length(record)
    except ValueError as error:
        return str(error)
    if found.answer == 0:
        return (
            "nothing to learn, every token is masked (LLaVA's 'tokenization mismatch'): the conversation template does "
            "not find the answers in this text; look for an end token or a template's separator in it, and check "
            "--version"
        )
    if found.kept == found.answer:
        return None
    seen = "text, picture and prior" if "image" in record else "text"
    end = "its answer is gone" if found.kept == 0 else "its answer is cut"
    return (
        f"{found.tokens} tokens ({seen}) are more than --model_max_length {counter.limit}: {end}, {found.kept} of "
        f"{found.answer} tokens are left"
    )


def picture_positions(model: Any) -> int:
    """Positions of one image in a model's input: the patches of one picture, and its prior's tokens."""
    from llava_faba.model.config import has_prior
    from llava_faba.vetting.prior_tokens import token_count

    tower = model.get_vision_tower()
    whole = getattr(model.config, "mm_vision_select_feature", "patch") == "cls_patch"
    prior = token_count(vars(model.config)) if has_prior(model.config) else 0
    return int(tower.num_patches) + int(whole) + prior


def _marks() -> list[str]:
    """What a text must not hold without being counted: separators that LLaVA splits a conversation at."""
    from llava import conversation

    template = conversation.default_conversation
    roles = [role.strip() for role in template.roles]
    named = [template.sep2, template.sep.strip(), *(f"{role}:" for role in roles), *roles]
    return sorted({mark for mark in named if mark and mark.strip() and len(mark) > 1} | {"[/INST]"})


@contextlib.contextmanager
def _unlimited(tokenizer: Any) -> Iterator[None]:
    before = tokenizer.model_max_length
    tokenizer.model_max_length = _NO_LIMIT
    try:
        yield
    finally:
        tokenizer.model_max_length = before
