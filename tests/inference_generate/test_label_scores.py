"""Scores per label: equal to a plain forward of each wording alone, in the answers file, and in its keys."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import faba_bench
import pytest
import torch
from faba_bench.protocol import load_protocol

from llava_faba.cli.main import main
from llava_faba.errors import UserError
from llava_faba.inference.answer import generate_batch, to_model
from llava_faba.inference.answering import Answerer
from llava_faba.inference.generate import generate_answers
from llava_faba.inference.label_scores import Asking, LabelQuestions, label_scores
from llava_faba.inference.settings import GenerateSettings

AU_TEXT, EMOTION_TEXT = faba_bench.questions.QUESTIONS["au"], faba_bench.questions.QUESTIONS["emotion"]


@pytest.fixture(scope="module")
def answerer(bench: Any) -> Answerer:
    return Answerer(str(bench.model), None, bench.images, GenerateSettings(max_new_tokens=4, label_scores="faba"))


def slowly(answerer: Answerer, question: dict[str, Any], asking: Asking) -> dict[str, float]:
    """Each wording by a forward of LLaVA's own, alone, its loss over the tokens behind the answer's beginning."""
    prepared = answerer.prepare([question])
    reader = answerer.reader(prepared)
    said = {}
    all_ids = {
        (label, text): reader.turn_ids(0, asking.question, text)
        for label, texts in asking.answers.items()
        for text in texts
    }
    start = next(i for i, column in enumerate(zip(*all_ids.values(), strict=False)) if len(set(column)) > 1)
    for (label, _), ids in all_ids.items():
        begun = [other for (of, _), other in all_ids.items() if of == label and other != ids]
        if any(ids[: len(other)] == other for other in begun):
            continue  # already counted in the shorter wording
        labels = torch.tensor([ids])
        labels[:, :start] = -100
        with torch.no_grad():
            found = answerer.model(
                input_ids=torch.tensor([ids]),
                labels=labels,
                images=to_model(prepared.images, answerer.model),
                image_sizes=prepared.sizes,
                facial_priors=prepared.priors,
            )
        said[label] = said.get(label, 0.0) + math.exp(-float(found.loss) * (len(ids) - start))
    return {label: value / sum(said.values()) for label, value in said.items()}


@pytest.mark.parametrize("rows_at_once", [1, 3, 64])
def test_emotions_are_those_of_each_wording_alone(answerer: Answerer, bench: Any, rows_at_once: int) -> None:
    questions = [{**question, "text": EMOTION_TEXT} for question in bench.questions[:3]]
    asked = LabelQuestions("faba").of(EMOTION_TEXT)
    found = label_scores(answerer.reader(answerer.prepare(questions)), [asked] * 3, rows_at_once)
    for question, scores in zip(questions, found, strict=True):
        assert scores == pytest.approx(slowly(answerer, question, asked[0]), rel=2e-4)
        assert list(scores) == list(load_protocol("faba").emotion.classes) and sum(scores.values()) == pytest.approx(
            1, abs=1e-4
        )
    assert found[0] != found[1]


def test_aus_are_yes_against_no_of_a_question_each(answerer: Answerer, bench: Any) -> None:
    asked = LabelQuestions("faba").of(AU_TEXT)
    scores = label_scores(answerer.reader(answerer.prepare(bench.questions[:1])), [asked], 16)[0]
    assert [one.label for one in asked] == list(scores) and len(scores) == 20
    for asking in asked[:4]:
        assert scores[str(asking.label)] == pytest.approx(slowly(answerer, bench.questions[0], asking)["yes"], rel=2e-4)


class _Table:
    """A model whose next token is drawn by a table, whatever came before."""

    def __init__(self, words: dict[str, list[int]], chances: list[float]) -> None:
        self._words, self._chances = words, chances

    def turn_ids(self, picture: int, question: str, answer: str) -> list[int]:
        return [0, *self._words[answer]]

    def last_logits(self, pictures: Any, rows: Any, keep: int) -> torch.Tensor:
        return torch.tensor(self._chances).log().expand(len(rows), keep, -1)


def test_a_wording_that_goes_on_as_another_is_counted_once() -> None:
    chances = [0.0, 0.5, 0.3, 0.2]
    table = _Table({"a": [1], "a b": [1, 2], "c": [3]}, chances)
    same = label_scores(table, [[Asking("q", {"X": ("a", "a b"), "Y": ("c",)})]], 8)[0]
    assert same == pytest.approx({"X": 0.5 / 0.7, "Y": 0.2 / 0.7}, rel=1e-5)
    other = label_scores(table, [[Asking("q", {"X": ("a",), "Y": ("a b", "c")})]], 8)[0]
    assert other == pytest.approx({"X": 0.35 / 0.7, "Y": 0.35 / 0.7}, rel=1e-5)


def test_numbers_that_are_none_and_wordings_of_the_same_tokens_are_told() -> None:
    with pytest.raises(UserError, match="not finite"):
        label_scores(_Table({"a": [1], "b": [2]}, [math.nan] * 3), [[Asking("q", {"X": ("a",), "Y": ("b",)})]], 8)
    with pytest.raises(UserError, match="the same tokens"):
        label_scores(_Table({"a": [1], "b": [1]}, [0.5, 0.5]), [[Asking("q", {"X": ("a",), "Y": ("b",)})]], 8)


def _questions(bench: Any) -> list[dict[str, Any]]:
    return [question for question in bench.questions if question["text"] in (AU_TEXT, EMOTION_TEXT)][:5]


def test_the_answers_file_has_them_and_goes_on(bench: Any, tmp_path: Path) -> None:
    questions, out = _questions(bench), tmp_path / "answers.jsonl"
    settings = GenerateSettings(max_new_tokens=4, batch_size=2, label_scores="faba")
    generate_answers(str(bench.model), questions, bench.images, out, settings)
    whole = out.read_text()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [set(line["scores"]) == {"Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear"}
            for line in lines] == [question["text"] == EMOTION_TEXT for question in questions]  # fmt: skip
    out.write_text("".join(line + "\n" for line in whole.splitlines()[:2]) + whole.splitlines()[2][:30])
    again = generate_answers(str(bench.model), questions, bench.images, out, settings)
    assert (again.before, again.answered) == (2, 3)
    for line, other in zip(map(json.loads, out.read_text().splitlines()), lines, strict=True):
        assert line.pop("scores") == pytest.approx(other.pop("scores"), rel=1e-4) and line == other

    with pytest.raises(UserError, match="another model, prompt, setting"):
        generate_answers(str(bench.model), questions, bench.images, out, GenerateSettings(max_new_tokens=4))


def test_the_scorer_measures_them(bench: Any, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    questions = [{**question, "text": EMOTION_TEXT} for question in bench.questions[:6]]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    out = tmp_path / "answers.jsonl"
    arguments = ["--model-path", bench.model, "--question-file", tmp_path / "q.jsonl", "--image-folder", bench.images]
    more = ["--out", out, "--max-new-tokens", 2, "--label-scores", "--no-progress"]
    assert main(["bench", "generate", *map(str, [*arguments, *more])]) == 0
    records = [
        {"image": one["image"], "id": one["question_id"], "gpt4": "A face.", "label": ("Anger", "Fear")[number % 2]}
        for number, one in enumerate(questions)
    ]
    result = faba_bench.score("emotion", "faba", records, out, bootstrap=0)
    assert result["label_scores"]["n"] == 6 and result["label_scores"]["per_label"]["Fear"]["roc_auc"] is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "Which lips?"}, "is no question of the protocol 'faba'"),
        ({"settings": {"label_scores": "disfa"}, "text": EMOTION_TEXT}, "is no question of the protocol 'disfa'"),
        ({"settings": {"label_scores": "fabba"}}, "fabba"),
        ({"settings": {"conversation": "plain"}}, "shows the picture alone"),
    ],
)
def test_what_has_no_scores_is_told_before_the_model_is_loaded(
    bench: Any, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    question = {**bench.questions[0], "text": change.get("text", AU_TEXT)}
    with pytest.raises((UserError, faba_bench.BenchError), match=said):
        settings = GenerateSettings(max_new_tokens=2, **{"label_scores": "faba", **change.get("settings", {})})
        generate_answers(str(bench.model), [question], bench.images, tmp_path / "a.jsonl", settings)
    assert not (tmp_path / "a.jsonl").exists()


def test_a_prompt_that_the_model_would_cut_is_no_score(answerer: Answerer, bench: Any, monkeypatch: Any) -> None:
    asked = LabelQuestions("faba").of(EMOTION_TEXT)
    prepared = answerer.prepare(bench.questions[:1])
    monkeypatch.setattr(answerer.model.config, "tokenizer_model_max_length", 20, raising=False)
    with pytest.raises(UserError, match="tokenizer_model_max_length"):
        label_scores(answerer.reader(prepared), [asked], 16)


def test_asking_for_scores_changes_no_answer(answerer: Answerer, bench: Any) -> None:
    prepared = answerer.prepare(bench.questions[:1])
    texts = [question["text"] for question in bench.questions[:1]]
    plain, _ = generate_batch(
        answerer.loaded, to_model(prepared.images, answerer.model), texts, prepared.priors,
        image_sizes=prepared.sizes, max_new_tokens=4,
    )  # fmt: skip
    result = next(answerer.answer_all(iter([bench.questions[:1]])))
    assert list(result.token_ids) == plain[0].token_ids and result.scores is not None
