"""The answers file: what a crash leaves, and what another run left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_faba.errors import RecordError, UserError
from llava_faba.inference.journal import AnswerJournal

KEYS = {"a": "1" * 64, "b": "2" * 64, "7": "3" * 64}
QUESTIONS = {name: {"question_id": int(name) if name.isdigit() else name, "text": "What?"} for name in KEYS}


def write(path: Path, *names: str, text: str = "Häppy 😀") -> None:
    with AnswerJournal(path, KEYS) as journal:
        for name in names:
            journal.append(QUESTIONS[name], text, "model", {"dtype": "float32"})


def ids(path: Path) -> list[object]:
    return [json.loads(line)["question_id"] for line in path.read_bytes().splitlines()]


def test_an_answer_line_is_llavas(tmp_path):
    write(tmp_path / "new" / "a.jsonl", "7")
    line = json.loads((tmp_path / "new" / "a.jsonl").read_text(encoding="utf-8"))
    assert set(line) == {"question_id", "prompt", "text", "answer_id", "model_id", "metadata"}
    assert (line["question_id"], line["prompt"], line["text"]) == (7, "What?", "Häppy 😀")
    assert line["metadata"] == {"dtype": "float32", "key": KEYS["7"]}


def test_an_answer_is_on_disk_when_append_returns(tmp_path):
    path = tmp_path / "a.jsonl"
    with AnswerJournal(path, KEYS) as journal:
        journal.append(QUESTIONS["a"], "text", "model", {})
        assert ids(path) == ["a"]


@pytest.mark.parametrize("cut", [1, 5, 60, 180])
def test_a_line_that_was_cut_short_is_dropped_and_the_others_stay(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    write(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    with AnswerJournal(path, KEYS) as journal:
        assert journal.done == {"a"}
        journal.append(QUESTIONS["b"], "again", "model", {})
    assert ids(path) == ["a", "b"]


def test_a_cut_inside_a_character(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, "a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: whole.index("😀".encode()) + 2])
    with AnswerJournal(path, KEYS) as journal:
        assert journal.done == {"a"}
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "foreign",
    [
        json.dumps({"question_id": "a", "text": "x", "metadata": {"key": "9" * 64}}),
        json.dumps({"question_id": "a", "text": "x", "metadata": {}}),
        json.dumps({"question_id": "a", "text": "x", "metadata": None}),
        json.dumps({"question_id": "unknown", "text": "x", "metadata": {"key": KEYS["a"]}}),
        json.dumps({"question_id": "unknown", "text": "x"}),
        "[1, 2]",
        "3",
    ],
    ids=["other key", "no key", "no metadata", "other question", "upstream's", "a list", "a number"],
)
def test_answers_of_another_run_are_neither_taken_nor_touched(tmp_path, foreign):
    path = tmp_path / "a.jsonl"
    content = foreign + "\n" + '{"half'
    path.write_text(content)
    with pytest.raises(UserError, match="another model, prompt, setting or image"):
        AnswerJournal(path, KEYS)
    assert path.read_text() == content
    with AnswerJournal(path, KEYS, overwrite=True) as journal:
        assert journal.done == set()
    assert path.read_text() == ""


def test_a_line_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, "a")
    with path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(RecordError, match=r"a\.jsonl, line 2, column 1: not JSON"):
        AnswerJournal(path, KEYS)


def test_two_runs_at_once_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    with AnswerJournal(path, KEYS) as journal:
        journal.append(QUESTIONS["a"], "text", "model", {})
        with pytest.raises(UserError, match="another process is writing"):
            AnswerJournal(path, KEYS, overwrite=True)
    assert ids(path) == ["a"]
    AnswerJournal(path, KEYS).__exit__(None, None, None)


def test_sorting_keeps_every_answer(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, "7", "b", "a")
    lines = set(path.read_bytes().splitlines())
    with AnswerJournal(path, KEYS) as journal:
        journal.sort(["a", "b", "7"])
    assert ids(path) == ["a", "b", 7] and set(path.read_bytes().splitlines()) == lines
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl"]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"question_id": "a", "question_id": "b"}', "9" * 6000])
def test_a_strange_line_is_named(line, tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, "a")
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RecordError, match=r"a\.jsonl, line 2: not JSON that can be read"):
        AnswerJournal(path, KEYS)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="a pipe"):
        AnswerJournal(tmp_path / "a.jsonl", KEYS)


def test_half_a_character_in_a_question_is_written_as_json_writes_it(tmp_path):
    path = tmp_path / "a.jsonl"
    with AnswerJournal(path, KEYS) as journal:
        journal.append({"question_id": "a", "text": "what \ud800?"}, "AU1", "m", {})
    with AnswerJournal(path, KEYS) as journal:
        assert journal.done == {"a"} and journal.sort(["a"]) == []
