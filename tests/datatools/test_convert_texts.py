"""FEA-20K, FERBench and MERR: their label files as the public loaders read them, to records; absent media are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faba_bench
import pytest

from llava_faba.cli.main import main
from llava_faba.datatools.convert import Options, convert
from llava_faba.datatools.validate import validate
from llava_faba.errors import UserError

Paint = Callable[..., Path]
Load = Callable[[Path], list[dict[str, Any]]]


def fea(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "dataset": "FABA",
        "image": f"FABA/{number}.jpg",
        "question": "What is the emotion of this face?",
        "AUs": ["AU1", "AU12"],
        "labels": ["happiness"],
        "description": f"Face {number}: the lip corners are pulled up, a sign of happiness.",
        "meta_info": {},
        **more,
    }


def lines(path: Path, items: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")


@pytest.fixture
def fea20k(tmp_path: Path, paint: Paint) -> Path:
    root = tmp_path / "FEA-20K"
    for number in range(8):
        paint(root / "FABA" / f"{number}.jpg")
    lines(
        root / "FABA-Train-stage1.jsonl",
        [
            fea(0),
            fea(1, labels=["Contempt"]),
            fea(2, labels=["fear", "anger"]),
            fea(3, labels=[], AUs=["AU4", "AU32"]),
            fea(4, AUs=[]),
        ],
    )
    lines(root / "FABA-Train-stage2.jsonl", [fea(0, description="Another text.")])
    lines(root / "FABA-Test.jsonl", [fea(5, labels=["sad"]), fea(6, labels=["neutral"], AUs=["AU01"])])
    return root


def test_fea20k_by_task(fea20k: Path, tmp_path: Path, load: Load) -> None:
    report = convert("fea20k", fea20k, tmp_path / "emotion")
    assert report["rows"]["left_out"] == {
        "Contempt (--classes 8 takes it)": 1,
        "no emotion given": 1,
        "several emotions": 1,
    }
    assert report["found"]["source"].startswith("https://") and "not stated" in report["found"]["licence"]
    assert any("FABA-Train-stage2.jsonl was not read" in note for note in report["notes"])
    train = load(tmp_path / "emotion" / "train_emotion_anno.json")
    assert [(one["label"], one["conversations"][1]["value"][:7]) for one in train] == [
        ("Happiness", "Face 0:"),
        ("Happiness", "Face 4:"),
    ]
    evaluation = load(tmp_path / "emotion" / "eval_emotion_anno.json")
    assert [one["label"] for one in evaluation] == ["Sadness", "Neutral"] and evaluation[0]["gpt4"].startswith("Face 5")

    report = convert("fea20k", fea20k, tmp_path / "au", Options(task="au"))
    train = load(tmp_path / "au" / "train_au_anno.json")
    assert [one["label"] for one in train] == ["1, 12", "1, 12", "1, 12", "4"]
    assert sum(report["rows"]["left_out"].values()) == 1 and "no AU listed" in next(iter(report["rows"]["left_out"]))
    assert any("left out of the labels: AU32 1" in note for note in report["notes"])
    checked = validate([tmp_path / "au" / "train_au_anno.json"], image_folder=fea20k, near_duplicates=False)
    assert checked.ok, checked.to_text()


def test_missing_pictures_are_named(fea20k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (0, 5):
        (fea20k / "FABA" / f"{number}.jpg").unlink()
    with pytest.raises(UserError, match=r"2 pictures are not below .*FABA/5\.jpg, FABA/0\.jpg"):
        convert("fea20k", fea20k, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    arguments = ["data", "convert", "fea20k", "--root", str(fea20k), "--out", str(tmp_path / "out"), "--allow-missing"]
    assert main(arguments) == 0
    assert "missing: FABA/0.jpg" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert report["missing_media"] == ["FABA/0.jpg", "FABA/5.jpg"]
    assert report["rows"]["left_out"]["the picture is not there"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "../../etc/passwd"}, "passwd"),
        ({"image": 5}, "'image' is no text"),
        ({"AUs": "AU1"}, "must be a list"),
        ({"AUs": ["smile"]}, "no action unit"),
        ({"description": ""}, "'description'"),
    ],
)
def test_damaged_records_are_sentences(fea20k: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    lines(fea20k / "FABA-Test.jsonl", [fea(5), fea(6, **change)])
    with pytest.raises(UserError, match=said):
        convert("fea20k", fea20k, tmp_path / "out", Options(task="au"))


def test_a_file_of_no_part_is_not_guessed(fea20k: Path, tmp_path: Path) -> None:
    lines(fea20k / "JAFFE.jsonl", [fea(7)])
    with pytest.raises(UserError, match="neither 'Train' nor 'Test'"):
        convert("fea20k", fea20k, tmp_path / "out")


def qa(path: str, label: str) -> dict[str, Any]:
    return {"image_path": path, "true_label": label, "prompt": "Which?", "candidate_labels": ["happy", "sad"]}


def test_ferbench_is_evaluated_on_and_its_answers_are_trained_on(tmp_path: Path, paint: Paint, load: Load) -> None:
    root, images = tmp_path / "UniFER", tmp_path / "sets"
    for name in ("RAF-DB/aligned/test_1_aligned.jpg", "FERPlus/test/happy/fer1.png", "FERPlus/train/sad/fer2.png"):
        paint(images / name)
    rafdb = [qa("/RAF-DB/aligned/test_1_aligned.jpg", "neutral"), qa("/RAF-DB/aligned/test_2_aligned.jpg", "fear")]
    path = root / "eval_rafdb" / "data" / "rafdb_qa.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rafdb))
    path = root / "eval_ferplus" / "data" / "ferplus_qa.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([qa("/FERPlus/test/happy/fer1.png", "happy"), qa("/FERPlus/test/x.png", "contempt")]))
    cot = [
        {"image_path": "/FERPlus/train/sad/fer2.png", "response": "<think>Drooping lids.</think><answer>sad</answer>"},
        {"image_path": "/FERPlus/train/sad/fer3.png", "response": "<think>No end"},
    ]
    (root / "UniFER_CoT_230K.json").write_text(json.dumps(cot))
    report = convert(
        "ferbench", root, tmp_path / "out", Options(images=images, image_folder=images, allow_missing=True)
    )
    assert report["missing_media"] == ["RAF-DB/aligned/test_2_aligned.jpg"]
    assert report["rows"]["read"] == 6 and report["rows"]["used"] == 3
    records = load(tmp_path / "out" / "eval_emotion_anno.json")
    assert {record["label"] for record in records} == {"Neutral", "Happiness"}
    (taught,) = load(tmp_path / "out" / "train_emotion_anno.json")
    assert taught["label"] == "Sadness" and taught["conversations"][1]["value"].endswith("<answer>sad</answer>")
    answers = [{"question_id": one["id"], "text": one["label"]} for one in records]
    result = faba_bench.score("emotion", "faba", tmp_path / "out" / "eval_emotion_anno.json", answers, bootstrap=0)
    assert result["modes"]["strict"]["s_re"] == 100.0


def test_merr_is_peak_frames_and_says_which_are_missing(tmp_path: Path, paint: Paint, load: Load) -> None:
    root, frames = tmp_path / "MERR", tmp_path / "frames"
    root.mkdir()
    paint(frames / "sample_00000047.jpg")

    def entry(emotion: str, caption: str = "A smile and a bright voice.") -> dict[str, Any]:
        return {"pseu_emotion": emotion, "peak_index": "23", "AU_list": ["AU06", "AU12"], "smp_reason_caption": caption}

    samples = {
        "sample_00000047": entry("happy"),
        "sample_00000048": entry("surprise"),
        "sample_00000049": entry("worried"),
        "sample_00000050": entry("sad", ""),
    }
    (root / "MERR_fine_grained.json").write_text(json.dumps(samples))
    report = convert("merr", root, tmp_path / "out", Options(images=frames, image_folder=frames, allow_missing=True))
    assert report["missing_media"] == ["sample_00000048.png (frame 23 of the clip)"]
    assert report["rows"]["left_out"] == {
        "no class of FABA-Bench: worried": 1,
        "no description": 1,
        "the picture is not there": 1,
    }
    (record,) = load(tmp_path / "out" / "train_emotion_anno.json")
    assert record["image"] == "sample_00000047.jpg" and record["label"] == "Happiness"
    assert load(tmp_path / "out" / "eval_emotion_anno.json") == []
    (root / "MERR_fine_grained.json").write_text(json.dumps(list(samples.values())))
    with pytest.raises(UserError, match="object of samples by their names"):
        convert("merr", root, tmp_path / "out", Options(images=frames))


def test_options_of_other_sets_are_refused(fea20k: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--task has no effect on merr"):
        convert("merr", fea20k, tmp_path / "out", Options(task="au"))
    with pytest.raises(UserError, match="--task must be emotion or au"):
        Options(task="va")
