"""Which records fit into --model_max_length: the quick bounds never pass one that LLaVA's own code cuts."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llava_faba.data.lengths import LengthCounter, length_problems

PICTURE = 17  # 16 patches and the prior
WORDS = (
    *(
        "AU4:",
        "the",
        "brows",
        "are",
        "drawn",
        "together.",
        "  ",
        "face?\nThe",
        "\n\n",
        "Lips",
        "25",
        "ﬁne",
        "眉毛",
        "é",
    ),
    *("😀", "\u2028", "hyper-ventilated", "x" * 30, "ﷺ"),
)


@pytest.fixture
def counter(golden: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> LengthCounter:
    from llava import conversation
    from transformers import AutoTokenizer

    name = getattr(request, "param", "v1")
    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates[name])
    tokenizer = AutoTokenizer.from_pretrained(str(golden / "base"), use_fast=False, model_max_length=120)
    tokenizer.pad_token = tokenizer.unk_token
    return LengthCounter(tokenizer, SimpleNamespace(is_multimodal=True, mm_use_im_start_end=False), PICTURE)


def record(*texts: str, image: bool = True) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
    if image:
        turns[0]["value"] += "\n<image>"
    return {"id": "r", "conversations": turns, **({"image": "a.png"} if image else {})}


@pytest.mark.parametrize("counter", ["v1", "llava_llama_2", "llava_v0", "plain"], indirect=True)
def test_what_is_passed_uncounted_is_not_cut(counter: LengthCounter, request: pytest.FixtureRequest) -> None:
    draw = random.Random(0)
    passed = counted = 0
    plain = request.node.callspec.params["counter"] == "plain"
    counter.limit = counter.length(record("a", "a")).tokens + 80
    for _ in range(300):
        turns = 2 if plain else draw.choice((2, 4))
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) for _ in range(turns)]
        one = record(*texts, image=plain or draw.random() < 0.7)
        length = counter.length(one)
        assert length.kept <= length.answer <= length.tokens
        if counter.is_surely_short(one):
            passed += 1
            assert length.tokens <= counter.limit and length.kept == length.answer
        else:
            counted += 1
    assert passed > 20 and counted > 20


def test_the_last_token_counts(counter: LengthCounter) -> None:
    """A cut end token is a cut answer: the model would not learn to stop."""
    one = record("What AUs?", "The brows are raised.")
    counter.limit = counter.length(one).tokens
    assert length_problems([one], counter, all_of_them=True) == []
    counter.limit -= 1
    (problem,) = length_problems([one], counter, all_of_them=True)
    assert f"{counter.limit + 1} tokens (text, picture and prior)" in problem.message and "is cut" in problem.message


def test_a_picture_counts_and_text_alone_does_not(counter: LengthCounter) -> None:
    texts = "What AUs?", "The brows are raised."
    with_image, without = counter.length(record(*texts)), counter.length(record(*texts, image=False))
    assert with_image.tokens >= without.tokens + PICTURE and with_image.answer == without.answer


@pytest.mark.parametrize(
    ("texts", "image", "template"),
    [
        (("What?", "AU4</s>AU5"), True, "v1"),
        (("What?", "The ASSISTANT: AU4"), True, "v1"),
        (("What?", "AU4", "And?", "AU5"), True, "plain"),
        (("What?", "AU4"), False, "plain"),
    ],
)
def test_texts_that_the_template_cannot_take(
    counter: LengthCounter, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...], image: bool, template: str
) -> None:
    """Met in mid-training before: an AssertionError, or a record of which nothing is learnt."""
    from llava import conversation

    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates[template])
    good = record("What?", "AU4")
    fresh = LengthCounter(counter._tokenizer, counter._data_args, PICTURE)
    found = length_problems([good] * 10 + [record(*texts, image=image)], fresh, all_of_them=False)
    assert [problem.position for problem in found] == [10]
    assert "template" in found[0].message
