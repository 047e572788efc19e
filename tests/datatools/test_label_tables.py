"""Every converter reads its tables as people and tools write them, and what becomes of every row adds up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_trees import TREES, Tree, picture

from llava_faba.datatools.convert import Options, convert, tables
from llava_faba.datatools.convert.images import Census, numbered_images
from llava_faba.errors import UserError


@pytest.fixture(params=list(TREES))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[request.param](tmp_path / "root")


def everything(out: Path) -> dict[str, list[dict]]:
    return {
        path.relative_to(out).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(out.rglob("*_anno.json"))
    }


def adds_up(report: dict, out: Path) -> None:
    rows = report["rows"]
    assert rows["read"] == rows["used"] + sum(rows["left_out"].values())
    for split in report["splits"].values():
        assert split["train_before_sampling"] + split["eval_before_sampling"] == rows["used"]
    for fold, records in everything(out).items():
        ids = [record["id"] for record in records]
        assert len(ids) == len(set(ids)), fold


def run(tree: Tree, out: Path, **options: object) -> tuple[dict, dict]:
    report = convert(tree.name, tree.root, out, tree.given(**options))
    adds_up(report, out)
    return report, everything(out)


def each_line(change: Callable[[str], str]) -> Callable[[str, str], str]:
    return lambda text, delimiter: "".join(change(line) + "\n" for line in text.splitlines())


def other_delimiter(new: str) -> Callable[[str, str], str]:
    # AffectNet's landmarks hold semicolons of their own
    return lambda text, old: text.replace(";", "|").replace(old, new)


def quoted(mark: str) -> Callable[[str, str], str]:
    def change(text: str, delimiter: str) -> str:
        return "".join(
            delimiter.join(f"{mark}{c}{mark}" for c in line.split(delimiter)) + "\n" for line in text.splitlines()
        )

    return change


def decimals(text: str, delimiter: str) -> str:
    lines = [line.split(delimiter) for line in text.splitlines()]
    return "".join(delimiter.join(f"{c}.0" if c.isdecimal() else c for c in cells) + "\n" for cells in lines)


FORMS: dict[str, tuple[Callable[[str, str], str], str, str]] = {
    "byte order mark": (lambda text, _: text, "utf-8-sig", "\n"),
    "UTF-16": (lambda text, _: text, "utf-16", "\n"),
    "CRLF": (lambda text, _: text, "utf-8", "\r\n"),
    "CR": (lambda text, _: text, "utf-8", "\r"),
    "no newline at the end": (lambda text, _: text.rstrip("\n"), "utf-8", "\n"),
    "blank lines": (each_line(lambda line: f"{line}\n   "), "utf-8", "\n"),
    "blanks around": (each_line(lambda line: f"{line}  \t"), "utf-8", "\n"),
    "semicolons": (other_delimiter(";"), "utf-8", "\n"),
    "tabs": (other_delimiter("\t"), "utf-8", "\n"),
    "tabs and a mark": (other_delimiter("\t"), "utf-16", "\r\n"),
    "commas and blanks": (other_delimiter(", "), "utf-8", "\n"),
    "Excel's first line": (lambda text, old: "sep=;\n" + text.replace(";", "|").replace(old, ";"), "utf-8-sig", "\r\n"),
    "double quotes": (quoted('"'), "utf-8", "\n"),
    "single quotes": (quoted("'"), "utf-8", "\n"),
    "typographic quotes": (quoted("\u201d"), "utf-8", "\n"),
    "a stray quote": (each_line(lambda line: f'"{line}'), "utf-8", "\n"),
    "1.0": (decimals, "utf-8", "\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_another_form_gives_the_same_records(tree: Tree, tmp_path: Path, form: str) -> None:
    clean, expected = run(tree, tmp_path / "clean")
    change, encoding, newline = FORMS[form]
    for table in tree.tables:
        text = table.read_text()
        with table.open("w", encoding=encoding, newline=newline) as stream:
            stream.write(change(text, tree.delimiter))
    report, found = run(tree, tmp_path / "out")
    assert found == expected
    assert report["rows"] == clean["rows"]
    assert sum(map(len, found.values())) > 0


@pytest.mark.parametrize("junk", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"", b"\xef\xbb\xbf\n\n"])
def test_a_table_that_is_none_is_named(tree: Tree, tmp_path: Path, junk: bytes) -> None:
    tree.tables[0].write_bytes(junk)
    with pytest.raises(UserError) as caught:
        convert(tree.name, tree.root, tmp_path / "out", Options())
    assert tree.root.name in str(caught.value) or tree.tables[0].stem in str(caught.value)


def test_hidden_files_and_other_suffixes_are_passed_over_and_named(tree: Tree, tmp_path: Path) -> None:
    clean, expected = run(tree, tmp_path / "clean")
    first = sorted(tree.images.rglob("*.[jp][pn]g"))[0]
    (first.parent / f"._{first.name}").write_bytes(b"\0\5\26\7Mac OS X")
    (first.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (first.parent / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (first.parent / f"{first.stem}.jp2").write_bytes(b"\0\0\0\x0cjP")
    for table in tree.tables:
        (table.parent / f"._{table.name}").write_bytes(b"\0\5\26\7Mac OS X\n1,2,3")
    report, found = run(tree, tmp_path / "out")
    assert found == expected
    notes = "\n".join(report["notes"])
    if tree.name != "affectnet":  # whose lists name single files: no folder is listed
        assert "hidden files were passed over" in notes
        assert f".jp2 (such as {first.stem}.jp2)" in notes
    assert report["rows"] == clean["rows"]


@pytest.mark.parametrize("name", ["{stem} (1){suffix}", "Copy of {stem}{suffix}", "{stem}{suffix}.bak"])
def test_a_copy_of_a_label_file_is_not_read_silently(tree: Tree, tmp_path: Path, name: str) -> None:
    """Named, or read like the others and its rows counted; an older version of the labels must not go unseen."""
    _, expected = run(tree, tmp_path / "clean")
    copies = [table.with_name(name.format(stem=table.stem, suffix=table.suffix)) for table in tree.tables]
    for table, copied in zip(tree.tables, copies, strict=True):
        shutil.copy(table, copied)
    report, found = run(tree, tmp_path / "out")
    assert found == expected
    said = "\n".join(report["notes"])
    counted = report["left_out"].get("named twice, with the same label", 0) > 0
    assert counted or any(copied.stem in said or copied.name in said for copied in copies)


@pytest.mark.parametrize("suffix", [".JPG", ".PNG", ".Jpeg"])
def test_images_with_other_suffixes_and_capitals_are_found(tree: Tree, tmp_path: Path, suffix: str) -> None:
    if tree.name == "affectnet" and suffix == ".Jpeg":
        pytest.skip("a list's path is looked up in small and in capital letters")
    clean, _ = run(tree, tmp_path / "clean")
    for path in tree.root.rglob("*.[jp][pn]g"):
        path.rename(path.with_suffix(suffix))
    report, found = run(tree, tmp_path / "out", allow_missing=tree.name in ("bp4d", "disfa"))
    assert report["rows"] == clean["rows"]
    for records in found.values():
        assert all(Path(record["image"]).suffix == suffix for record in records)


def cell(tree: Tree, table: int, line: int, column: int, value: str) -> None:
    lines = tree.tables[table].read_text().splitlines()
    cells = lines[line].split(tree.delimiter)
    cells[column] = value
    lines[line] = tree.delimiter.join(cells)
    tree.tables[table].write_text("\n".join(lines) + "\n")


def add_row(tree: Tree, table: int, line: str) -> None:
    with tree.tables[table].open("a") as stream:
        stream.write(line + "\n")


# (table, line, column) of one label in each small tree, and another value for it
LABEL = {
    "rafdb": (0, 0, 1, "2"),
    "affectnet": (0, 1, 6, "3"),
    "bp4d": (0, 1, 12, "1"),
    "disfa": (4, 0, 1, "5"),
    "gft": (0, 1, 10, "1"),
    "emotionet": (0, 1, 13, "0"),
}


def test_rows_that_contradict_each_other(tree: Tree, tmp_path: Path) -> None:
    clean, expected = run(tree, tmp_path / "clean")
    table, line, column, other = LABEL[tree.name]
    row = tree.tables[table].read_text().splitlines()[line]
    add_row(tree, table, row)
    # the same again is counted
    report, found = run(tree, tmp_path / "same")
    assert found == expected
    assert report["rows"]["read"] == clean["rows"]["read"] + 1
    assert report["left_out"]["named twice, with the same label"] == 1
    lines = tree.tables[table].read_text().splitlines()
    cell(tree, table, len(lines) - 1, column, other)
    with pytest.raises(UserError, match=r"contradict each other") as caught:
        convert(tree.name, tree.root, tmp_path / "out", tree.given())
    assert tree.tables[table].stem.split("_au")[0] in str(caught.value)
    first_report, first = run(tree, tmp_path / "first", duplicates="first")
    assert first == expected
    last_report, last = run(tree, tmp_path / "last", duplicates="last")
    assert last != expected
    drop_report, _ = run(tree, tmp_path / "drop", duplicates="drop")
    assert first_report["rows"]["read"] == last_report["rows"]["read"] == drop_report["rows"]["read"]
    assert drop_report["rows"]["used"] == clean["rows"]["used"] - 1


@pytest.mark.parametrize("blank", ["", "NaN", "n/a"])
def test_an_empty_code_is_not_coded(tree: Tree, tmp_path: Path, blank: str) -> None:
    if tree.name == "rafdb":
        text = tree.tables[0].read_text().replace(" ", ",")
        tree.tables[0].write_text(text)
        tree.delimiter = ","
    clean, _ = run(tree, tmp_path / "clean")
    table, line, column, _ = LABEL[tree.name]
    cell(tree, table, line, column, blank)
    report, _ = run(tree, tmp_path / "out")
    assert report["rows"]["read"] == clean["rows"]["read"]
    assert report["rows"]["used"] == clean["rows"]["used"] - 1


@pytest.mark.parametrize("wrong", ["7x", "-3", "1.5", "inf", "9" * 5000, "1_0", "\x1b[2J"])
def test_a_code_that_is_none_is_named_with_its_line(tree: Tree, tmp_path: Path, wrong: str) -> None:
    table, line, column, _ = LABEL[tree.name]
    cell(tree, table, line, column, wrong)
    with pytest.raises(UserError, match=f"line {line + 1}") as caught:
        convert(tree.name, tree.root, tmp_path / "out", tree.given())
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_row_that_was_cut_is_named(tree: Tree, tmp_path: Path) -> None:
    text = tree.tables[0].read_text().rstrip("\n")
    tree.tables[0].write_text(text[: -2 if tree.name in ("rafdb", "disfa") else -9])
    with pytest.raises(UserError, match="line "):
        convert(tree.name, tree.root, tmp_path / "out", tree.given())


def test_a_missing_image_is_an_error_or_counted(tree: Tree, tmp_path: Path) -> None:
    clean, _ = run(tree, tmp_path / "clean")
    images = sorted(path for path in tree.root.rglob("*.[jp][pn]g"))
    images[1].unlink()
    report, _ = run(tree, tmp_path / "out")
    assert report["rows"]["read"] == clean["rows"]["read"]
    assert report["rows"]["used"] == clean["rows"]["used"] - 1


def test_options_without_an_effect_are_refused(tree: Tree, tmp_path: Path) -> None:
    foreign = {"intensity": 3} if tree.name != "disfa" else {"classes": 8}
    with pytest.raises(UserError, match="has no effect on"):
        convert(tree.name, tree.root, tmp_path / "out", tree.given(**foreign))
    for options in ({"every": 2}, {"eval_every": 2}, {"max_per_subject": 2}):
        if tree.name in ("bp4d", "disfa", "gft"):
            report, _ = run(tree, tmp_path / "out", **options)
            splits = report["splits"].values()
            assert any(split["train"] + split["eval"] < report["rows"]["used"] for split in splits)
        else:
            with pytest.raises(UserError, match="would have no effect"):
                convert(tree.name, tree.root, tmp_path / "out", tree.given(**options))


def test_the_same_picture_in_training_and_evaluation(tree: Tree, tmp_path: Path) -> None:
    clean, records = run(tree, tmp_path / "clean")
    folds: dict[str, dict[str, list[dict]]] = {}
    for name, own in records.items():
        folds.setdefault(Path(name).parent.name, {})[Path(name).name.split("_")[0]] = own
    kinds = next(one for one in folds.values() if one["train"] and one["eval"])
    one, other = (tree.root / kinds[kind][0]["image"] for kind in ("train", "eval"))
    shutil.copyfile(other, one)
    if tree.name in ("bp4d", "disfa", "gft"):
        report, _ = run(tree, tmp_path / "out")
        assert any("are also images of other people in the evaluation data" in note for note in report["notes"])
        return
    if tree.name == "emotionet":  # whose split is ours: the picture falls on one side
        _, found = run(tree, tmp_path / "out")
        sides = [
            [Path(record["image"]).name in (one.name, other.name) for record in own].count(True)
            for own in found.values()
        ]
        assert sorted(sides) == [0, 2]
        return
    with pytest.raises(UserError, match="in the training and in the evaluation data"):
        convert(tree.name, tree.root, tmp_path / "out", tree.given())
    report, _ = run(tree, tmp_path / "out", duplicates="drop")
    assert report["left_out"]["the same picture is in the evaluation data"] == 1
    assert report["rows"]["used"] == clean["rows"]["used"] - 1


def test_a_spreadsheets_row_numbers_are_not_the_frames(tmp_path: Path) -> None:
    """pandas' to_csv writes an index first: 0, 1, 2 would be taken for frames 0, 1, 2."""
    for name in ("bp4d", "gft"):
        tree = TREES[name](tmp_path / name)
        _, expected = run(tree, tmp_path / name / "clean")
        for table in tree.tables:
            if table.name == "partition.csv":
                continue
            header, *lines = table.read_text().splitlines()
            header = "," + header.replace("0,", "frame,", 1) if name == "bp4d" else "," + header
            table.write_text("\n".join([header, *(f"{n},{line}" for n, line in enumerate(lines, start=42))]) + "\n")
        assert run(tree, tmp_path / name / "out")[1] == expected


def test_two_columns_of_one_unit_are_an_error(tmp_path: Path) -> None:
    tree = TREES["gft"](tmp_path / "gft")
    text = tree.tables[0].read_text().replace("AU26", "AU01")
    tree.tables[0].write_text(text)
    with pytest.raises(UserError, match=r"two columns for AU 1: 'AU1' .*'AU01'"):
        convert("gft", tree.root, tmp_path / "out", tree.given())


@pytest.mark.parametrize("head", ["subject,split", "ID;Set", "Subject\tPartition"])
def test_a_partitions_header_is_one_by_its_words(tmp_path: Path, head: str) -> None:
    tree = TREES["gft"](tmp_path / "gft")
    _, expected = run(tree, tmp_path / "clean")
    delimiter = next(one for one in "\t;," if one in head)
    tree.tables[-1].write_text(f"{head}\n" + tree.tables[-1].read_text().replace(",", delimiter))
    assert run(tree, tmp_path / "out")[1] == expected


@pytest.mark.parametrize(
    "line", ["001A,val", "001A", "001A,trian", "001A,train,1", ",train", "001a,train", "../001A,train"]
)
def test_a_partitions_bad_line_is_named_wherever_it_stands(tmp_path: Path, line: str) -> None:
    tree = TREES["gft"](tmp_path / "gft")
    good = tree.tables[-1].read_text()
    for text in (f"{line}\n{good}", f"{good}{line}\n"):
        tree.tables[-1].write_text(text)
        with pytest.raises(UserError, match=r"partition\.csv"):
            convert("gft", tree.root, tmp_path / "out", tree.given())


class TestFrames:
    def test_disfa_is_decided_for_each_subject(self, tmp_path: Path) -> None:
        tree = TREES["disfa"](tmp_path / "disfa")
        _, expected = run(tree, tmp_path / "clean")
        folder = tree.root / "Images" / "SN003"
        for number in range(1, 5):
            (folder / f"{number:05d}.png").rename(folder / f"{number - 1}.png")
        report, found = run(tree, tmp_path / "out")
        want = {one["id"]: one["label"] for own in expected.values() for one in own}
        assert {one["id"]: one["label"] for own in found.values() for one in own} == want
        assert [one["image"] for one in found["fold1/eval_au_anno.json"]] == [f"Images/SN003/{n}.png" for n in range(4)]
        assert "image 0 was taken for the first label line of SN003" in report["notes"]

    def test_disfa_an_image_too_many_cannot_be_told(self, tmp_path: Path) -> None:
        tree = TREES["disfa"](tmp_path / "disfa")
        picture(tree.images / "00000.png")
        with pytest.raises(UserError, match="image 0 and an image 4, one more than"):
            convert("disfa", tree.root, tmp_path / "out", tree.given())
        report, found = run(tree, tmp_path / "out", first_frame=1)
        assert len(found["fold1/eval_au_anno.json"]) + len(found["fold1/train_au_anno.json"]) == 8
        assert "1 images have no row in the label files" in report["notes"]

    def test_disfa_one_camera_and_it_is_named(self, tmp_path: Path) -> None:
        tree = TREES["disfa"](tmp_path / "disfa")
        source = tree.root / "Images"
        for subject in ("SN001", "SN003"):
            shutil.copytree(source / subject, tree.root / "Video_RightCamera" / f"RightVideo{subject}_comp")
        shutil.rmtree(source)
        (tree.root / "Videos_LeftCamera").mkdir()
        shutil.copytree(
            tree.root / "Video_RightCamera" / "RightVideoSN001_comp",
            tree.root / "Videos_LeftCamera" / "LeftVideoSN001_comp",
        )
        report, found = run(tree, tmp_path / "out")
        assert report["found"]["frames"].startswith("the right camera's")
        assert all("Right" in one["image"] for own in found.values() for one in own)

    @pytest.mark.parametrize(
        ("left", "right", "used"),
        [("13", "13", "Left"), ("13", "1", "Left"), ("3", "13", "Right"), ("", "13", "Right")],
    )
    def test_disfa_cameras_are_never_mixed(self, tmp_path: Path, left: str, right: str, used: str) -> None:
        tree = TREES["disfa"](tmp_path / "disfa")
        for side, subjects in (("Left", left), ("Right", right)):
            for number in subjects:
                folder = tree.root / f"Videos_{side}Camera" / f"{side}VideoSN00{number}_comp"
                shutil.copytree(tree.root / "Images" / f"SN00{number}", folder)
        shutil.rmtree(tree.root / "Images")
        report, found = run(tree, tmp_path / "out")
        assert report["found"]["frames"].startswith(f"the {used.lower()} camera's")
        assert all(f"{used}VideoSN" in one["image"] for own in found.values() for one in own)

    def test_disfa_cameras_in_one_folder_are_not_mixed(self, tmp_path: Path) -> None:
        tree = TREES["disfa"](tmp_path / "disfa")
        for side, subjects in (("Left", ["SN001"]), ("Right", ["SN001", "SN003"])):
            for subject in subjects:
                shutil.copytree(tree.root / "Images" / subject, tree.root / "frames" / f"{side}Video{subject}_comp")
        shutil.rmtree(tree.root / "Images")
        report, found = run(tree, tmp_path / "out")
        assert {Path(one["image"]).parent.name for own in found.values() for one in own} == {
            "RightVideoSN001_comp",
            "RightVideoSN003_comp",
        }
        assert "left (1 subjects)" in "\n".join(report["notes"])
        with pytest.raises(UserError, match=r"cameras are not mixed"):
            convert("disfa", tree.root, tmp_path / "out", Options())

    @pytest.mark.parametrize(
        ("names", "numbers", "strays"),
        [
            (["1.png", "2.png", "3.png", "average_0.png"], [1, 2, 3], ["average_0.png"]),
            (["0001_0.jpg", "0002_0.jpg", "0003_0.jpg"], [1, 2, 3], []),
            (["frame_det_00_000001.bmp", "frame_det_00_000002.bmp"], [1, 2], []),
            (["SN001_1.jpg", "SN001_2.jpg", "SN001_10.jpg", "cover.jpg"], [1, 2, 10], ["cover.jpg"]),
            (["007.jpg"], [7], []),
            (["a.jpg", "b.jpg"], [], ["a.jpg", "b.jpg"]),
        ],
    )
    def test_frames_are_what_is_named_alike(self, tmp_path: Path, names: list, numbers: list, strays: list) -> None:
        folder = tmp_path / "frames"
        for name in names:
            picture(folder / name)
        census = Census()
        assert sorted(numbered_images(folder, census)) == numbers
        assert [Path(name).name for name in census.unnumbered] == strays

    @pytest.mark.parametrize("names", [["left_1.png", "left_2.png", "right_1.png", "right_2.png"], ["1.png", "01.jpg"]])
    def test_frames_that_cannot_be_told_are_an_error(self, tmp_path: Path, names: list) -> None:
        for name in names:
            picture(tmp_path / "frames" / name)
        with pytest.raises(UserError, match=r"which are the frames|exists twice"):
            numbered_images(tmp_path / "frames", Census())


@pytest.mark.parametrize(
    ("cell_", "value"),
    [("1", 1), ("1.0", 1), ("1,0", 1), ("1.", 1), ("-9", -9), ("1e+00", 1), ("1.5", None), ("", None), ("x", None),
     ("1_0", None), ("inf", None), ("nan", None), ("0x1", None), ("\u0661", None)],
)  # fmt: skip
def test_numbers(cell_: str, value: int | None) -> None:
    assert tables.number(cell_) == value


def test_a_name_in_windows_1252_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("J\u00e9r\u00f4me,1\n\u00fcber,2\n".encode("cp1252"))
    assert [cells for _, cells in tables.rows(path, lambda c: len(c) == 2)] == [
        ["J\u00e9r\u00f4me", "1"],
        ["\u00fcber", "2"],
    ]
    path.write_text("J\u00e9r\u00f4me,1\u2028\n", encoding="utf-8")
    assert next(iter(tables.rows(path, lambda c: len(c) == 2)))[1][0] == "J\u00e9r\u00f4me"
