"""Label files as people report them (tests/data/field/, docs/field-cases.md): the right records, or a clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llava_faba.datatools.convert import Options, convert
from llava_faba.errors import UserError

FIELD = Path(__file__).parent.parent / "data" / "field"


def records(out: Path, kind: str) -> list[dict]:
    return [record for path in sorted(out.rglob(f"{kind}_*_anno.json")) for record in json.loads(path.read_text())]


def labels(out: Path) -> dict[str, str]:
    """Image file name to label, of training and evaluation records."""
    return {Path(one["image"]).name: one["label"] for kind in ("train", "eval") for one in records(out, kind)}


def test_rafdb_duplicates_contradicting_rows_are_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1 \(Sadness\) and .*line 6 \(Happiness\)(?s:.*)line 4.*line 7"):
        convert("rafdb", FIELD / "rafdb-duplicates", tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("policy", "label", "used", "left_out"),
    [("first", "Sadness", 5, 2), ("last", "Happiness", 5, 2), ("drop", None, 3, 4)],
)
def test_rafdb_duplicates_are_counted_when_somebody_says_which_row_counts(
    tmp_path: Path, policy: str, label: str | None, used: int, left_out: int
) -> None:
    report = convert("rafdb", FIELD / "rafdb-duplicates", tmp_path, Options(duplicates=policy))
    assert labels(tmp_path).get("train_00001_aligned.jpg") == label
    ids = [one["id"] for one in records(tmp_path, "train") + records(tmp_path, "eval")]
    assert len(ids) == len(set(ids)) == used
    assert (report["rows"]["read"], report["rows"]["used"]) == (7, used)
    assert sum(report["rows"]["left_out"].values()) == left_out


def test_gft_duplicate_frame_names_the_lines_and_the_units_that_differ(tmp_path: Path) -> None:
    root = FIELD / "gft-duplicate-frame"
    with pytest.raises(
        UserError, match=r"001A\.csv, line 3 \(AU4: 0, AU12: 1\) and 001A\.csv, line 4 \(AU4: 1, AU12: 0\)"
    ):
        convert("gft", root, tmp_path)
    report = convert("gft", root, tmp_path, Options(duplicates="last"))
    assert [one["label"] for one in records(tmp_path, "eval")] == ["", "4"]
    assert report["rows"] == {
        "unit": "rows",
        "read": 12,
        "used": 8,
        "left_out": {"contradicted by another row (--duplicates last)": 4},
    }


def test_disfa_gap_a_stray_image_moves_no_label_and_is_named(tmp_path: Path) -> None:
    root = FIELD / "disfa-gap"
    report = convert("disfa", root, tmp_path, Options(images=root / "frames", allow_missing=True))
    expected = {"00001.png": "", "00002.png": "", "00003.png": "12", "00004.png": ""}
    assert labels(tmp_path) == expected
    assert any("SN001/average_0.png" in note for note in report["notes"])


def test_gft_partition_word_the_first_line_is_not_taken_for_a_header(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"partition\.csv, line 1: '001A,val'"):
        convert("gft", FIELD / "gft-partition-word", tmp_path)


def test_emotionet_blank_is_not_coded(tmp_path: Path) -> None:
    report = convert("emotionet", FIELD / "emotionet-blank", tmp_path)
    assert report["left_out"] == {"a scored AU is not coded (999)": 1}
    assert (report["rows"]["read"], report["rows"]["used"]) == (4, 3)
    assert "N_0000000001_00003.jpg" not in labels(tmp_path)


def test_bp4d_appledouble_files_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "BP4D"
    shutil.copytree(FIELD / "bp4d-appledouble", root)
    frames = root / "2D+3D" / "F001" / "T1"
    (frames / "._2440.png").write_bytes(b"\0\5\26\7" + b"\0" * 20)
    report = convert("bp4d", root, tmp_path / "out", Options(allow_missing=True))
    assert labels(tmp_path / "out") == {"2440.png": "12", "2441.png": "12"}
    assert "1 hidden files were passed over" in report["notes"]


def test_rafdb_bom_the_first_row_is_read(tmp_path: Path) -> None:
    convert("rafdb", FIELD / "rafdb-bom", tmp_path)
    assert labels(tmp_path)["train_00001_aligned.jpg"] == "Sadness"
    assert len(labels(tmp_path)) == 5
