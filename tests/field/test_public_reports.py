"""Further cases from public reports (docs/field-cases.md, "Found in public reports"): inputs are made here."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_trees import TREES, picture

from llava_faba.data.records import find_problems
from llava_faba.datatools.convert import convert
from llava_faba.datatools.validate import validate
from llava_faba.errors import RecordError, UserError
from llava_faba.priors.sources import images_in


def labels(out: Path) -> dict[str, str]:
    files = sorted(out.rglob("*_anno.json"))
    return {one["image"].rsplit("/", 1)[-1]: one["label"] for path in files for one in json.loads(path.read_text())}


def test_rafdb_names_without_a_suffix_and_a_row_given_twice(tmp_path: Path) -> None:
    """Occlusion lists of RAF-DB: 'test_2464_aligned 6', one of them twice."""
    tree = TREES["rafdb"](tmp_path / "root")
    lines = [line.replace(".jpg", "_aligned") for line in tree.tables[0].read_text().splitlines()]
    tree.tables[0].write_text("\n".join([*lines, lines[2]]) + "\n")
    report = convert("rafdb", tree.root, tmp_path / "out", tree.given())
    assert len(labels(tmp_path / "out")) == 4
    assert report["left_out"] == {"named twice, with the same label": 1}
    assert (report["rows"]["read"], report["rows"]["used"]) == (5, 4)


@pytest.mark.parametrize("name", ["rafdb", "affectnet", "emotionet"])
@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_a_list_names_other_suffixes_than_the_crops_have(tmp_path: Path, name: str, suffix: str) -> None:
    """Lists that say .bmp for images that were saved as .png."""
    tree = TREES[name](tmp_path / "root")
    convert(name, tree.root, tmp_path / "clean", tree.given())
    for path in list(tree.root.rglob("*.jpg")):
        path.rename(path.with_suffix(suffix))
    for table in tree.tables:
        table.write_text(table.read_text().replace(".jpg", ".bmp"))
    convert(name, tree.root, tmp_path / "out", tree.given())
    clean = {Path(image).stem: label for image, label in labels(tmp_path / "clean").items()}
    assert {Path(image).stem: label for image, label in labels(tmp_path / "out").items()} == clean


def test_one_image_with_several_people_and_labels(tmp_path: Path) -> None:
    """ExpW's list names a picture once for each face in it: a label that contradicts the other, not a sample more."""
    tree = TREES["emotionet"](tmp_path / "root")
    header, first, *rest = tree.tables[0].read_text().splitlines()
    cells = first.split(",")
    cells[2] = "1"
    tree.tables[0].write_text("\n".join([header, first, ",".join(cells), *rest]) + "\n")
    with pytest.raises(UserError, match=r"line 2 \(AU1: 0\) and .*line 3 \(AU1: 1\)"):
        convert("emotionet", tree.root, tmp_path / "out", tree.given())


def test_disfa_units_are_told_by_the_files_name_not_by_their_order(tmp_path: Path) -> None:
    """A script that took the label files in the order of the folder put AU12 into AU2's column."""
    tree = TREES["disfa"](tmp_path / "root")
    for table in tree.tables:
        table.rename(table.with_name(table.name.upper()))
    convert("disfa", tree.root, tmp_path / "out", tree.given())
    assert set(labels(tmp_path / "out").values()) == {"", "12"}


def test_pictures_of_the_test_part_copied_into_training(tmp_path: Path) -> None:
    """A copy of RAF-DB on the web whose training folder holds the test pictures, renamed or compressed again."""
    tree = TREES["rafdb"](tmp_path / "root")
    source = tree.images / "test_0001_aligned.jpg"
    with Image.effect_noise((64, 64), 90) as noise:
        noise.convert("RGB").save(source, quality=95)
    shutil.copyfile(source, tree.images / "train_00001_aligned.jpg")
    with pytest.raises(UserError, match="in the training and in the evaluation data"):
        convert("rafdb", tree.root, tmp_path / "out", tree.given())
    with Image.open(source) as image:
        image.save(tree.images / "train_00001_aligned.jpg", quality=90)
    convert("rafdb", tree.root, tmp_path / "out", tree.given())
    files = sorted((tmp_path / "out").glob("*_anno.json"))
    found = validate(files, image_folder=tree.root).problems
    assert [one.kind for one in found if "train_00001" in one.message and "test_0001" in one.message] == [
        "leakage-near"
    ]


class NoPriors:
    size = None

    def get(self, record: object) -> None:
        return None


@pytest.mark.parametrize("image", [["a.png"], {"path": "a.png"}, None, ""])
def test_an_image_that_is_a_list_is_named_by_training_and_validate(tmp_path: Path, image: object) -> None:
    """Data made for another trainer gives 'image' as a list."""
    picture(tmp_path / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "AU1 is active."}]
    record = {"id": "1", "image": image, "conversations": turns}
    (problem,) = find_problems([record], tmp_path, NoPriors())
    assert "'image' is not a path" in problem.message
    (tmp_path / "train.json").write_text(json.dumps([record]))
    assert not validate([tmp_path / "train.json"], image_folder=tmp_path).ok


def test_ids_given_twice_are_found(tmp_path: Path) -> None:
    """A training file of 665,000 records with many ids twice, whose other annotations were joined by id."""
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "AU1 is active."}]
    (tmp_path / "t.json").write_text(json.dumps([{"id": "7", "conversations": turns}] * 2))
    assert [one.kind for one in validate([tmp_path / "t.json"]).problems] == ["duplicate-id"]


@pytest.mark.parametrize("name", ["/etc/hostname", "../x.png", "pipe"])
def test_priors_are_not_extracted_of_what_is_no_image_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    picture(tmp_path / "x.png")
    os.mkfifo(folder / "pipe")
    (tmp_path / "r.json").write_text(json.dumps([{"image": name}, {"image": "missing.png"}]))
    with pytest.raises(RecordError, match=r"absolute|leads out|not a regular file"):
        images_in(None, [tmp_path / "r.json"], folder)
