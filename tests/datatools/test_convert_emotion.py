"""RAF-DB and AffectNet: labels, splits, wording, and trees that do not fit."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from faba_bench.reference.emotion import read_emotion
from PIL import Image

from llava_faba.datatools.convert import Options, convert
from llava_faba.datatools.wording import EMOTION_TEMPLATES, emotion_answer
from llava_faba.errors import UserError

RAFDB = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
AFFECTNET = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")


def test_rafdb_keeps_the_official_split_and_label_order(rafdb_tree: Path, tmp_path: Path, load) -> None:
    convert("rafdb", rafdb_tree, tmp_path / "out")
    train = load(tmp_path / "out" / "train_emotion_anno.json")
    evaluation = load(tmp_path / "out" / "eval_emotion_anno.json")
    assert (len(train), len(evaluation)) == (11, 7)
    for record in (*train, *evaluation):
        number = int(record["id"].rsplit("_", 1)[1])
        assert record["label"] == RAFDB[number % 7]
    assert train[0] == {
        "source": "RAF-DB",
        "image": "basic/Image/aligned/train_00001_aligned.jpg",
        "id": "RAF-DB/train_00001",
        "conversations": [
            {"from": "human", "value": "What emotions are conveyed by this face?\n<image>"},
            {"from": "gpt", "value": "The emotion conveyed by this face is fear."},
        ],
        "label": "Fear",
    }
    assert set(evaluation[0]) == {"source", "image", "id", "label", "gpt4"}


def test_every_image_path_opens_from_the_image_folder(rafdb_tree: Path, tmp_path: Path, load) -> None:
    convert("rafdb", rafdb_tree, tmp_path / "out", Options(image_folder=tmp_path))
    records = load(tmp_path / "out" / "train_emotion_anno.json")
    assert records[0]["image"].startswith("RAF-DB/basic/")
    for record in records:
        with Image.open(tmp_path / record["image"]) as image:
            image.load()


def test_rafdb_reads_other_crops_named_like_the_originals(rafdb_tree: Path, tmp_path: Path, load) -> None:
    crops = rafdb_tree / "crops"
    (rafdb_tree / "basic" / "Image" / "aligned").rename(crops)
    for path in crops.iterdir():
        path.rename(crops / path.name.replace("_aligned", ""))
    convert("rafdb", rafdb_tree, tmp_path / "out", Options(images=crops))
    assert load(tmp_path / "out" / "train_emotion_anno.json")[0]["image"] == "crops/train_00001.jpg"


def test_rafdb_names_the_first_missing_thing(rafdb_tree: Path, tmp_path: Path) -> None:
    image = rafdb_tree / "basic" / "Image" / "aligned" / "train_00003_aligned.jpg"
    image.unlink()
    with pytest.raises(UserError, match=r"line 3 names train_00003\.jpg"):
        convert("rafdb", rafdb_tree, tmp_path / "out")
    report = convert("rafdb", rafdb_tree, tmp_path / "out", Options(allow_missing=True))
    assert report["left_out"] == {"image missing": 1}
    assert report["splits"]["all"]["train"] == 10
    (rafdb_tree / "basic" / "EmoLabel" / "list_patition_label.txt").unlink()
    with pytest.raises(UserError, match=r"EmoLabel/list_patition_label\.txt"):
        convert("rafdb", rafdb_tree, tmp_path / "out")
    with pytest.raises(UserError, match="is not a folder"):
        convert("rafdb", tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("line", ["train_00001.jpg 8", "train_00001.jpg", "img.jpg 3", "train_00001.jpg x"])
def test_rafdb_names_file_and_line_of_a_bad_label(rafdb_tree: Path, tmp_path: Path, line: str) -> None:
    listing = rafdb_tree / "basic" / "EmoLabel" / "list_patition_label.txt"
    listing.write_text("train_00001.jpg 1\n" + line + "\n")
    with pytest.raises(UserError, match=r"list_patition_label\.txt, line 2"):
        convert("rafdb", rafdb_tree, tmp_path / "out")


@pytest.mark.parametrize("tree", ["affectnet_cropped", "affectnet_lists"])
@pytest.mark.parametrize("classes", [7, 8])
def test_affectnet_both_layouts(tree: str, classes: int, request, tmp_path: Path, load) -> None:
    root = request.getfixturevalue(tree)
    report = convert("affectnet", root, tmp_path / "out", Options(classes=classes))
    train = load(tmp_path / "out" / "train_emotion_anno.json")
    evaluation = load(tmp_path / "out" / "eval_emotion_anno.json")
    assert [record["label"] for record in train] == list(AFFECTNET[:classes])
    assert [record["label"] for record in evaluation] == list(AFFECTNET[:classes])
    assert report["left_out"]["no expression: None"] == 1
    assert report["left_out"]["no expression: No-Face"] == 1
    assert report["left_out"].get("Contempt (7 classes asked for)") == (2 if classes == 7 else None)
    assert bool(report["notes"]) == (classes == 8)
    for record in (*train, *evaluation):
        assert (root / record["image"]).is_file()


def test_affectnet_names_the_first_missing_thing(affectnet_cropped: Path, tmp_path: Path) -> None:
    (affectnet_cropped / "train_set" / "images" / "103.jpg").unlink()
    with pytest.raises(UserError, match=r"103\.jpg \(annotated by 103_exp\.npy\)"):
        convert("affectnet", affectnet_cropped, tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"Manually_Annotated_file_lists/training\.csv"):
        convert("affectnet", empty, tmp_path / "out")


def test_affectnet_does_not_unpickle_annotations(affectnet_cropped: Path, tmp_path: Path) -> None:
    import numpy as np

    np.save(affectnet_cropped / "train_set" / "annotations" / "100_exp.npy", np.array({"a": 1}), allow_pickle=True)
    with pytest.raises(UserError, match=r"cannot read the expression in .*100_exp\.npy"):
        convert("affectnet", affectnet_cropped, tmp_path / "out")


@pytest.mark.parametrize("name", sorted(set(RAFDB)))
def test_every_emotion_wording_reads_back_by_the_reference_parser(name: str) -> None:
    for template in EMOTION_TEMPLATES:
        assert read_emotion(template.format(name=name.lower())).value == name
    assert {emotion_answer(name, random.Random(seed)) for seed in range(60)} == {
        template.format(name=name.lower()) for template in EMOTION_TEMPLATES
    }


def test_wording_varies_under_a_seed_and_only_then(rafdb_tree: Path, tmp_path: Path, load) -> None:
    def run(**options: object) -> list[dict]:
        convert("rafdb", rafdb_tree, tmp_path / "out", Options(**options))
        return load(tmp_path / "out" / "train_emotion_anno.json")

    def questions(records: list[dict]) -> set[str]:
        return {record["conversations"][0]["value"] for record in records}

    assert len(questions(run())) == 1
    varied = run(vary_questions=True, vary_answers=True, seed=1)
    assert len(questions(varied)) > 1
    assert all(value.endswith("\n<image>") for value in questions(varied))
    assert varied == run(vary_questions=True, vary_answers=True, seed=1)
    assert varied != run(vary_questions=True, vary_answers=True, seed=2)


def test_class_balance_caps_training_only(rafdb_tree: Path, tmp_path: Path, load) -> None:
    report = convert("rafdb", rafdb_tree, tmp_path / "out", Options(max_per_class=1, seed=3))
    labels = Counter(record["label"] for record in load(tmp_path / "out" / "train_emotion_anno.json"))
    assert labels == dict.fromkeys(RAFDB, 1)
    assert report["splits"]["all"] | {"train": 7, "eval": 7, "train_before_sampling": 11} == report["splits"]["all"]


def test_report_is_written_with_hashes_and_options(rafdb_tree: Path, tmp_path: Path) -> None:
    import hashlib

    report = convert("rafdb", rafdb_tree, tmp_path / "out", Options(seed=5))
    assert report == json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert report["options"]["seed"] == 5
    for name, digest in report["splits"]["all"]["sha256"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"classes": 9}, {"intensity": 6}, {"eval_fraction": 1.0}, {"unknown": "maybe"}]
)
def test_senseless_options_are_refused(options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options)).replace("_", "-")):
        Options(**options)


def test_unknown_dataset_suggests_a_known_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'disfa'"):
        convert("difsa", tmp_path, tmp_path)
