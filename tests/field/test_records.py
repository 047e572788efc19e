"""Annotation files as people report them: read everywhere or refused everywhere, by one reader and one check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_faba.cli import main
from llava_faba.data.records import find_problems
from llava_faba.datatools.mix import Source, mix
from llava_faba.datatools.validate import validate
from llava_faba.priors.sources import images_of
from llava_faba.records.annotation import load_records
from llava_faba.records.training import read_records

FIELD = Path(__file__).parent.parent / "data" / "field"


class NoPriors:
    size = None

    def get(self, record: object) -> None:
        return None


def test_json_bom_is_read_everywhere(tmp_path: Path) -> None:
    folder = FIELD / "json-bom"
    assert load_records(folder / "eval.json") == load_records(folder / "plain.json")
    for name in ("eval.json", "plain.json"):
        out = tmp_path / f"{name}l"
        assert main(["bench", "questions", str(folder / name), "--task", "au", "--out", str(out)]) == 0
    assert (tmp_path / "eval.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert validate([folder / "eval.json"], image_folder=folder).ok


def test_jsonl_u2028_is_one_record(tmp_path: Path) -> None:
    folder = FIELD / "jsonl-u2028"
    assert read_records(folder / "train.jsonl") == load_records(folder / "train.json")
    assert images_of([folder / "train.jsonl"]) == ["a.jpg"]
    report = validate([folder / "train.jsonl"], image_folder=folder)
    assert report.ok and report.n_records == 1
    assert len(mix([Source(folder / "train.jsonl")], tmp_path).train) == 1


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("roles", "turns", "speakers are human, gpt, gpt"),
        ("gptfirst", "turns", "speakers are gpt, human, gpt"),
        ("gptimage", "image-token", "turn 1, an answer"),
    ],
)
def test_train_turns_are_refused_by_training_as_by_validate(tmp_path: Path, name: str, kind: str, told: str) -> None:
    path = FIELD / "train-turns" / f"{name}.json"
    records = read_records(path)
    for record in records:
        (tmp_path / record["image"]).parent.mkdir(exist_ok=True)
        (tmp_path / record["image"]).write_bytes(b"x")
    (problem,) = find_problems(records, tmp_path, NoPriors())
    assert told in problem.message and problem.record == "3"
    found = [one for one in validate([path]).problems if one.kind == kind]
    assert [(one.index, told in one.message) for one in found] == [(3, True)]


@pytest.mark.parametrize(
    "speakers",
    [[], ["human"], ["human", "human", "gpt"], ["human", "gpt", "gpt"], ["system", "human", "gpt"], ["gpt", "human"]],
    ids=" ".join,
)
def test_turns_of_other_shapes_are_refused_by_training_as_by_validate(tmp_path: Path, speakers: list[str]) -> None:
    turns = [{"from": one, "value": "<image>\nWhat?" if one == "human" else "AU4."} for one in speakers]
    sound = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "AU4."}]
    records = [
        {"id": str(number), "image": "a.jpg", "conversations": conversation}
        for number, conversation in enumerate((sound, turns))
    ]
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "train.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    problems = find_problems(records, tmp_path, NoPriors())
    assert [problem.record for problem in problems] == ["1"]
    assert {one.index for one in validate([path]).problems} == {1}
