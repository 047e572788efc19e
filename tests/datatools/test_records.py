"""Reading annotation files and labels, and telling the two tasks apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_faba.errors import RecordError
from llava_faba.records import annotation as records


@pytest.mark.parametrize(
    ("label", "expected"),
    [("1, 4, 25", [1, 4, 25]), ("1,4", [1, 4]), ("", []), (" ", []), ("12", [12])],
)
def test_au_labels(label: str, expected: list[int]) -> None:
    assert records.parse_au_label(label) == expected


@pytest.mark.parametrize("label", ["1;4", "AU1", "1,,4", ",", None, 4, True, "1 4", "-1", "1\n2"])
def test_bad_au_labels(label: object) -> None:
    with pytest.raises(ValueError, match="AU label"):
        records.parse_au_label(label)


@given(st.sets(st.integers(1, 64)))
def test_au_labels_read_back(aus: set[int]) -> None:
    assert records.parse_au_label(records.au_label(aus)) == sorted(aus)


@pytest.mark.parametrize(("label", "expected"), [("Fear", "Fear"), (" fear ", "Fear"), (0, "Happiness"), ("6", "Fear")])
def test_emotion_labels(label: object, expected: str) -> None:
    assert records.parse_emotion_label(label) == expected


@pytest.mark.parametrize("label", [7, -1, "7", "joy", "", None, True, 1.0, ["Fear"]])
def test_bad_emotion_labels(label: object) -> None:
    with pytest.raises(ValueError, match="emotion label"):
        records.parse_emotion_label(label)


def labelled(*labels: object) -> list[dict[str, Any]]:
    return [{"image": "a", "label": label} for label in labels]


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (labelled("4", "1, 4"), "x.json", "au"),
        (labelled("4", "Fear"), "x.json", "emotion"),
        (labelled("4", "12"), "x.json", "au"),
        (labelled(4, 2), "x.json", "emotion"),
        (labelled("4", "2"), "eval_au_anno.json", "au"),
        (labelled("4", "2"), "eval_emotion_anno.json", "emotion"),
        (labelled("4", "2"), "pause.json", None),
        ([{"image": "a", "label": "4", "gpt4": "AU4 - Brow lowerer."}], "x.json", "au"),
        ([{"image": "a", "label": "4", "gpt4": "The emotion is neutral."}], "x.json", "emotion"),
        ([], "x.json", None),
    ],
)
def test_the_task_is_found_out_from_the_whole_file(content: list, name: str, expected: str | None) -> None:
    assert records.guess_task(content, name) == expected


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b"{}", "expected a list of records, found an object"),
        ("a.json", b"[1]", "element 0 is a number"),
        ("a.json", b"[{]", "column 3: not JSON"),
        ("a.json", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', "line 2, column 5: not JSON"),
    ],
)
def test_malformed_files_are_located(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordError, match=message):
        records.load_records(tmp_path / name)


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([{"image": "\u00e9.png"}]).encode())
    (tmp_path / "a.jsonl").write_text('\n{"image": "b"}\n\n')
    assert records.load_records(tmp_path / "a.json") == [{"image": "\u00e9.png"}]
    assert records.load_records(tmp_path / "a.jsonl") == [{"image": "b"}]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    records.save_json(path, [1])
    with pytest.raises(TypeError):
        records.save_json(path, [object()])
    assert path.read_text() == "[\n 1\n]\n"


def test_llava_records_with_several_turns() -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A face."},
            {"from": "human", "value": "Whose?"},
            {"from": "gpt", "value": "I cannot say."},
        ]
    }
    assert records.question_of(record) == "What is it?"
    assert records.answer_of(record) == "A face.\nI cannot say."
    assert records.question_of({"label": "1"}) == ""
