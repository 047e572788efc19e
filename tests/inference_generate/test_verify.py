"""What counts as the same answer: equal tokens, or another choice between two that were equally good."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from llava_faba.errors import UserError
from llava_faba.inference.answer import Answer, texts
from llava_faba.inference.verify import _spread, compare


def stored(*tokens: int) -> dict[str, Any]:
    return {"question_id": "a", "text": "x", "metadata": {"token_ids": list(tokens)}}


def logits(*rows: list[float]) -> list[torch.Tensor]:
    return [torch.tensor([row]) for row in rows]


def test_equal_tokens_are_equal():
    assert compare(stored(1, 2), Answer("x", [1, 2]), []) is None


def test_another_choice_between_equally_good_tokens_is_a_near_tie():
    found = compare(stored(1, 2, 0), Answer("other", [1, 0, 2]), logits([0, 9, 0], [5.00005, 0, 5.0], [0, 0, 9]))
    assert found is not None and found.near_tie
    assert (found.question_id, found.position, found.alone) == ("a", 1, "other")
    assert found.margin == pytest.approx(5e-5, rel=0.1)


def test_a_worse_choice_is_a_difference():
    found = compare(stored(2, 1), Answer("other", [0, 1]), logits([5.001, 0, 5.0], [0, 9, 0]))
    assert found is not None and not found.near_tie and found.margin == pytest.approx(1e-3, rel=0.1)


def test_a_tie_between_other_tokens_is_no_excuse():
    found = compare(stored(2), Answer("other", [0]), logits([5.0, 5.0, 1.0]))
    assert found is not None and not found.near_tie


def test_an_answer_that_stops_early_is_a_difference():
    found = compare(stored(1), Answer("other", [1, 1]), logits([0, 9], [0, 9]))
    assert found is not None and not found.near_tie


def test_answers_of_other_tools_cannot_be_compared():
    with pytest.raises(UserError, match="holds no token ids"):
        compare({"question_id": "a", "text": "x", "metadata": {}}, Answer("x", [1]), [])


def test_a_sample_is_spread_over_all_questions():
    questions = [{"question_id": index} for index in range(10)]
    assert [q["question_id"] for q in _spread(questions, 3)] == [0, 3, 6]
    assert _spread(questions, None) == questions == _spread(questions, 99) and _spread(questions, 0) == []


def test_a_changed_answer_is_found(bench, tmp_path):
    from llava_faba.inference.answering import Answerer
    from llava_faba.inference.settings import GenerateSettings
    from llava_faba.inference.verify import verify_answers

    path, settings = tmp_path / "a.jsonl", GenerateSettings(max_new_tokens=8)
    questions = bench.questions[:3]
    answerer = Answerer(str(bench.model), None, bench.images, settings)
    prompts = {str(question["question_id"]): question["text"] for question in questions}
    lines = [
        {
            "question_id": result.question_id,
            "prompt": prompts[result.question_id],
            "text": result.text,
            "metadata": {"token_ids": list(result.token_ids)},
        }
        for result in answerer.answer_all(iter([questions]))
    ]
    right = lines[1]["text"]
    lines[1]["metadata"]["token_ids"][2] += 1
    lines[1]["text"] = texts([lines[1]["metadata"]["token_ids"]], answerer.loaded[0])[0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = verify_answers(str(bench.model), questions, bench.images, path, settings)
    assert found.checked == 3 and not found.near_ties
    assert [(item.question_id, item.position) for item in found.different] == [("q01", 2)]
    assert found.different[0].margin > 1e-4 and found.different[0].alone == right
    report = json.loads((tmp_path / "a.jsonl.verified.json").read_text(encoding="utf-8"))
    assert report["different"][0]["question_id"] == "q01"
