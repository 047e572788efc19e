"""One item after the other: the same items and the same sentences as the reader of whole files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from faba_bench.files import FileProblem
from faba_bench.files.atomic import write_json
from faba_bench.files.jsonfiles import Unstreamable, iter_items, read_items, streamed_items

SOUND = [
    "[]",
    " [ ] \n",
    "[1]",
    "[1,2.5e3 , -7]",
    '[{"a": [1, {"b": null}]}, "x", true]\n',
    '\ufeff[{"ä": "\u2028"}]',
    "[\r\n{},\r\n{}]",
    '{"a": 1}\n{"a": 2}\n',
    '{"a": 1}',
    "[" + ",".join(['{"k": "' + "v" * 700_000 + '"}'] * 4) + "]",
]
BROKEN = [
    "",
    "[",
    "[1,",
    "[1,]",
    "[1 2]",
    "[1] 2",
    "[1]]",
    "[NaN]",
    '[{"a": 1, "a": 2}]',
    "[" * 70 + "]" * 70,
    '{"a": 1}\n{"a": \n{"a": 3}\n',
    '{"a":\n 1}',
    "5",
    '[{"a": "\n"}]',
    "[1, 1e]",
]


def both(path: Path) -> tuple[Any, Any]:
    found = []
    for read in (read_items, lambda one: list(iter_items(one))):
        try:
            found.append(read(path))
        except FileProblem as error:
            found.append(str(error))
    return found[0], found[1]


@pytest.mark.parametrize("text", [*SOUND, *BROKEN], ids=lambda text: text[:20])
def test_as_the_reader_of_whole_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(text.encode())
    whole, streamed = both(path)
    assert streamed == whole and isinstance(whole, list) == (text in SOUND)
    if text in SOUND:
        assert list(streamed_items(path)) == whole


@pytest.mark.parametrize("data", [b"[1, \xff]", "[1]".encode("utf-16"), b"[1, 2\x00]"])
def test_bytes_that_are_no_text(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(data)
    whole, streamed = both(path)
    assert isinstance(whole, str) and streamed == whole
    with pytest.raises(Unstreamable):
        list(streamed_items(path))


def test_cut_anywhere_it_is_an_error_of_the_same_words(tmp_path: Path) -> None:
    text = json.dumps([{"id": number, "label": "1, 4", "x": [1.5, '\\"]']} for number in range(20)])
    rng = random.Random(0)
    for cut in rng.sample(range(1, len(text)), 60):
        path = tmp_path / "items.json"
        path.write_text(text[:cut])
        whole, streamed = both(path)
        assert isinstance(whole, str) and streamed == whole


def test_json_is_written_in_parts_to_the_same_bytes(tmp_path: Path) -> None:
    value = {"rows": [{"number": number, "text": "ä\ud800"} for number in range(20_000)]}
    write_json(tmp_path / "a.json", value)
    whole = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    assert (tmp_path / "a.json").read_bytes() == whole.encode("utf-8", "backslashreplace")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", [*range(100_000), float("nan")])
    assert (tmp_path / "a.json").read_bytes() == whole.encode("utf-8", "backslashreplace")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
