"""The one reader of JSON: what it takes, what it refuses, and that it says where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faba_bench.files import FileProblem
from faba_bench.files.jsonfiles import iter_json_lines, parse_json, read_items, read_json, read_object


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "'a' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("1" * 5000, "digits"),
        ("", "Expecting value"),
        ('{"a": 1} x', "Extra data"),
        ("{\n'a': 1}", "line 2"),
    ],
)
def test_refuses_and_says_why(text: str, says: str) -> None:
    with pytest.raises(FileProblem, match=says):
        parse_json(text, "here")


def test_a_callers_own_kind_of_error_is_raised() -> None:
    with pytest.raises(KeyError, match="here"):
        parse_json("{", "here", error=KeyError)


def test_nan_where_it_is_allowed() -> None:
    assert parse_json('{"a": NaN}', "here", allow_nan=True)["a"] != 0


@pytest.mark.parametrize("depth", [1, 60])
def test_usual_depths_pass(depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert str(parse_json(text, "here")).replace(" ", "") == text


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"a": 1}'.encode("utf-16"))
    with pytest.raises(FileProblem, match="UTF-16"):
        read_json(path)
    path.write_bytes(b'{\n"a": "\xe9"}')
    with pytest.raises(FileProblem, match=r"line 2: not UTF-8 .byte 0xe9"):
        read_json(path)


def test_no_pipe_device_or_folder_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path, says in ((tmp_path / "pipe.json", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(FileProblem, match=says):
            read_json(path)
    with pytest.raises(FileProblem, match="No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(FileProblem, match="null"):
        read_json("a\0b")


def test_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" + "1," * 100 + "1]")
    with pytest.raises(FileProblem, match="more than the limit of 50"):
        read_json(path, limit=50)


def test_an_object_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1]")
    with pytest.raises(FileProblem, match="expected an object, found a list"):
        read_object(path)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt"])
@pytest.mark.parametrize("layout", ["list", "lines", "bom list", "bom lines", "crlf lines", "u2028 lines"])
def test_annotation_files_by_content(tmp_path: Path, name: str, layout: str) -> None:
    first, second = '{"t": "a\u2028b\x85c"}', '{"t": 2}'
    text = f"[{first},\r\n {second}]" if "list" in layout else f"{first}\n\n{second}\n"
    if "crlf" in layout:
        text = text.replace("\n", "\r\n")
    data = text.encode()
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + data if "bom" in layout else data)
    assert read_items(path) == [{"t": "a\u2028b\x85c"}, {"t": 2}]


def test_bad_lines_are_named_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": NaN}\n')
    with pytest.raises(FileProblem) as caught:
        read_items(path)
    assert "2 lines cannot be read" in str(caught.value)
    assert "line 2" in str(caught.value) and "line 3" in str(caught.value)


def test_one_object_is_no_list_of_records(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n "a": 1\n}\n')
    with pytest.raises(FileProblem, match="expected a list of records, found an object"):
        read_items(path)


def test_lines_are_read_one_at_a_time_and_bad_ones_collected(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\nx\r\n{"a": 2}')
    problems: list[str] = []
    assert list(iter_json_lines(path, problems=problems)) == [(1, {"a": 1}), (4, {"a": 2})]
    assert len(problems) == 1 and "line 3" in problems[0]
