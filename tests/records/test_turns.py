"""One check of a conversation, for training and for 'data validate'; one reader of annotation files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llava_faba.errors import RecordError
from llava_faba.records.reading import read_items_of, read_objects
from llava_faba.records.turns import faults


def record(*turns: tuple[Any, Any], image: bool = True) -> dict[str, Any]:
    return {
        **({"image": "a.png"} if image else {}),
        "conversations": [{"from": speaker, "value": text} for speaker, text in turns],
    }


Q, A = ("human", "<image>\nWhat AUs?"), ("gpt", "AU1 is active.")


@pytest.mark.parametrize(
    "sound",
    [
        record(Q, A),
        record(("human", "What AUs?\n<image>"), A),
        record(("human", "<image>"), A),
        record(Q, A, ("human", "And?"), A),
        record(("human", "Hi"), ("gpt", "Hello"), image=False),
        record(Q, ("gpt", "I think that AU1 is active; I thought of AU2 as well.")),
    ],
)
def test_sound_records_have_no_fault(sound: dict[str, Any]) -> None:
    assert list(faults(sound)) == []


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (record(), "layout"),
        (record(Q), "layout"),
        (record(Q, ("gpt", 5)), "layout"),
        (record(Q, ("system", "x")), "layout"),
        (record(Q, ("gpt", " \n")), "layout"),
        ({"image": "a", "conversations": {"from": "human"}}, "layout"),
        ({"image": "a", "conversations": [1, 2]}, "layout"),
        (record(Q, A, A), "turns"),
        (record(Q, Q), "turns"),
        (record(A, Q), "turns"),
        (record(Q, A, ("human", "And?")), "turns"),
        (record(("human", "What AUs?"), ("gpt", "<image> AU1")), "image-token"),
        (record(("human", "What AUs?"), A), "image-token"),
        (record(("human", "<image><image> What?"), A), "image-token"),
        (record(("human", "Hi"), A, ("human", "<image>"), A), "image-token"),
        (record(("human", "What does <image> show?"), A), "image-token"),
        (record(Q, A, image=False), "image-token"),
        (record(Q, ("gpt", "<think>AU2?</think>AU1 is active.")), "thoughts"),
        (record(Q, ("gpt", "hm, AU2?</think>AU1 is active.")), "thoughts"),
        (record(Q, A, ("human", "And?"), ("gpt", "<thinking>x")), "thoughts"),
    ],
)
def test_what_training_would_fail_on_is_a_fault(broken: dict[str, Any], kind: str) -> None:
    assert next(faults(broken)).kind == kind


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bom.json", b'\xef\xbb\xbf[{"image": "a"}, {"image": "b"}]'),
        ("lines.jsonl", b'{"image": "a"}\n{"image": "b"}\n'),
        ("lines.json", b'{"image": "a"}\r\n\r\n{"image": "b"}'),
        ("bom.jsonl", b'\xef\xbb\xbf{"image": "a"}\n{"image": "b"}\n'),
        ("list.jsonl", b'[{"image": "a"},\n {"image": "b"}]'),
    ],
)
def test_a_file_is_read_by_what_it_holds(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_objects(tmp_path / name) == [{"image": "a"}, {"image": "b"}]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\u000b", "\u000c"])
def test_separators_inside_a_text_end_no_line(tmp_path: Path, mark: str) -> None:
    text = '{"image": "a", "gpt4": "one' + (mark if ord(mark) > 0x20 else f"\\u{ord(mark):04x}") + 'two"}\n'
    (tmp_path / "a.jsonl").write_text(text * 2, encoding="utf-8", newline="\n")
    assert [one["gpt4"] for one in read_items_of(tmp_path / "a.jsonl")] == [f"one{mark}two"] * 2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'[{"image": "a", "label": NaN}]', "NaN"),
        (b'[{"image": "a", "image": "b"}]', "given twice"),
        (b'{"records": []}', "expected a list"),
        (b"[" * 100000, "nested"),
        (b'[{"image": "a"}', "not JSON"),
        (b"\xff\xfe[\x00]\x00", "UTF-16"),
        (b'[{"image": "\xff"}]', "not UTF-8"),
        (b'["a"]', "element 0 is a text"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "some.json").write_bytes(data)
    with pytest.raises(RecordError, match=r"some\.json") as caught:
        read_objects(tmp_path / "some.json")
    assert told in str(caught.value)
