"""The golden checkpoint in vLLM, offline: the authors' answers, and what may not go wrong in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def expected(golden: Path) -> tuple[Any, Any]:
    return np.load(golden / "expected.npz"), json.loads((golden / "expected.json").read_text())


def request(golden: Path, expected: Any, number: int, prior: Any = None, **more: Any) -> dict[str, Any]:
    prior = np.load(golden / f"data/lm/{number}.npy") if prior is None else prior
    return {
        "prompt": expected[1]["prompts"][number],
        "multi_modal_data": {"image": Image.open(golden / f"data/img/{number}.png").convert("RGB")},
        "mm_processor_kwargs": {"facial_priors": np.atleast_2d(prior).tolist(), **more},
    }


def answers(engine: Any, requests: list[Any], **settings: Any) -> list[Any]:
    from vllm import SamplingParams

    chosen = SamplingParams(temperature=0, **{"max_tokens": 40, **settings})
    return [output.outputs[0] for output in engine.generate(requests, chosen, use_tqdm=False)]


def test_eight_of_eight_greedy_answers(engine: Any, golden: Path, expected: Any) -> None:
    numbers, texts = expected
    found = answers(engine, [request(golden, expected, number) for number in range(8)])
    for number, answer in enumerate(found):
        assert list(answer.token_ids) == numbers[f"gen_{number}"].tolist()
        assert answer.text.strip() == texts["texts"][number]


def test_the_same_picture_with_another_prior_is_not_taken_from_the_cache(
    engine: Any, converted: Path, golden: Path, expected: Any
) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, processor = AutoModelForImageTextToText.from_pretrained(converted), AutoProcessor.from_pretrained(converted)
    right = np.load(golden / "data/lm/0.npy")
    first = {}
    for prior in (right, right + 1, np.zeros_like(right), right):
        asked = request(golden, expected, 0, prior)
        said = answers(engine, [asked], max_tokens=1, logprobs=1)[0].logprobs[0]
        inputs = processor(
            images=asked["multi_modal_data"]["image"], text=asked["prompt"], facial_priors=prior, return_tensors="pt"
        )
        with torch.no_grad():
            best = model(**inputs).logits[0, -1].log_softmax(-1)
        token = int(best.argmax())
        assert said[token].logprob == pytest.approx(float(best[token]), abs=1e-5)
        first.setdefault(round(said[token].logprob, 5), prior)
    assert len(first) == 3


def test_the_users_name_for_a_picture_does_not_hide_its_prior(engine: Any, golden: Path, expected: Any) -> None:
    named = {"multi_modal_uuids": {"image": ["mine"]}}
    right = np.load(golden / "data/lm/0.npy")
    said = [
        answers(engine, [request(golden, expected, 0, prior) | named], max_tokens=1, logprobs=1)[0].cumulative_logprob
        for prior in (right, right + 1)
    ]
    assert abs(said[0] - said[1]) > 1e-4


def test_the_placeholder_is_never_said(engine: Any, converted: Path, golden: Path, expected: Any) -> None:
    placeholder = json.loads((converted / "config.json").read_text())["image_token_index"]
    asked = request(golden, expected, 1)
    said = answers(engine, [asked], max_tokens=8, logit_bias={placeholder: 100.0}, ignore_eos=True)[0]
    assert placeholder not in said.token_ids


@pytest.mark.parametrize(
    ("prior", "more", "reason"),
    [
        (np.zeros(136), {}, "212"),
        (np.full(212, np.nan), {}, "not finite"),
        (np.zeros((2, 212)), {}, r"\(1, 212\)"),
        (None, {"facial_prior": [[0.0]]}, "not 'facial_prior'"),
        (None, {"no_face": "guess"}, "no_face is one of"),
    ],
)
def test_a_request_that_cannot_be_answered_rightly_is_refused_in_a_sentence(
    engine: Any, golden: Path, expected: Any, prior: Any, more: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        answers(engine, [request(golden, expected, 0, prior, **more)])
    assert len(str(caught.value)) < 400


def test_without_a_prior_the_expert_that_cannot_make_one_is_named(engine: Any, golden: Path, expected: Any) -> None:
    asked = request(golden, expected, 0)
    with pytest.raises(ValueError, match="emola-106"):
        answers(engine, [{**asked, "mm_processor_kwargs": {}}])


def test_given_priors_are_for_one_picture(engine: Any, golden: Path, expected: Any) -> None:
    asked = request(golden, expected, 0)
    image, prior = asked["multi_modal_data"]["image"], asked["mm_processor_kwargs"]["facial_priors"]
    asked["prompt"] = asked["prompt"].replace("<image>", "<image>\n<image>")
    for rows in (prior, prior * 2):
        both = {"multi_modal_data": {"image": [image, image]}, "mm_processor_kwargs": {"facial_priors": rows}}
        with pytest.raises(ValueError, match="this request has 2"):
            answers(engine, [{**asked, **both}])
    assert answers(engine, [request(golden, expected, 0)])[0].text  # it lives on
