"""Answers of very different lengths: a finished one makes room for the next, and each stays what it is alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_faba.inference.answering import Answerer
from llava_faba.inference.settings import GenerateSettings
from llava_faba.inference.streaming import Stream, can_stream

LIMIT = 60
CAPACITY = 4


@pytest.fixture(scope="module")
def answerer(bench: Any) -> Answerer:
    """The tiny model, made to end its answers sooner or later."""
    made = Answerer(str(bench.model), None, bench.images, GenerateSettings(max_new_tokens=LIMIT, batch_size=CAPACITY))
    made.streams = True
    head = made.model.get_output_embeddings().weight
    with torch.no_grad():
        head[made.loaded[0].eos_token_id] *= 2.0
    return made


@pytest.fixture(scope="module")
def alone(answerer: Answerer, bench: Any) -> dict[str, Any]:
    return {one["question_id"]: answerer.decode(answerer.prepare([one]))[0][0] for one in bench.questions}


def batches(questions: list[Any]) -> Any:
    return iter([questions[start : start + CAPACITY] for start in range(0, len(questions), CAPACITY)])


def test_every_answer_is_the_one_given_alone(answerer: Answerer, bench: Any, alone: dict[str, Any]) -> None:
    assert can_stream(answerer.model)
    results = list(answerer.answer_all(batches(bench.questions)))
    assert sorted(result.question_id for result in results) == sorted(alone)
    for result in results:
        answer = alone[result.question_id]
        assert (list(result.token_ids), result.text) == (answer.token_ids, answer.text)
        assert result.is_cut == answer.is_cut and result.prior_status == "found"
    lengths = sorted(len(answer.token_ids) for answer in alone.values())
    assert lengths[0] < LIMIT / 3 and lengths[-1] == LIMIT, f"lengths that do not vary: {lengths}"


def test_rows_that_have_ended_are_not_computed_on(
    answerer: Answerer, bench: Any, alone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    step = Stream._step
    monkeypatch.setattr(Stream, "_step", lambda self: (computed.append(len(self.rows)), step(self))[1])
    list(answerer.answer_all(batches(bench.questions)))
    needed = sum(len(answer.token_ids) - 1 for answer in alone.values())  # the first comes with the prompt
    static = sum(
        CAPACITY * max(len(alone[one["question_id"]].token_ids) for one in batch) for batch in batches(bench.questions)
    )
    assert needed == sum(computed) < static


def test_a_picture_that_cannot_be_read_fails_alone(answerer: Answerer, bench: Any, alone: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bench.images, tmp_path / "images"))
    bad = bench.questions[2]
    (folder / bad["image"]).write_bytes(b"no picture")
    answerer.folder, before = folder, answerer.folder
    try:
        results = {result.question_id: result for result in answerer.answer_all(batches(bench.questions))}
    finally:
        answerer.folder = before
    assert results.pop(bad["question_id"]).error
    assert all(list(one.token_ids) == alone[name].token_ids for name, one in results.items())
    assert len(results) == len(bench.questions) - 1


def test_an_error_while_decoding_costs_no_answer(
    answerer: Answerer, bench: Any, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory, say, in the twentieth step."""
    steps = []
    step = Stream._step

    def failing(self: Stream) -> None:
        steps.append(1)
        if len(steps) == 20:
            raise MemoryError
        step(self)

    monkeypatch.setattr(Stream, "_step", failing)
    results = {result.question_id: result for result in answerer.answer_all(batches(bench.questions))}
    assert len(results) == len(bench.questions)
    assert all(list(one.token_ids) == alone[name].token_ids for name, one in results.items())


def test_a_generation_config_that_does_more_than_argmax_is_left_to_generate(answerer: Answerer) -> None:
    told = answerer.model.generation_config
    told.repetition_penalty = 1.3
    try:
        assert not can_stream(answerer.model)
    finally:
        told.repetition_penalty = 1.0
    assert can_stream(answerer.model)
