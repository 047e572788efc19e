"""Batches of answers: equal to answers one at a time, and one bad sample spoils no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

import llava_faba
from llava_faba.errors import CheckpointError, PriorError, UserError
from llava_faba.inference.answering import Answerer, Result, check_store
from llava_faba.inference.settings import GenerateSettings
from llava_faba.inference.streaming import Stream
from llava_faba.inference.workers import batches_by_length

TOKENS = 40


@pytest.fixture(scope="module")
def answerer(bench: Any) -> Answerer:
    return Answerer(str(bench.model), None, bench.images, GenerateSettings(max_new_tokens=TOKENS))


def answers(answerer: Answerer, questions: list[dict[str, Any]], size: int) -> dict[str, Result]:
    return {result.question_id: result for result in answerer.answer_all(iter(batches_by_length(questions, size)))}


@pytest.fixture(scope="module")
def alone(answerer: Answerer, bench: Any) -> dict[str, Result]:
    return answers(answerer, bench.questions, 1)


def test_the_pictures_matter(alone):
    assert len({result.text for result in alone.values()}) > len(alone) // 2
    assert all(result.error is None and result.token_ids for result in alone.values())


@pytest.mark.parametrize("size", [4, 16])
def test_batches_give_the_texts_of_single_questions(answerer, bench, alone, size):
    assert answers(answerer, bench.questions, size) == alone


def test_single_questions_give_what_predict_gives(answerer, bench, alone):
    question = bench.questions[1]
    found = llava_faba.predict(
        answerer.loaded, bench.images / question["image"], question["text"], max_new_tokens=TOKENS
    )
    assert found.status == "found" and found.text == alone[question["question_id"]].text


def test_questions_of_one_batch_are_of_different_lengths(bench):
    assert len({len(question["text"]) for question in batches_by_length(bench.questions, 16)[0]}) > 1
    lengths = [len(question["text"]) for batch in batches_by_length(bench.questions, 4) for question in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_the_config_keeps_its_padding_side(answerer, alone):
    assert answerer.model.config.tokenizer_padding_side == "right"


def test_token_ids_end_with_the_end_and_hold_no_padding(answerer, alone):
    tokenizer = answerer.loaded[0]
    for result in alone.values():
        assert len(result.token_ids) == TOKENS or result.token_ids[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in result.token_ids[:-1]
        assert tokenizer.decode(result.token_ids, skip_special_tokens=True).strip() == result.text


def test_an_unreadable_image_fails_alone(answerer, bench, alone):
    broken = bench.images / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = bench.questions[:3]
    bad = [
        {"question_id": "bad", "image": "broken.jpg", "text": good[0]["text"]},
        {"question_id": "gone", "image": "no/such.jpg", "text": good[0]["text"]},
    ]
    found = answers(answerer, [*bad, *good], 16)
    assert "not a readable image" in found["bad"].error and "does not exist" in found["gone"].error
    assert found["bad"].text == "" and [found[q["question_id"]] for q in good] == [
        alone[q["question_id"]] for q in good
    ]


def test_too_little_memory_for_a_batch_is_not_too_little_for_one(answerer, bench, alone, monkeypatch):
    decode = answerer.decode

    def limited(prepared: Any, **options: Any) -> Any:
        if len(prepared.questions) > 1:
            raise RuntimeError("out of memory")
        return decode(prepared, **options)

    forward = Stream._forward

    def limited_stream(self: Stream, cache: Any, mask: Any, *more: Any, **inputs: Any) -> Any:
        if len(mask) > 1:
            raise RuntimeError("out of memory")
        return forward(self, cache, mask, *more, **inputs)

    monkeypatch.setattr(answerer, "decode", limited)
    monkeypatch.setattr(Stream, "_forward", limited_stream)
    found = answers(answerer, bench.questions[:3], 16)
    assert found == {name: alone[name] for name in found} and len(found) == 3


def test_an_error_of_one_question_is_told_with_its_kind(answerer, bench, monkeypatch):
    def broken(*arguments: Any, **options: Any) -> Any:
        raise IndexError("list index out of range")

    monkeypatch.setattr(answerer, "decode", broken)
    monkeypatch.setattr(Stream, "_forward", broken)
    found = answers(answerer, bench.questions[:2], 2)
    assert {result.error for result in found.values()} == {"IndexError: list index out of range"}


def test_stored_priors_are_used(bench, alone):
    from llava_faba.priors.extract import extract
    from llava_faba.priors.store import PriorStore

    names = [question["image"] for question in bench.questions[:4]]
    for name in names:  # other faces' priors under these names
        Image.open(bench.images / name).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(bench.root / name)
    extract(names, bench.root, bench.root / "store", expert="dlib-68")
    settings = GenerateSettings(max_new_tokens=TOKENS, store=str(bench.root / "store"))
    found = answers(Answerer(str(bench.model), None, bench.images, settings), bench.questions[:5], 4)
    assert any(found[q["question_id"]].text != alone[q["question_id"]].text for q in bench.questions[:4])
    assert "has no prior for image" in found["q04"].error
    assert not np.array_equal(PriorStore.open(bench.root / "store").get(names[0]), np.zeros(136))


def test_a_store_of_another_expert_is_refused(bench):
    from types import SimpleNamespace

    from llava_faba.priors.extract import extract
    from llava_faba.priors.store import PriorStore

    extract([bench.questions[0]["image"]], bench.images, bench.root / "other", expert="dlib-68")
    store = PriorStore.open(bench.root / "other")
    with pytest.raises(PriorError, match="136 numbers, but the model was trained on 212"):
        check_store(store, SimpleNamespace(landmark_feature_hidden_size=212))
    with pytest.raises(PriorError, match="'dlib-68', but the model was trained on priors of 'emola-106'"):
        check_store(store, SimpleNamespace(landmark_feature_hidden_size=136))
    check_store(store, SimpleNamespace(landmark_feature_hidden_size=136, facial_prior_expert="precomputed"))


def test_a_store_made_with_other_settings_or_by_another_version_is_refused(tmp_path):
    """As training does, naming both; the path of weights that have a checksum is no difference, the checksum is."""
    from types import SimpleNamespace

    from llava_faba.errors import UserError
    from llava_faba.priors.store import PriorStore
    from llava_faba.priors.writer import PriorStoreWriter

    made = {"upsample": 1, "weights": "/a/x", "weights_sha256": "1" * 64}
    with PriorStoreWriter(tmp_path / "store", expert="dlib-68", version="2", settings=made, size=136):
        pass
    store = PriorStore.open(tmp_path / "store")

    def check(version="2", **settings):
        known = {**made, **settings}
        config = {"landmark_feature_hidden_size": 136, "facial_prior_expert": "dlib-68"}
        config |= {"facial_prior_expert_version": version, "facial_prior_expert_settings": known}
        check_store(store, SimpleNamespace(**config))

    check(weights="/b/x")
    check(version=None)
    for wrong, told in (
        ({"upsample": 2}, ("upsample=2", "upsample=1")),
        ({"weights_sha256": "2" * 64}, ("1" * 64, "2" * 64)),
        ({"version": "1"}, ("version 1", "version 2")),
    ):
        with pytest.raises(UserError) as caught:
            check(**wrong)
        assert all(part in str(caught.value) for part in (*told, str(store.path)))


def test_half_precision(bench):
    for dtype in ("float16", "bfloat16"):
        settings = GenerateSettings(max_new_tokens=4, dtype=dtype)
        found = answers(Answerer(str(bench.model), None, bench.images, settings), bench.questions[:2], 2)
        assert all(result.error is None and len(result.token_ids) > 0 for result in found.values())


def test_more_workers_than_gpus_is_said(bench):
    with pytest.raises(UserError, match="worker 1 needs a GPU of its own"):
        Answerer(str(bench.model), None, bench.images, GenerateSettings(device="cuda"))


def test_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        Answerer(str(tmp_path / "nothing"), None, tmp_path, GenerateSettings())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"dtype": "float23"}, "Did you mean 'float32'"),
        ({"device": "gpu"}, "device must be one of cpu, cuda"),
    ],
)
def test_settings_that_cannot_be(values, told):
    with pytest.raises(UserError, match=told):
        GenerateSettings(**values)
