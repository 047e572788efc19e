# ruff: noqa: E402 - what is imported late needs transformers 5
"""Scores per label in transformers' home: equal to a plain forward of each wording alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("dlib")

from faba_bench.questions import QUESTIONS
from native.folders import convert, make_source
from tiny import make_faces

from llava_faba.errors import UserError
from llava_faba.images import open_image
from llava_faba.inference.engines.native import NativeEngine
from llava_faba.inference.generate import generate_answers
from llava_faba.inference.label_scores import Asking, LabelQuestions, label_scores
from llava_faba.inference.sampling import seeds_of
from llava_faba.inference.settings import GenerateSettings


@pytest.fixture(scope="module")
def engine(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> NativeEngine:
    root = tmp_path_factory.mktemp("scores")
    make_faces(root / "faces", 3)
    model = convert(make_source(root, golden), root / "hf")
    return NativeEngine(str(model), None, root / "faces", GenerateSettings(max_new_tokens=2, label_scores="faba"))


def slowly(engine: NativeEngine, picture: str, asking: Asking) -> dict[str, float]:
    """Each wording in a turn that the processor itself makes, without padding, all its logits looked at."""
    image = open_image(engine.folder / picture)
    inputs = {}
    for label, texts in asking.answers.items():
        for text in texts:
            parts = [{"type": "image"}, {"type": "text", "text": asking.question}]
            prompt = engine.processor.apply_chat_template(
                [{"role": "user", "content": parts}], add_generation_prompt=True
            )
            inputs[label, text] = engine.processor(images=image, text=f"{prompt} {text}", return_tensors="pt")
    ids = {key: value["input_ids"][0].tolist() for key, value in inputs.items()}
    start = next(i for i, column in enumerate(zip(*ids.values(), strict=False)) if len(set(column)) > 1)
    said: dict[str, float] = {}
    for (label, text), row in ids.items():
        shorter = [other for (of, _), other in ids.items() if of == label and other != row]
        if any(row[: len(other)] == other for other in shorter):
            continue
        with torch.no_grad():
            logs = engine.model(**inputs[label, text]).logits[0].log_softmax(-1)
        said[label] = said.get(label, 0.0) + math.exp(
            sum(float(logs[at - 1, row[at]]) for at in range(start, len(row)))
        )
    return {label: value / sum(said.values()) for label, value in said.items()}


def test_they_are_those_of_each_wording_alone(engine: NativeEngine) -> None:
    names = ["face00.jpg", "face01.jpg"]  # of different sizes
    questions = [{"question_id": name, "image": name, "text": QUESTIONS["emotion"]} for name in names]
    emotion = LabelQuestions("faba").of(QUESTIONS["emotion"])
    found = label_scores(engine.reader(engine.prepare(questions)), [emotion, emotion], 5)
    for name, scores in zip(names, found, strict=True):
        assert scores == pytest.approx(slowly(engine, name, emotion[0]), rel=2e-4)
    assert found[0] != found[1]
    units = LabelQuestions("faba").of(QUESTIONS["au"])[:3]
    scores = label_scores(engine.reader(engine.prepare(questions[:1])), [units], 2)[0]
    for unit in units:
        assert scores[str(unit.label)] == pytest.approx(slowly(engine, names[0], unit)["yes"], rel=2e-4)


def test_they_are_in_the_answers_file(engine: NativeEngine, tmp_path: Path) -> None:
    model = str(engine.processor.tokenizer.name_or_path)
    questions = [{"question_id": task, "image": "face00.jpg", "text": QUESTIONS[task]} for task in ("au", "emotion")]
    out, settings = tmp_path / "a.jsonl", engine.settings
    generate_answers(model, questions, engine.folder, out, settings)
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines[0]["scores"]) == 20 and sum(lines[1]["scores"].values()) == pytest.approx(1, abs=1e-4)
    with pytest.raises(UserError, match="take --engine transformers"):
        vllm = GenerateSettings(max_new_tokens=2, label_scores="faba", engine="vllm")
        generate_answers(model, questions, engine.folder, tmp_path / "b.jsonl", vllm)


def test_sampled_answers_depend_on_no_batch(engine: NativeEngine) -> None:
    questions = [
        {"question_id": name, "image": name, "text": QUESTIONS[task]}
        for name, task in (("face00.jpg", "emotion"), ("face01.jpg", "au"), ("face02.jpg", "emotion"))
    ]
    seeds = seeds_of([question["question_id"] for question in questions], 1)
    together = [answer.token_ids for answer in engine.decode(engine.prepare(questions), seeds=seeds)[0]]
    alone = [
        engine.decode(engine.prepare([question]), seeds=[seed])[0][0].token_ids
        for question, seed in zip(questions, seeds, strict=True)
    ]
    assert together == alone
    others = engine.decode(engine.prepare(questions), seeds=[seed + 1 for seed in seeds])[0]
    assert [answer.token_ids for answer in others] != together
