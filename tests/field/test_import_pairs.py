"""``priors import``: one .npy file an image and one image a file, or an error that names both."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_faba.cli.main import main
from llava_faba.priors.store import PriorStore

FIELD = Path(__file__).parents[1] / "data" / "field"


def _import(*arguments: object) -> int:
    return main(["priors", "import", *map(str, arguments)])


def _vector(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, np.full(4, value, np.float32))


def _picture(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path)


def test_two_pictures_of_one_stem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """deepocli#91: p1.png got the vector of p1.jpg."""
    folders = ("--images", FIELD / "same-stem" / "faces", "--npy", FIELD / "same-stem" / "npy")
    assert _import(*folders, "--out", tmp_path / "store") == 2
    error = capsys.readouterr().err
    assert "'p1.npy' may be of each of the images 'p1.jpg', 'p1.png'" in error
    assert not (tmp_path / "store").exists()


def test_two_files_for_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one won."""
    data = FIELD / "two-landmarks"
    assert _import("--annotations", data / "train.json", "--image-folder", data, "--out", tmp_path / "store") == 2
    error = capsys.readouterr().err
    assert "a.jpg" in error and "lm/first.npy" in error and "lm/second.npy" in error


def _upper_suffix(images: Path, npy: Path) -> None:
    _picture(images / "a.JPG", 1)
    _picture(images / "a.jpeg", 2)
    _vector(npy / "a.npy", 1)


def _two_suffixes(images: Path, npy: Path) -> None:
    _picture(images / "a.png", 1)
    _vector(npy / "a.npy", 1)
    _vector(npy / "a.NPY", 2)


def _an_archive_beside(images: Path, npy: Path) -> None:
    _picture(images / "a.png", 1)
    _vector(npy / "a.npy", 1)
    np.savez(npy / "a.npz", one=np.ones(4))


def _an_archive_alone(images: Path, npy: Path) -> None:
    _picture(images / "a.png", 1)
    npy.mkdir()
    np.savez(npy / "a.npz", one=np.ones(4))


def _two_accents(images: Path, npy: Path) -> None:
    _picture(images / f"{unicodedata.normalize('NFC', 'é')}.png", 1)
    _picture(images / f"{unicodedata.normalize('NFD', 'é')}.png", 2)
    _vector(npy / "é.npy", 1)


def _by_name_and_by_stem(images: Path, npy: Path) -> None:
    _picture(images / "a.png", 1)
    _vector(npy / "a.npy", 1)
    _vector(npy / "a.png.npy", 2)


def _in_a_folder(images: Path, npy: Path) -> None:
    _picture(images / "s" / "a.png", 1)
    _picture(images / "s" / "a.webp", 2)
    _vector(npy / "s" / "a.npy", 1)


@pytest.mark.parametrize(
    "make",
    [
        _upper_suffix,
        _two_suffixes,
        _an_archive_beside,
        _an_archive_alone,
        _two_accents,
        _by_name_and_by_stem,
        _in_a_folder,
    ],
)
def test_names_that_leave_it_open_are_an_error(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    make(tmp_path / "images", tmp_path / "npy")
    assert _import("--images", tmp_path / "images", "--npy", tmp_path / "npy", "--out", tmp_path / "store") == 2
    assert not (tmp_path / "store").exists()


def test_names_that_tell_are_paired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, npy = tmp_path / "images", tmp_path / "npy"
    for number, (image, file) in enumerate(
        [("a.jpg", "a.jpg.npy"), ("a.png", "a.png.npy"), ("b.png", "b.NPY"), ("s/c.png", "s/c.npy"), ("ü.png", "ü.npy")]
    ):
        _picture(images / unicodedata.normalize("NFC", image), number)
        _vector(npy / unicodedata.normalize("NFD", file), number)
    _vector(npy / "nobody.npy", 9)
    _picture(images / "lonely.png", 99)
    assert _import("--images", images, "--npy", npy, "--out", tmp_path / "store") == 0
    printed = capsys.readouterr().out
    assert "1 images have no .npy file" in printed and "1 files belong to no image" in printed
    store = PriorStore.open(tmp_path / "store")
    assert {name: store.get(name)[0] for name in store} == {
        "a.jpg": 0,
        "a.png": 1,
        "b.png": 2,
        "s/c.png": 3,
        "ü.png": 4,
    }


def _records(folder: Path, *pairs: tuple[str, str]) -> Path:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    records = [{"image": image, "landmark": landmark, "conversations": turns} for image, landmark in pairs]
    (folder / "train.json").write_text(json.dumps(records))
    return folder / "train.json"


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ((("a.png", "1.npy"), ("./a.png", "2.npy")), 2),
        ((("a.png", "1.npy"), ("s/../a.png", "2.npy")), 2),
        ((("a.png", "1.npy"), ("link.png", "2.npy")), 2),
        ((("a.png", "1.npy"), ("b.png", "1.npy")), 2),
        ((("a.png", "1.npy"), ("b.png", "./1.npy")), 2),
        ((("a.png", "1.npy"), ("./a.png", "./1.npy"), ("a.png", "same.npy")), 0),
        ((("a.png", "1.npy"), ("copy.png", "1.npy"), ("b.png", "2.npy")), 0),
    ],
)
def test_records_that_spell_one_picture_in_two_ways(
    tmp_path: Path, pairs: tuple[tuple[str, str], ...], code: int
) -> None:
    (tmp_path / "s").mkdir()
    _picture(tmp_path / "a.png", 1)
    _picture(tmp_path / "b.png", 2)
    shutil.copy(tmp_path / "a.png", tmp_path / "copy.png")
    (tmp_path / "link.png").symlink_to("a.png")
    for name, value in (("1", 1.0), ("2", 2.0), ("same", 1.0)):
        _vector(tmp_path / f"{name}.npy", value)
    command = ("--annotations", _records(tmp_path, *pairs), "--image-folder", tmp_path, "--out", tmp_path / "store")
    assert _import(*command) == code
    if code == 0:
        store = PriorStore.open(tmp_path / "store")
        assert all(image in store for image, _ in pairs)


def test_numbers_or_pictures_that_changed_are_taken_again(tmp_path: Path) -> None:
    """The second import kept the first one's numbers."""
    images, npy = tmp_path / "images", tmp_path / "npy"
    for name in "abc":
        _picture(images / f"{name}.png", ord(name))
        _vector(npy / f"{name}.npy", ord(name))
    command = ("--images", images, "--npy", npy, "--out", tmp_path / "store")
    assert _import(*command) == 0
    _vector(npy / "b.npy", 7)
    (npy / "c.npy").write_bytes(b"")
    assert _import(*command) == 0
    store = PriorStore.open(tmp_path / "store")
    assert (store.get("b.png")[0], store.status("c.png"), len(store)) == (7, "unreadable", 3)
    assert store.rows == 5 and _import(*command) == 0 and PriorStore.open(tmp_path / "store").rows == 5


def test_export_keeps_rows_whose_names_differ_only_in_spelling(tmp_path: Path) -> None:
    _picture(tmp_path / "x.png", 1)
    _picture(tmp_path / "y.png", 2)
    (tmp_path / "d").mkdir()
    for name, value in (("1", 1.0), ("2", 2.0)):
        _vector(tmp_path / f"{name}.npy", value)
    records = _records(tmp_path, ("x.png", "1.npy"), ("y.png", "2.npy"))
    assert _import("--annotations", records, "--image-folder", tmp_path, "--out", tmp_path / "store") == 0
    for spelling in ("x.npy", "./x.npy", "d/../x.npy", "d//..//x.npy"):
        records = _records(tmp_path, ("x.png", "x.npy"), ("y.png", spelling))
        assert main(["priors", "export", str(tmp_path / "store"), "--npy", str(tmp_path / "out")]) == 0
        shutil.rmtree(tmp_path / "out")
        target = ["--npy", str(tmp_path / "out"), "--annotations", str(records)]
        assert main(["priors", "export", str(tmp_path / "store"), *target]) == 2
        assert not list(tmp_path.glob("out/**/*.npy"))
