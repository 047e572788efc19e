"""BP4D, DISFA, GFT, EmotioNet: codes, folds, frames, and trees that do not fit."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from faba_bench.reference.au import read_aus

from llava_faba.datatools.convert import Options, convert
from llava_faba.datatools.convert.tree import load_folds
from llava_faba.datatools.wording import au_answer
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_protocol


@pytest.mark.parametrize(("name", "count"), [("bp4d", 41), ("disfa", 27)])
def test_folds_hold_every_subject_once(name: str, count: int) -> None:
    folds = load_folds(name)
    subjects = [subject for group in folds.values() for subject in group]
    assert list(folds) == ["fold1", "fold2", "fold3"]
    assert len(subjects) == len(set(subjects)) == count


def test_bp4d_folds_are_subject_exclusive_and_complete(bp4d_master: Path, tmp_path: Path, load) -> None:
    report = convert("bp4d", bp4d_master, tmp_path / "out")
    # 41 subjects x 8 tasks x 3 frames, of which the third has an uncoded scored AU
    assert report["left_out"] == {"a scored AU is not coded (9)": 41 * 8}
    evaluated: list[str] = []
    for fold, held_out in load_folds("bp4d").items():
        train = load(tmp_path / "out" / fold / "train_au_anno.json")
        evaluation = load(tmp_path / "out" / fold / "eval_au_anno.json")
        assert {record["subject"] for record in evaluation} == set(held_out)
        assert not {record["subject"] for record in train} & set(held_out)
        assert len(train) + len(evaluation) == 41 * 8 * 2
        evaluated += [record["id"] for record in evaluation]
    assert len(evaluated) == len(set(evaluated)) == 41 * 8 * 2


def test_bp4d_labels_answers_and_paths(bp4d_master: Path, tmp_path: Path, load) -> None:
    convert("bp4d", bp4d_master, tmp_path / "out")
    train = load(tmp_path / "out" / "fold1" / "train_au_anno.json")
    for record in train:
        frame = int(record["id"].rsplit("/", 1)[1])
        assert record["label"] == ("1, 12" if frame == 41 else "")
        answer = record["conversations"][1]["value"]
        assert list(read_aus(answer, au_protocol("bp4d").vocabulary).value) == ([1, 12] if frame == 41 else [])
        path = bp4d_master / record["image"]
        assert path.is_file()
        assert int(path.stem) == frame
    assert train[0]["conversations"] == [
        {"from": "human", "value": "What AUs are conveyed by this face?\n<image>"},
        {"from": "gpt", "value": "AU1 - Inner brow raiser. AU12 - Lip corner puller."},
    ]


def test_bp4d_sampling_is_per_sequence_and_seeded(bp4d_master: Path, tmp_path: Path, load) -> None:
    def train(**options: object) -> list[dict]:
        convert("bp4d", bp4d_master, tmp_path / "out", Options(**options))
        return load(tmp_path / "out" / "fold2" / "train_au_anno.json")

    every = train(every=2)
    assert {record["id"].rsplit("/", 1)[1] for record in every} == {"41"}
    assert len(every) == 27 * 8
    assert len(load(tmp_path / "out" / "fold2" / "eval_au_anno.json")) == 14 * 8 * 2
    few = train(max_per_subject=3, seed=1)
    assert len(few) == 27 * 3
    assert few == train(max_per_subject=3, seed=1)
    assert few != train(max_per_subject=3, seed=2)
    balanced = train(max_per_class=5)
    assert sum(record["label"] == "" for record in balanced) == 5
    assert sum("12" in record["label"] for record in balanced) == 5


def test_bp4d_names_the_first_missing_thing(bp4d_master: Path, tmp_path: Path) -> None:
    root = tmp_path / "BP4D"
    shutil.copytree(bp4d_master, root)
    (root / "2D+3D" / "F003" / "T2" / "41.jpg").unlink()
    with pytest.raises(UserError, match=r"F003_T2\.csv, line 2: no image of frame 41 of F003/T2"):
        convert("bp4d", root, tmp_path / "out")
    shutil.rmtree(root / "2D+3D" / "F002")
    with pytest.raises(UserError, match=r"missing .*F002.T1"):
        convert("bp4d", root, tmp_path / "out")
    report = convert("bp4d", root, tmp_path / "out", Options(allow_missing=True))
    assert report["left_out"]["sequence missing"] == 8
    assert report["left_out"]["image missing"] == 1
    shutil.rmtree(root / "AUCoding")
    with pytest.raises(UserError, match="AUCoding/AU_OCC"):
        convert("bp4d", root, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0,1,2\n41,0,0\n", "heads no column for AU 4, 6"),
        ("HEADER\n41" + ",0" * 99 + "\n42,3" + ",0" * 98 + "\n", r"line 3: AU code \{1: 3\}"),
        ("HEADER\nx" + ",0" * 99 + "\n", "line 2: the frame number is 'x'"),
        ("HEADER\n41,0\n", "line 2: 2 columns"),
    ],
)
def test_bp4d_names_file_and_line_of_a_bad_code(bp4d_master: Path, tmp_path: Path, content: str, message: str) -> None:
    root = tmp_path / "BP4D"
    shutil.copytree(bp4d_master, root)
    header = ",".join(str(number) for number in range(100))
    (root / "AUCoding" / "AU_OCC" / "F001_T1.csv").write_text(content.replace("HEADER", header))
    with pytest.raises(UserError, match=r"F001_T1\.csv.*" + message):
        convert("bp4d", root, tmp_path / "out")


def test_disfa_threshold_subjects_and_the_short_video(disfa_tree: Path, tmp_path: Path, load) -> None:
    report = convert("disfa", disfa_tree, tmp_path / "out")
    assert report["left_out"] == {"label behind the last frame of the video": 27}
    evaluated = set()
    for fold in ("fold1", "fold2", "fold3"):
        for record in load(tmp_path / "out" / fold / "eval_au_anno.json"):
            frame = int(record["id"].rsplit("/", 1)[1])
            assert record["label"] == ("12" if frame >= 3 else "")
            assert int(Path(record["image"]).stem[-5:]) == frame
            evaluated.add(record["subject"])
    assert len(evaluated) == 27
    convert("disfa", disfa_tree, tmp_path / "one", Options(intensity=1))
    labels = [record["label"] for record in load(tmp_path / "one" / "fold1" / "eval_au_anno.json")[:4]]
    assert labels == ["", "12", "12", "12"]


def test_disfa_frames_numbered_from_zero_are_recognised(disfa_tree: Path, tmp_path: Path, load) -> None:
    frames = disfa_tree / "Videos_LeftCamera_frames"
    for folder in frames.iterdir():
        for path in sorted(folder.iterdir()):
            number = int(path.stem[-5:]) - 1
            path.rename(folder / f"{number}.jpg")
    report = convert("disfa", disfa_tree, tmp_path / "out")
    assert report["notes"] == ["image 0 was taken for the first label line"]
    record = load(tmp_path / "out" / "fold1" / "eval_au_anno.json")[2]
    assert (record["id"], Path(record["image"]).stem, record["label"]) == ("DISFA/SN003/3", "2", "12")


def test_disfa_names_the_first_missing_thing(disfa_tree: Path, tmp_path: Path) -> None:
    (disfa_tree / "ActionUnit_Labels" / "SN006" / "SN006_au4.txt").unlink()
    with pytest.raises(UserError, match=r"SN006_au4\.txt"):
        convert("disfa", disfa_tree, tmp_path / "out")
    videos = disfa_tree / "Videos_LeftCamera"
    shutil.rmtree(disfa_tree / "Videos_LeftCamera_frames")
    videos.mkdir()
    (videos / "LeftVideoSN001_comp.avi").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"SN001.*ffmpeg -i LeftVideoSN001_comp\.avi"):
        convert("disfa", disfa_tree, tmp_path / "out")


def test_disfa_a_gap_in_the_frames_is_an_error(disfa_tree: Path, tmp_path: Path) -> None:
    folder = disfa_tree / "Videos_LeftCamera_frames" / "LeftVideoSN002_comp"
    (folder / "LeftVideoSN002_comp_00002.jpg").unlink()
    with pytest.raises(UserError, match=r"no image number 2 of SN002"):
        convert("disfa", disfa_tree, tmp_path / "out")


def test_gft_partition_vocabulary_and_uncoded_frames(gft_tree: Path, tmp_path: Path, load) -> None:
    report = convert("gft", gft_tree, tmp_path / "out")
    train = load(tmp_path / "out" / "train_au_anno.json")
    evaluation = load(tmp_path / "out" / "eval_au_anno.json")
    assert {record["subject"] for record in train} == {"001A", "001B"}
    assert {record["subject"] for record in evaluation} == {"002C"}
    # AU 18 belongs to the vocabulary, AU 11 does not, AU 5 is never coded and that does not matter
    assert [record["label"] for record in evaluation] == ["6, 12, 18", ""]
    assert report["left_out"] == {"a scored AU is not coded": 3}
    assert any("papers report 78" in note for note in report["notes"])


def test_gft_asks_for_the_partition_it_does_not_know(gft_tree: Path, tmp_path: Path) -> None:
    partition = gft_tree / "partition.csv"
    partition.write_text("001A,train\n001A,test\n")
    with pytest.raises(UserError, match="001A is on both sides"):
        convert("gft", gft_tree, tmp_path / "out")
    partition.unlink()
    with pytest.raises(UserError, match="--partition"):
        convert("gft", gft_tree, tmp_path / "out")
    own = tmp_path / "p.csv"
    own.write_text("001A,train\n009C,test\n")
    with pytest.raises(UserError, match=r"missing .*009C\.csv"):
        convert("gft", gft_tree, tmp_path / "out", Options(partition=own))


def test_emotionet_counts_what_is_left_out(emotionet_tree: Path, tmp_path: Path, load) -> None:
    report = convert("emotionet", emotionet_tree, tmp_path / "out")
    train = load(tmp_path / "out" / "train_au_anno.json")
    evaluation = load(tmp_path / "out" / "eval_au_anno.json")
    assert report["left_out"] == {"a scored AU is not coded (999)": 5, "image not downloaded": 3}
    assert len(train) + len(evaluation) == 32
    assert {record["label"] for record in (*train, *evaluation)} == {"12, 25", ""}
    assert not {record["id"] for record in train} & {record["id"] for record in evaluation}
    absent = convert("emotionet", emotionet_tree, tmp_path / "absent", Options(unknown="absent"))
    assert absent["left_out"] == {"image not downloaded": 4}


def test_emotionet_split_does_not_move_with_the_other_images(emotionet_tree: Path, tmp_path: Path, load) -> None:
    def held_out(name: str, **options: object) -> set[str]:
        convert("emotionet", emotionet_tree, tmp_path / name, Options(**options))
        return {record["id"] for record in load(tmp_path / name / "eval_au_anno.json")}

    before = held_out("a")
    other_seed = held_out("b", seed=1)
    shutil.rmtree(emotionet_tree / "images" / "N_0000000100")
    after = held_out("c")
    assert after < before
    assert other_seed != before


def test_emotionet_reads_headerless_lists(emotionet_tree: Path, tmp_path: Path) -> None:
    table = emotionet_tree / "EmotioNet_FACS_aws_2020_24600.csv"
    expected = convert("emotionet", emotionet_tree, tmp_path / "csv")["splits"]["all"]["sha256"]
    rows = table.read_text().splitlines()[1:]
    table.unlink()
    for part, chunk in enumerate((rows[:20], rows[20:])):
        text = "\n".join(row.replace("'", "").replace(",", "\t") for row in chunk)
        (emotionet_tree / f"dataFile_{part}.txt").write_text(text + "\n")
    assert convert("emotionet", emotionet_tree, tmp_path / "txt")["splits"]["all"]["sha256"] == expected


def test_emotionet_reads_the_spreadsheet_that_is_handed_out(emotionet_tree: Path, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    table = emotionet_tree / "EmotioNet_FACS_aws_2020_24600.csv"
    expected = convert("emotionet", emotionet_tree, tmp_path / "csv")
    header, *rows = [[cell.strip("'") for cell in line.split(",")] for line in table.read_text().splitlines()]
    table.unlink()
    book = openpyxl.Workbook()
    for sheet, part in ((book.active, rows[:20]), (book.create_sheet("more"), rows[20:])):
        sheet.append(header)
        for url, original, *codes in part:
            sheet.append([url, original, *map(int, codes)])
    book.save(table.with_suffix(".xlsx"))
    found = convert("emotionet", emotionet_tree, tmp_path / "xlsx")
    assert found["splits"] == expected["splits"]
    assert found["left_out"] == expected["left_out"]
    book["more"]["C3"] = 7
    book.save(table.with_suffix(".xlsx"))
    with pytest.raises(UserError, match=r"24600\.xlsx, sheet 'more', line 3: AU code \{1: 7\}"):
        convert("emotionet", emotionet_tree, tmp_path / "out")


def test_emotionet_without_images_or_table_says_so(emotionet_tree: Path, tmp_path: Path) -> None:
    for path in (emotionet_tree / "images").rglob("*.jpg"):
        path.rename(path.with_name("x" + path.name))
    with pytest.raises(UserError, match="none of the 40 images"):
        convert("emotionet", emotionet_tree, tmp_path / "out")
    (emotionet_tree / "EmotioNet_FACS_aws_2020_24600.csv").rename(emotionet_tree / "labels.xlsx")
    with pytest.raises(UserError, match=r"labels\.xlsx is no readable Excel file.*password"):
        convert("emotionet", emotionet_tree, tmp_path / "out")
    (emotionet_tree / "labels.xlsx").unlink()
    with pytest.raises(UserError, match=r"no label table \(\*\.xlsx"):
        convert("emotionet", emotionet_tree, tmp_path / "out")


@pytest.mark.parametrize("protocol", ["bp4d", "disfa", "emotionet", "faba", "gft"])
def test_every_au_wording_reads_back_by_the_reference_parser(protocol: str) -> None:
    vocabulary = au_protocol(protocol).vocabulary
    rng = random.Random(protocol)
    for trial in range(200):
        aus = sorted(rng.sample(vocabulary, trial % (len(vocabulary) + 1)))
        for answer in (au_answer(aus), au_answer(aus, random.Random(trial))):
            assert sorted(read_aus(answer, vocabulary).value) == aus


def test_conversion_is_repeatable_to_the_byte(bp4d_master: Path, tmp_path: Path) -> None:
    options = Options(every=2, max_per_class=7, vary_answers=True, vary_questions=True, seed=9)
    first = convert("bp4d", bp4d_master, tmp_path / "a", options)
    second = convert("bp4d", bp4d_master, tmp_path / "b", options)
    assert json.dumps(first) == json.dumps(second)
