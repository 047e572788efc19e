"""What training says of the records' priors before it starts, and which data it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import PICTURES

from llava_faba.training.prior_report import FEWEST_FACES

LORA = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")
STORED = (*LORA, "--facial_prior_expert", "dlib-68", "--facial_prior_store", "store")


def write_store(copied: Path, *statuses: str) -> None:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    features = np.random.default_rng(0).normal(size=(8, 136)).astype(np.float32)
    with PriorStoreWriter(copied / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        for number, status in enumerate(statuses):
            face = features[number] * (status in ("found", "several_faces"))
            writer.append([Row(f"img/{number}.png", face, status, PICTURES)])


def edit_records(copied: Path, change) -> None:
    path = copied / "data" / "train.json"
    records = json.loads(path.read_text())
    for number, record in enumerate(records):
        change(number, record)
    path.write_text(json.dumps(records))


def test_the_counts_are_always_said(train, copied, capsys):
    write_store(copied, *["found"] * 5, "several_faces", "not_found", "unreadable")
    assert train("out", *STORED) == 0
    said = capsys.readouterr()
    assert (
        "Facial priors of 8 records: 6 have one, 1 with several faces; 1 without a face (not found), 1 unreadable; "
        "0 without a prior." in said.out
    )
    assert "warning: 2 of 8 records (25%) have no facial prior" in said.err
    assert "warning: 1 of 8 records (12%) show several faces" in said.err


def test_counts_of_files_and_of_text(train, copied, capsys):
    def change(number, record):
        if number == 0:
            record.pop("image"), record.pop("landmark")
            record["conversations"][0]["value"] = "What is AU4?"
        if number == 1:
            record.pop("landmark")

    edit_records(copied, change)
    np.save(copied / "data" / "lm" / "2.npy", np.zeros(212, np.float32))
    assert train("out", *LORA) == 0
    expected = (
        "Facial priors of 7 records (1 more are text only): 5 have one; 1 without a face (not found); "
        "1 without a prior."
    )
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("faces", [1, FEWEST_FACES - 1])
def test_too_few_faces_for_statistics(train, copied, capsys, faces):
    write_store(copied, *["found"] * faces, *["not_found"] * (8 - faces))
    assert train("out", *STORED) == 2
    error = capsys.readouterr().err
    assert f"fitted to {faces} different faces; {FEWEST_FACES} are the least" in error
    assert f"{8 - faces} without a face (not found)" in error


def test_the_same_face_eight_times_is_one_face(train, copied, capsys):
    for number in range(1, 8):
        (copied / "data" / "lm" / f"{number}.npy").write_bytes((copied / "data" / "lm" / "0.npy").read_bytes())
    assert train("out", *LORA, "--facial_prior_normalization", "pose") == 2
    assert "fitted to 1 different faces" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["none", "standardize"])
def test_no_face_at_all(train, copied, capsys, method):
    write_store(copied, *["not_found"] * 8)
    assert train("out", *STORED, "--facial_prior_normalization", method) == 2
    assert "no prior holds a face" in capsys.readouterr().err


def test_text_only_records_with_a_store(train, copied, capsys):
    write_store(copied, *["found"] * 8)

    def change(number, record):
        record.pop("image"), record.pop("landmark")
        record["conversations"][0]["value"] = "What is AU4?"

    edit_records(copied, change)
    assert train("out", *STORED) == 2
    assert "no record has a picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("landmark", "landmarks"), ("landmark", "lankmark"), ("image", "Image"), ("image", "images")],
)
def test_a_misspelt_key_is_an_error(train, copied, capsys, right, wrong):
    def change(number, record):
        if number < 2:
            record[wrong] = record.pop(right)

    edit_records(copied, change)
    assert train("out", *LORA) == 2
    error = capsys.readouterr().err
    assert "2 records have problems" in error and f"'{wrong}' is not read, and there is no '{right}'" in error


def test_data_validate_finds_it_as_well(copied):
    from llava_faba.datatools.validate import validate

    edit_records(copied, lambda number, record: record.update(landmarks=record.pop("landmark")))
    report = validate([copied / "data" / "train.json"], image_folder=copied / "data")
    assert [problem.kind for problem in report.problems].count("schema") == 8


def test_keys_of_other_datasets_are_left_alone(train, copied):
    more = {"image_id": 3, "landmarks": [[1, 2]], "images": ["a"], "subject": "7", "score": 0.5}
    edit_records(copied, lambda number, record: record.update(more))
    assert train("out", *LORA) == 0


def test_a_store_of_pictures_of_another_size(train, copied, capsys):
    """It belongs to another dataset of equal names."""
    from llava_faba.priors.writer import PriorStoreWriter, Row

    features = np.random.default_rng(0).normal(size=(8, 136)).astype(np.float32)
    with PriorStoreWriter(copied / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        writer.append(Row(f"img/{number}.png", features[number], "found", (640, 480)) for number in range(8))
    assert train("out", *STORED) == 2
    error = capsys.readouterr().err
    assert "8 of 8 pictures" in error and "belongs to other pictures" in error
