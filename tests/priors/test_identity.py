"""A row belongs to a picture, not to a name: what happens when the file behind a name is another one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_faba.cli.main import main
from llava_faba.errors import PriorError
from llava_faba.experts import PriorExpert, PriorResult, PriorStatus
from llava_faba.priors import reading
from llava_faba.priors.content import CONTENT, Content, Sameness, compare
from llava_faba.priors.extract import extract
from llava_faba.priors.layout import META, write_meta
from llava_faba.priors.merge import merge
from llava_faba.priors.sources import images_below
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import check_pictures, verify


class Mean(PriorExpert):
    """The mean colour of a picture, so that a prior tells which picture it is of."""

    name, size = "mean-of-tests", 3

    @property
    def settings(self):  # type: ignore[no-untyped-def]
        return {}

    def extract(self, pictures):  # type: ignore[no-untyped-def]
        features = [np.asarray(picture.pixels, np.float32).mean(axis=(0, 1)) for picture in pictures]
        return PriorResult(np.array(features, np.float32).reshape(-1, 3), [PriorStatus.FOUND] * len(features))


def _paint(path: Path, colour: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 255 - colour)).save(path)


def _extract(folder: Path, store: Path, **options: bool):  # type: ignore[no-untyped-def]
    return extract(images_below(folder), folder, store, expert=Mean(), **options)


def _reds(store: Path) -> dict[str, float]:
    opened = PriorStore.open(store)
    return {name: float(opened.get(name)[0]) for name in opened}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six BMP pictures of one size in bytes, last changed long ago."""
    folder = tmp_path / "pictures"
    for number in range(6):
        _paint(folder / f"{number}.bmp", 10 * number)
    _age(folder)
    return folder


def _age(folder: Path) -> None:
    for file in folder.rglob("*.*"):
        os.utime(file, (1_600_000_000, 1_600_000_000))


def _exchange(folder: Path) -> dict[str, float]:
    (folder / "1.bmp").rename(folder / "tmp")
    (folder / "2.bmp").rename(folder / "1.bmp")
    (folder / "tmp").rename(folder / "2.bmp")
    return {"1.bmp": 20.0, "2.bmp": 10.0}


def _replace(folder: Path) -> dict[str, float]:
    _paint(folder / "3.bmp", 200)
    return {"3.bmp": 200.0}


def _replace_with_old_times(folder: Path) -> dict[str, float]:
    changed = _replace(folder)
    _age(folder)
    return changed


def _link_elsewhere(folder: Path) -> dict[str, float]:
    _paint(folder.parent / "other.bmp", 99)
    (folder / "4.bmp").unlink()
    (folder / "4.bmp").symlink_to(folder.parent / "other.bmp")
    return {"4.bmp": 99.0}


def _other_format_under_the_name(folder: Path) -> dict[str, float]:
    Image.new("RGB", (8, 8), (77, 0, 0)).save(folder / "5.bmp", "PNG")
    return {"5.bmp": 77.0}


def _one_pixel(folder: Path) -> dict[str, float]:
    with Image.open(folder / "0.bmp") as image:
        image.putpixel((3, 3), (64, 0, 255))
        image.save(folder / "0.bmp")
    return {"0.bmp": 1.0}


@pytest.mark.parametrize(
    "change",
    [_exchange, _replace, _replace_with_old_times, _link_elsewhere, _other_format_under_the_name, _one_pixel],
)
def test_a_picture_that_changed_under_its_name_is_extracted_again(
    tmp_path: Path, pictures: Path, change: Callable[[Path], dict[str, float]]
) -> None:
    store = tmp_path / "store"
    first = _extract(pictures, store)
    assert (first.processed, first.changed) == (6, 0)
    before = _reds(store)
    expected = {**before, **change(pictures)}
    names = images_below(pictures)
    problems = verify(store, names, pictures)
    assert len(problems) == (2 if change is _exchange else 1)
    assert all("is not the picture that its prior was made from" in problem for problem in problems)
    with pytest.raises(PriorError, match="not those that its priors were made from"):
        check_pictures(PriorStore.open(store), names, pictures)
    again = _extract(pictures, store)
    assert (again.processed, again.before, again.changed) == (len(problems), 6 - len(problems), len(problems))
    assert _reds(store) == pytest.approx(expected)
    opened = PriorStore.open(store)
    assert len(opened) == 6 and sum(opened.counts().values()) == 6 and sorted(opened) == names
    assert verify(store, names, pictures) == []
    assert _extract(pictures, store).processed == 0
    fresh = _extract(pictures, tmp_path / "fresh")
    assert _reds(fresh.store) == _reds(store)


def test_unchanged_pictures_are_not_hashed_again_and_copies_elsewhere_are_the_same(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("llava_faba.priors.content.time.time_ns", lambda: old)  # so that the files are not fresh
    _extract(pictures, tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(Content, "of", lambda path: pytest.fail("read again"))
        assert _extract(pictures, tmp_path / "store").before == 6
    shutil.copytree(pictures, tmp_path / "copied")
    assert _extract(tmp_path / "copied", tmp_path / "store").before == 6


def test_a_file_that_was_changed_right_after_it_was_read(tmp_path: Path) -> None:
    """Within one tick of the file system's clock nothing but the hash tells."""
    for number in range(50):
        _paint(tmp_path / "a.bmp", 10)
        content = Content.of(tmp_path / "a.bmp")
        with (tmp_path / "a.bmp").open("r+b") as file:
            file.seek(60)
            file.write(bytes([number + 100]))
        assert compare(content, tmp_path / "a.bmp") is Sameness.CHANGED


def test_another_dataset_with_equal_names_is_refused(tmp_path: Path) -> None:
    for name, start in (("one", 0), ("other", 100)):
        for number in range(30):
            _paint(tmp_path / name / f"{number:02d}.png", start + number)
    _extract(tmp_path / "one", tmp_path / "store")
    before = _reds(tmp_path / "store")
    with pytest.raises(PriorError, match=r"30 of 30 pictures are not those.*--replace"):
        _extract(tmp_path / "other", tmp_path / "store")
    assert _reds(tmp_path / "store") == before
    assert _extract(tmp_path / "other", tmp_path / "store", replace=True).changed == 30
    assert _reds(tmp_path / "store") == {name: value + 100 for name, value in before.items()}
    # Nothing that was synced is written over: the first dataset's rows are still in the file.
    assert PriorStore.open(tmp_path / "store").rows == 60
    merged = merge([tmp_path / "store"], tmp_path / "merged")
    assert (merged.rows, len(merged)) == (30, 30) and _reds(merged.path) == _reds(tmp_path / "store")


def test_mended_and_missing_pictures(tmp_path: Path, pictures: Path) -> None:
    names = [*images_below(pictures), "late.bmp"]
    (pictures / "2.bmp").write_bytes(b"BM damaged")
    extract(names, pictures, tmp_path / "store", expert=Mean())
    opened = PriorStore.open(tmp_path / "store")
    assert (opened.status("late.bmp"), opened.status("2.bmp")) == ("unreadable", "unreadable")
    assert extract(names, pictures, tmp_path / "store", expert=Mean()).processed == 0
    _paint(pictures / "2.bmp", 20)
    _paint(pictures / "late.bmp", 60)
    (pictures / "5.bmp").unlink()
    summary = extract(names, pictures, tmp_path / "store", expert=Mean())
    assert (summary.changed, summary.gone, summary.before) == (2, 1, 5)
    assert _reds(tmp_path / "store") == pytest.approx({**{f"{n}.bmp": 10 * n for n in range(6)}, "late.bmp": 60})
    assert verify(tmp_path / "store", names, pictures) == [f"image '5.bmp' is no longer below {pictures}"]


def test_another_way_of_reading_pictures_is_refused(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _extract(pictures, tmp_path / "store")
    for name, value in (("MAX_SIDE", 4), ("ImageFile.LOAD_TRUNCATED_IMAGES", True)):
        with monkeypatch.context() as patch:
            patch.setattr(f"llava_faba.priors.reading.{name}", value)
            with pytest.raises(PriorError, match="made with reading"):
                _extract(pictures, tmp_path / "store")
            problems = verify(tmp_path / "store", images_below(pictures), pictures)
            assert "its pictures were read as" in problems[0]
            other = extract(["0.bmp"], pictures, tmp_path / f"other-{name}", expert=Mean()).store
        with pytest.raises(PriorError, match="were read otherwise"):
            merge([tmp_path / "store", other], tmp_path / "merged")
    assert reading.reading_settings()["max_side"] == reading.MAX_SIDE


def _made_old(store: Path) -> None:
    """As an older llava-faba made it."""
    (store / CONTENT).unlink()
    meta = json.loads((store / META).read_text())
    (store / META).write_text(json.dumps({key: meta[key] for key in meta if key not in ("checksum", "reading")}))


def test_old_stores_open_and_say_that_they_cannot_tell(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    _extract(pictures, store)
    _made_old(store)
    assert _reds(store)["3.bmp"] == 30 and PriorStore.open(store).content("3.bmp") is None
    summary = _extract(pictures, store)
    assert (summary.before, summary.unknown, summary.changed) == (6, 6, 0)
    assert main(["priors", "verify", str(store), "--images", str(pictures)]) == 0
    assert "6 of 6 priors are by an older llava-faba" in capsys.readouterr().out
    _paint(pictures / "new.bmp", 5)
    assert _extract(pictures, store).unknown == 6
    assert PriorStore.open(store).content("new.bmp") is not None
    _paint(pictures / "3.bmp", 33, (9, 8))  # of another size: that much an old store knows
    assert verify(store, ["3.bmp"], pictures) == ["image '3.bmp' is not the picture that its prior was made from"]
    with pytest.raises(PriorError, match="1 of 7 pictures"):
        check_pictures(PriorStore.open(store), images_below(pictures), pictures)
    assert _extract(pictures, store).changed == 1
    summary = _extract(pictures, store, replace=True)
    assert (summary.processed, summary.unknown) == (5, 0)
    assert verify(store, images_below(pictures), pictures) == []


def test_stores_of_different_pictures_are_not_merged(tmp_path: Path, pictures: Path) -> None:
    _extract(pictures, tmp_path / "one")
    with Image.open(pictures / "0.bmp") as image:
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        flipped.putpixel((0, 0), (1, 0, 255))
        flipped.putpixel((1, 0), (0, 0, 255))
    flipped.save(pictures / "0.bmp")
    _extract(pictures, tmp_path / "other")
    with pytest.raises(PriorError, match=r"different pictures under the name '0\.bmp'"):
        merge([tmp_path / "one", tmp_path / "other"], tmp_path / "merged")


def test_a_sample_is_spread_over_all_pictures(tmp_path: Path) -> None:
    for number in range(100):
        _paint(tmp_path / "p" / f"{number:02d}.png", number)
    store = PriorStore.open(_extract(tmp_path / "p", tmp_path / "store").store)
    names = images_below(tmp_path / "p")
    assert sum(check_pictures(store, names, tmp_path / "p", at_most=10).counts.values()) == 10
    for name in names[50:]:
        _paint(tmp_path / "p" / name, 7)
    with pytest.raises(PriorError, match="5 of 10 pictures"):
        check_pictures(store, names, tmp_path / "p", at_most=10)


def test_replaced_rows_survive_a_crash_and_a_damaged_identity_is_found(tmp_path: Path, pictures: Path) -> None:
    store = tmp_path / "store"
    _extract(pictures, store)
    _exchange(pictures)
    _extract(pictures, store)
    (store / "lookup.bin").unlink()
    assert _reds(store)["1.bmp"] == 20 and len(PriorStore.open(store)) == 6
    content = (store / CONTENT).read_bytes()
    (store / CONTENT).write_bytes(b"\1" + content[1:])
    assert any("content.bin" in problem for problem in verify(store))
    with pytest.raises(PriorError, match=r"content\.bin fails its checksum"):
        verify(store, images_below(pictures), pictures)
        list(PriorStore.open(store).entries())


def test_older_readers_refuse_a_store_with_replaced_rows(tmp_path: Path, pictures: Path) -> None:
    _extract(pictures, tmp_path / "store")
    assert json.loads((tmp_path / "store" / META).read_text())["version"] == 1
    _exchange(pictures)
    _extract(pictures, tmp_path / "store")
    assert json.loads((tmp_path / "store" / META).read_text())["version"] == 2


def test_a_changed_header_is_found(tmp_path: Path, pictures: Path) -> None:
    _extract(pictures, tmp_path / "store")
    meta = json.loads((tmp_path / "store" / META).read_text())
    for key, value in (("expert", "dlib-68"), ("settings", {"weights": "x"}), ("size", 6), ("reading", {})):
        (tmp_path / "store" / META).write_text(json.dumps({**meta, key: value}))
        with pytest.raises(PriorError, match="its checksum is not that of its content"):
            PriorStore.open(tmp_path / "store")
    write_meta(tmp_path / "store", meta)
    PriorStore.open(tmp_path / "store")
