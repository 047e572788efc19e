"""Protocol files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faba_bench.errors import ProtocolError
from faba_bench.protocol import load_protocol, protocol_names

EXPECTED = {
    "faba": ("1 2 4 5 6 7 9 10 12 14 15 16 17 20 23 24 25 26 27 43", "1 2 4 5 6 10 12 17 24 25 26 43"),
    "bp4d": ("1 2 4 6 7 10 12 14 15 17 23 24", None),
    "disfa": ("1 2 4 6 9 12 25 26", None),
    "gft": ("1 2 4 5 6 7 9 10 12 14 15 16 17 18 20 23 24 25 26", "1 2 4 6 10 12 14 15 23 24"),
    "emotionet": ("1 2 4 5 6 9 12 17 20 25 26 43", None),
}


def test_the_protocols_that_come_with_the_package() -> None:
    assert protocol_names() == (
        "affectnet-7", "affectnet-8", "bp4d", "disfa", "emotionet", "faba", "gft", "raf-db",
    )  # fmt: skip
    assert load_protocol("faba").tasks == ("au", "emotion")
    assert load_protocol("raf-db").tasks == ("emotion",)
    assert load_protocol("bp4d").folds == load_protocol("disfa").folds == 3


@pytest.mark.parametrize("name", EXPECTED)
def test_vocabularies(name: str) -> None:
    rules = load_protocol(name).au
    assert rules is not None
    vocabulary, scored = EXPECTED[name]
    assert " ".join(map(str, rules.vocabulary)) == vocabulary
    assert " ".join(map(str, rules.scored)) == (scored or vocabulary)


@pytest.mark.parametrize(("wrong", "right"), [("rafdb", "raf-db"), ("FABA", "faba"), ("dsifa", "disfa")])
def test_did_you_mean(wrong: str, right: str) -> None:
    with pytest.raises(ProtocolError, match=f"did you mean .*'{right}'"):
        load_protocol(wrong)


def test_a_task_that_a_protocol_lacks_names_those_that_have_it() -> None:
    with pytest.raises(ProtocolError, match=r"no task 'au', only emotion.*bp4d"):
        load_protocol("raf-db").require("au")
    with pytest.raises(ProtocolError, match="unknown task 'aus'"):
        load_protocol("faba").require("aus")


def test_a_protocol_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    data = {"schema_version": 1, "name": "mine", "version": 2, "title": "Mine"}
    path.write_text(json.dumps({**data, "tasks": {"au": {"vocabulary": [1, 2], "scored": [2]}}}))
    assert load_protocol(str(path)).version == 2


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "not JSON"),
        ('{"schema_version": 2}', "schema_version 2"),
        ('{"schema_version": 1, "name": "a"}', "'tasks' is missing"),
        ("[]", "not a protocol"),
        ('{"schema_version": 1, "name": "a", "version": "x", "title": "t", "tasks": {"au": {}}}', "not a protocol"),
        ('{"schema_version": 1, "name": "a", "version": 1, "title": "t", "tasks": {}}', "must hold 'au' or 'emotion'"),
        ('{"schema_version": 1, "name": "a", "version": 1, "title": "t", "tasks": {"aus": {}}}', "nothing else"),
        (
            '{"schema_version": 1, "name": "a", "version": 1, "title": "t", '
            '"tasks": {"au": {"vocabulary": [1], "scored": [2]}}}',
            r"not in it: \[2\]",
        ),
    ],
)
def test_broken_protocol_files(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(ProtocolError, match=part):
        load_protocol(str(path))
