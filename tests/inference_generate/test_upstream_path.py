"""FABA-Bench through LLaVA's own evaluation scripts, unmodified, on a machine without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, llava_faba_command, run_python

from llava_faba.cli.main import main
from llava_faba.records.questions import read_jsonl

TOKENS = 24


@pytest.fixture(scope="module")
def records(bench: Any) -> Path:
    """Evaluation records in FABA-Instruct's layout, one of them without an id."""
    path = bench.root / "eval.json"
    names = [question["image"] for question in bench.questions[:3]]
    values: list[dict[str, Any]] = [
        {"image": name, "label": "1, 4", "gpt4": "AU1 and AU4 are active.", "id": f"r{index}"}
        for index, name in enumerate(names)
    ]
    del values[2]["id"]
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(scope="module")
def questions(bench: Any, records: Path) -> Path:
    path: Path = bench.root / "bench-questions.jsonl"
    assert main(["bench", "questions", str(records), "--task", "au", "--out", str(path)]) == 0
    return path


def ask(module: str, bench: Any, questions: Path, answers: Path, *more: str) -> subprocess.CompletedProcess[str]:
    answers.parent.mkdir(exist_ok=True)
    return llava_faba_command(
        *("run", "--device", "cpu", module),
        *("--model-path", str(bench.model), "--model-base", str(bench.model.parent / "base")),
        *("--question-file", str(questions), "--image-folder", str(bench.images)),
        *("--answers-file", str(answers), "--temperature", "0", *more),
    )


@pytest.mark.parametrize(
    ("task", "prompt"),
    [("au", "What AUs are conveyed by this face?"), ("emotion", "What emotions are conveyed by this face?")],
)
def test_questions_are_llavas_with_the_papers_prompts(bench, records, tmp_path, task, prompt):
    out = tmp_path / "q.jsonl"
    assert main(["bench", "questions", str(records), "--task", task, "--out", str(out)]) == 0
    names = [question["image"] for question in bench.questions[:3]]
    assert read_jsonl(out) == [
        {"question_id": number, "image": name, "text": prompt}
        for number, name in zip(["r0", "r1", 2], names, strict=True)
    ]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["1, 4", "4"], "2 questions of the task au"),
        (["", "4"], "2 questions of the task au"),
        (["Happiness", "3"], "2 questions of the task emotion"),
        ([3, 0], "2 questions of the task emotion"),
        (["3", "0"], "do not tell the task"),
        (["1, 4", "Happiness"], "are of both tasks"),
    ],
)
def test_the_labels_tell_the_task(tmp_path, capsys, labels, told):
    records = [{"image": "a.png", "label": label, "id": None} for label in labels]
    (tmp_path / "e.json").write_text(json.dumps(records))
    code = main(["bench", "questions", str(tmp_path / "e.json"), "--out", str(tmp_path / "q.jsonl")])
    printed = capsys.readouterr()
    assert told in printed.out + printed.err and code == (0 if "questions" in told else 2)
    if code == 0:
        assert [question["question_id"] for question in read_jsonl(tmp_path / "q.jsonl")] == [0, 1]


def test_a_record_without_an_image_and_an_id_used_twice(tmp_path, capsys):
    for content, told in (
        (["x"], "record 0 is not an object but str"),
        ([{"label": "1", "id": "x"}], "record 0 (id x): 'image' is not a path"),
        ([{"image": "a.png", "id": "x"}, {"image": "b.png", "id": "x"}], "record 1: the id x is used twice"),
        ([{"image": "a.png"}, {"image": "b.png", "id": 0}], "record 1: the id 0 is used twice"),
    ):
        (tmp_path / "e.json").write_text(json.dumps(content))
        out = tmp_path / "q.jsonl"
        assert main(["bench", "questions", str(tmp_path / "e.json"), "--task", "au", "--out", str(out)]) == 2
        assert told in capsys.readouterr().err and not out.exists()


def test_model_vqa_loader_answers_and_the_scorer_reads_it(bench, records, questions, tmp_path):
    from llava_faba.inference.answering import Answerer
    from llava_faba.inference.settings import GenerateSettings

    path = tmp_path / "out" / "answers.jsonl"
    result = ask("llava.eval.model_vqa_loader", bench, questions, path, "--max_new_tokens", str(TOKENS))
    assert result.returncode == 0, result.stderr[-3000:]
    theirs = read_jsonl(path)
    assert [answer["question_id"] for answer in theirs] == ["r0", "r1", 2]

    # The same model in the same precision answers the same through our fast path.
    settings = GenerateSettings(max_new_tokens=TOKENS, dtype="float16")
    ours = Answerer(str(bench.model), None, bench.images, settings).answer_all(
        iter([[q] for q in read_jsonl(questions)])
    )
    assert {str(answer["question_id"]): answer["text"] for answer in theirs} == {
        result.question_id: result.text for result in ours
    }
    assert len({answer["text"] for answer in theirs}) == 3

    scored = score(records, path, tmp_path / "score.json")
    assert scored["n"] == 3
    assert [sample["question_id"] for sample in scored["modes"]["strict"]["samples"]] == ["r0", "r1", 2]


def test_model_vqa_answers_and_the_scorer_reads_it(bench, records, questions, tmp_path):
    path = tmp_path / "out" / "answers.jsonl"
    result = ask("llava.eval.model_vqa", bench, questions, path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert [answer["question_id"] for answer in read_jsonl(path)] == ["r0", "r1", 2]
    assert score(records, path, tmp_path / "score.json")["modes"]["reference"]["n_scored"] == 3


def test_without_the_option_the_script_still_asks_for_a_gpu(bench, questions, tmp_path):
    path = tmp_path / "out" / "answers.jsonl"
    path.parent.mkdir()
    result = llava_faba_command(
        *("run", "llava.eval.model_vqa_loader", "--model-path", str(bench.model)),
        *("--model-base", str(bench.model.parent / "base"), "--question-file", str(questions)),
        *("--image-folder", str(bench.images), "--answers-file", str(path)),
    )
    assert result.returncode != 0 and ("CUDA" in result.stderr or "NVIDIA" in result.stderr)


def score(records: Path, answers: Path, out: Path) -> dict[str, Any]:
    result = run_python(
        *("-m", "faba_bench", "score", "--task", "au", "--protocol", "faba", "--bootstrap", "0"),
        *("--annotations", str(records), "--answers", str(answers), "--json", str(out)),
        path=ROOT / "eval",
    )
    assert result.returncode == 0, result.stderr
    scored: dict[str, Any] = json.loads(out.read_text())
    return scored


def test_the_options_place_is_before_the_module(tmp_path, monkeypatch, capsys):
    import llava_faba

    (tmp_path / "shows_device.py").write_text(
        "import sys, torch\nprint(sys.argv[1:], torch.zeros(1).cuda().device, torch.ones(2, device='cuda').device)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert main(["run", "--device", "cpu", "shows_device", "--device", "cuda"]) == 0
    finally:
        llava_faba.unregister()
        sys.modules.pop("shows_device", None)
    assert capsys.readouterr().out.splitlines()[0] == "['--device', 'cuda'] cpu cpu"
