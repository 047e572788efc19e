"""Reading inputs: every problem is named, and none hides another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faba_bench.errors import InputProblems
from faba_bench.protocol import load_protocol
from faba_bench.records import iterate_answers, load_annotations, parse_label
from faba_bench.scoring import score
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FABA = load_protocol("faba")
TASKS = st.sampled_from(["au", "emotion"])


def problems_of(records: Any, task: str = "au", protocol: str = "faba") -> InputProblems:
    with pytest.raises(InputProblems) as caught:
        load_annotations(records, task, load_protocol(protocol))
    return caught.value


def test_question_id_is_the_id_or_the_position() -> None:
    records = [
        {"label": "1", "gpt4": "t"},
        {"label": "2", "gpt4": "t", "id": "k"},
        {"label": "", "gpt4": "t"},
    ]
    loaded = load_annotations(records, "au", FABA)
    assert [record.question_id for record in loaded] == [0, "k", 2]
    assert [record.target for record in loaded] == [(1,), (2,), ()]


def test_all_bad_records_are_listed_at_once() -> None:
    error = problems_of(
        [
            {"label": "1, 99", "gpt4": "t"},
            "text",
            {"gpt4": "t"},
            {"label": "1,4", "gpt4": "t"},
            {"label": "1", "gpt4": 3},
            {"label": "1"},
            {"label": "1", "gpt4": "t", "id": 4},
            {"label": "1", "gpt4": "t", "id": 2.5},
        ]
    )
    text = "\n".join(error.problems)
    assert len(error.problems) == 8
    for part in (
        "record 0",
        "'99'",
        "record 1",
        "record 2",
        "no 'label'",
        "'1,4'",
        "record 4",
        "record 5",
        "duplicate id '4'",
        "2.5",
    ):
        assert part in text


def test_an_id_that_equals_a_position_is_a_duplicate_by_its_text() -> None:
    error = problems_of([{"label": "1", "gpt4": "t"}, {"label": "1", "gpt4": "t", "id": "0"}])
    assert "duplicate id '0'" in str(error)


def test_wrong_protocol_is_hinted() -> None:
    labels = [{"label": "Happiness", "gpt4": "t"}, {"label": "Fear", "gpt4": "t"}]
    assert "--task emotion --protocol faba" in problems_of(labels).hint
    contempt = [{"label": "Contempt", "gpt4": "t"}]
    assert "affectnet-8" in problems_of(contempt, "emotion", "faba").hint
    units = [{"label": "9, 12", "gpt4": "t"}]
    assert "--protocol disfa" in problems_of(units, "au", "bp4d").hint


def test_reference_texts_may_be_absent_only_where_no_record_has_one() -> None:
    bare = [{"label": "1"}, {"label": "2"}]
    assert len(load_annotations(bare, "au", load_protocol("bp4d"))) == 2
    assert "no reference text" in str(problems_of(bare))
    assert "no reference text" in str(problems_of([{"label": "1", "gpt4": "t"}, {"label": "2"}], "au", "bp4d"))


@pytest.mark.parametrize(
    ("label", "expected"),
    [("Sadness", "Sadness"), ("sadness", "Sadness"), ("sad", "Sadness"), ("1", "Sadness"), (1, "Sadness")],
)
def test_emotion_labels_by_name_and_index(label: object, expected: str) -> None:
    assert parse_label(label, FABA.require("emotion")) == expected


@pytest.mark.parametrize("label", ["7", 7, -1, True, None, 1.0, "Joyful?", "", [1]])
def test_bad_emotion_labels(label: object) -> None:
    with pytest.raises(ValueError, match="the classes are 0 Happiness"):
        parse_label(label, FABA.require("emotion"))


@pytest.mark.parametrize("label", ["1,4", "AU1", "01", "1, 4,", "1; 4", None, 4, [True], ["1"]])
def test_bad_au_labels(label: object) -> None:
    with pytest.raises(ValueError, match=r"1, 4, 25"):
        parse_label(label, FABA.require("au"))


@given(st.text(max_size=30) | st.integers() | st.lists(st.integers(), max_size=4))
def test_labels_are_read_or_refused(label: object) -> None:
    for task in ("au", "emotion"):
        try:
            parse_label(label, FABA.require(task))
        except ValueError as error:
            assert "label" in str(error)


def test_broken_answer_lines_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [
        b'\xef\xbb\xbf{"question_id": 0, "text": "a"}',
        b"",
        b'{"question_id": 1, "text"',
        b'{"question_id": 2, "text": "\xe9"}',
        b"[1]",
        b'{"question_id": 3, "text": null}',
        b'{"text": "t"}',
        b'{"question_id": 4, "text": "ok"}',
        b'{"question_id": ' + b"9" * 5000 + b', "text": "t"}',
        b'{"question_id": 5, "text": ' + b"[" * 100_000,
    ]
    path.write_bytes(b"\n".join(lines))
    problems: list[str] = []
    found = list(iterate_answers(path, problems))
    assert [(key, text) for _, key, text in found] == [("0", "a"), ("4", "ok")]
    assert len(problems) == 7
    for number, part in (
        (3, "not JSON"),
        (4, "not UTF-8 (byte 0xe9)"),
        (5, "not an object"),
        (6, "'text'"),
        (7, "'question_id'"),
        (9, "not JSON"),
        (10, "not JSON"),
    ):
        assert any(f"line {number}" in problem and part in problem for problem in problems)


def test_a_missing_answers_file_is_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    assert list(iterate_answers(tmp_path / "none.jsonl", problems)) == []
    assert "none.jsonl" in problems[0]


def test_annotation_files(tmp_path: Path) -> None:
    record = {"label": "1", "gpt4": "é"}
    for name, content in (("a.json", json.dumps([record])), ("b.jsonl", json.dumps(record) + "\n")):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        assert load_annotations(path, "au", FABA)[0].reference == "é"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'[{"label": "1",\n "gpt4": }]', "line 2"),
        (b'{"label": "1"}', "must hold a list"),
        (b"[]", "no records"),
        (b'[\n{"label": "\xff"}]', "line 2: not UTF-8"),
        ('[{"label": "1"}]'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'[{"label": ' + b"1" * 5000 + b"}]", "not JSON"),
    ],
)
def test_broken_annotation_files(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "eval.json"
    path.write_bytes(content)
    error = problems_of(path)
    assert str(path) in str(error)
    assert part in str(error) or "nested too deeply" in str(error)


def test_line_separators_inside_a_text_do_not_cut_a_json_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    text = "one\u2028two\x85three"
    path.write_text(json.dumps({"label": "1", "gpt4": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load_annotations(path, "au", FABA)[0].reference == text


def test_messages_stay_short_whatever_the_input_holds(tmp_path: Path) -> None:
    error = problems_of([{"label": "9" * 10_000, "gpt4": "t", "id": "k" * 10_000}])
    assert len(str(error)) < 500 and "(10002 characters)" in str(error)


KEYS = st.sampled_from(["label", "gpt4", "id", "image", "subject", "question_id", "text", "other"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1, 4", "Fear"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(annotations=JSON, answers=st.lists(JSON, max_size=4), noise=st.binary(max_size=20), task=TASKS)
def test_any_files_are_scored_or_refused(
    tmp_path: Path, annotations: Any, answers: Any, noise: bytes, task: str
) -> None:
    (tmp_path / "e.json").write_text(json.dumps(annotations))
    lines = [json.dumps(answer).encode() for answer in answers]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, noise]))
    try:
        score(
            task, "affectnet-8" if task == "emotion" else "gft", tmp_path / "e.json", tmp_path / "a.jsonl", bootstrap=2
        )
    except InputProblems as error:
        assert error.problems


@settings(deadline=None)
@given(
    labels=st.lists(st.lists(st.sampled_from([1, 2, 4, 12]), unique=True, max_size=3), min_size=1, max_size=6),
    texts=st.lists(st.text(max_size=60) | st.sampled_from(["AU1, AU4.", "not AU12"]), min_size=6, max_size=6),
    skipped=st.integers(0, 6),
)
def test_every_answer_is_counted_once_or_named(labels: Any, texts: Any, skipped: int) -> None:
    annotations = [{"label": ", ".join(map(str, label)), "gpt4": "AU1. AU4."} for label in labels]
    answers = [{"question_id": i, "text": text} for i, text in enumerate(texts[: len(labels)]) if i != skipped]
    try:
        result = score("au", "faba", annotations, answers, bootstrap=0)
    except InputProblems as error:
        assert skipped < len(labels) and f"missing: '{skipped}'" in str(error)
        return
    assert skipped >= len(labels)
    for body in result["modes"].values():
        assert [sample["question_id"] for sample in body["samples"]] == list(range(len(labels)))
        assert [sample["target"] for sample in body["samples"]] == labels
        assert all(0 <= sample["rouge_l"] <= 1 for sample in result["modes"]["strict"]["samples"])
