"""A damaged or foreign store is an error, nothing that was once synced is cut off, and no other file is written to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llava_faba.errors import PriorError
from llava_faba.priors.layout import ENTRY, FEATURES, INDEX, LOOKUP, META, STRINGS
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import verify

from .conftest import row, writer


def _bytes(store: Path) -> dict[str, bytes]:
    names = (FEATURES, STRINGS, INDEX, "content.bin", META)
    return {name: (store / name).read_bytes() for name in names if (store / name).exists()}


def _refused(store: Path, match: str) -> None:
    """Opening, verifying and writing refuse the store and change nothing."""
    before = _bytes(store)
    for use in (PriorStore.open, verify, writer):
        with pytest.raises(PriorError, match=match):
            use(store)
    assert _bytes(store) == before and not (store / "cut").exists()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """3,400 rows in 34 appends."""
    with writer(tmp_path / "large") as open_writer:
        for start in range(0, 3400, 100):
            open_writer.append([row(f"{number}.jpg") for number in range(start, start + 100)])
    return tmp_path / "large"


def _edit_meta(store: Path, checked: bool = False, **values: object) -> None:
    meta = json.loads((store / META).read_text())
    if not checked:
        del meta["checksum"]
    (store / META).write_text(json.dumps({**meta, **values}))


@pytest.mark.parametrize("with_lookup", [True, False])
@pytest.mark.parametrize("checked", [True, False])
def test_a_changed_id_is_damage_and_not_an_empty_store(large: Path, with_lookup: bool, checked: bool) -> None:
    identity = json.loads((large / META).read_text())["id"]
    _edit_meta(large, checked, id=("0" if identity[0] != "0" else "1") + identity[1:])
    if not with_lookup:
        (large / LOOKUP).unlink()
    _refused(large, r"checksum")


@pytest.mark.parametrize("identity", ["", "x" * 32, "0" * 31, 5, None, [], "A" * 32])
def test_an_id_that_is_none(large: Path, identity: object) -> None:
    _edit_meta(large, id=identity)
    _refused(large, "'id' is")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "damaged"),
        (b"\xff\xfe{", "damaged"),
        (b"[" * 200_000, "damaged"),
        (b'{"size": ' + b"9" * 6000 + b"}", "damaged"),
        (b"[]", "does not name the format"),
        (b'{"format": "llava-faba-priors", "format": "x"}', "damaged"),
    ],
)
def test_a_header_of_every_broken_kind(large: Path, text: bytes, match: str) -> None:
    (large / META).write_bytes(text)
    _refused(large, match)


@pytest.mark.parametrize("size", [0, -4, True, 10**30, 4.0, "4", None, 5])
def test_a_size_that_cannot_be(large: Path, size: object) -> None:
    _edit_meta(large, size=size)
    with pytest.raises(PriorError):
        PriorStore.open(large).get("3399.jpg")
    with pytest.raises(PriorError):
        writer(large)


def _flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


def _zeros(first: int, last: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[first * ENTRY.itemsize : last * ENTRY.itemsize] = bytes((last - first) * ENTRY.itemsize)

    return change


def _swap(one: int, other: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        first, second = (slice(n * ENTRY.itemsize, (n + 1) * ENTRY.itemsize) for n in (one, other))
        data[first], data[second] = data[second], data[first]

    return change


@pytest.mark.parametrize(
    "change",
    [_flip(0), _flip(8), _flip(100 * 48 + 4), _flip(3200 * 48 + 46), _zeros(1, 2), _zeros(0, 3000), _zeros(3250, 3260)],
)
def test_a_damaged_index_is_no_crash_where_appends_follow(large: Path, change: Callable[[bytearray], None]) -> None:
    (large / LOOKUP).unlink()
    data = bytearray((large / INDEX).read_bytes())
    change(data)
    (large / INDEX).write_bytes(data)
    _refused(large, "is damaged or belongs to another store")


def test_a_foreign_index_of_any_length_is_refused(large: Path, tmp_path: Path) -> None:
    for count in (1, 3, 3000):
        with writer(tmp_path / f"other{count}") as open_writer:
            open_writer.append([row(f"{number}.jpg") for number in range(count)])
        shutil.copy(tmp_path / f"other{count}" / INDEX, large / INDEX)
        (large / LOOKUP).unlink(missing_ok=True)
        _refused(large, "another store")


def test_an_index_that_lost_its_end_is_refused_where_no_crash_explains_it(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_faba.priors.leftovers.MOST_ROWS_AT_ONCE", 1000)
    monkeypatch.setattr("llava_faba.priors.verify.MOST_ROWS_AT_ONCE", 1000)
    (large / LOOKUP).unlink()
    (large / INDEX).write_bytes((large / INDEX).read_bytes()[: 48 * 2000])
    before = _bytes(large)
    with pytest.raises(PriorError, match="the index has lost entries"):
        writer(large)
    assert verify(large) == [f"{FEATURES} holds 1400 rows more than the index: it has lost entries"]
    assert _bytes(large) == before


@pytest.mark.parametrize("name", [FEATURES, STRINGS, INDEX])
def test_a_missing_file_is_named(large: Path, name: str) -> None:
    (large / name).unlink()
    with pytest.raises(PriorError, match=name):
        writer(large)


def test_what_is_cut_off_is_kept(store: Path) -> None:
    ends = {name: (store / name).stat().st_size for name in (FEATURES, STRINGS)}
    for name in ends:
        with (store / name).open("ab") as file:
            file.write(b"left by a crash")
    with writer(store) as open_writer:
        open_writer.append([row("e.jpg")])
    assert verify(store) == [] and len(PriorStore.open(store)) == 6
    kept = {file.name: file.read_bytes() for file in (store / "cut").rglob("*.*")}
    assert kept == {f"{name}.from-{end}": b"left by a crash" for name, end in ends.items()}


def test_entries_are_checked_when_they_are_read(large: Path) -> None:
    """Those that the lookup file covers are not read when the store is opened."""
    data = bytearray((large / INDEX).read_bytes())
    for at in (10 * 48 + 32, 11 * 48 + 20, 12 * 48 + 8, 13 * 48 + 24):  # status, note, offset, width
        data[at] ^= 1
    (large / INDEX).write_bytes(data)
    opened = PriorStore.open(large)
    for name in ("10.jpg", "11.jpg", "12.jpg", "13.jpg"):
        for use in (opened.status, opened.get, opened.entry, opened.content):
            with pytest.raises(PriorError, match=r"row \d+ is damaged"):
                use(name)
    for use in (lambda: list(opened), lambda: list(opened.entries())):
        with pytest.raises(PriorError, match="row 10 is damaged"):
            use()
    assert len(verify(large)) == 4


def test_a_damaged_lookup_file_is_not_believed(large: Path) -> None:
    good = (large / LOOKUP).read_bytes()
    for change in (64, 64 + 8 * 1700, 64 + 8 * 3400 + 5, len(good) - 1, 50):
        data = bytearray(good)
        data[change] ^= 0x80
        (large / LOOKUP).write_bytes(data)
        opened = PriorStore.open(large)
        assert all(f"{number}.jpg" in opened for number in range(0, 3400, 7))
    crafted = np.frombuffer(good[64 + 8 * 3400 :], "<u4").copy()[::-1]
    from llava_faba.priors.lookup import write_lookup

    write_lookup(large, json.loads((large / META).read_text())["id"], np.arange(3400, dtype="<u8"))
    assert "lookup.bin is damaged" in " ".join(verify(large)) and len(crafted) == 3400


@pytest.mark.parametrize("name", [FEATURES, STRINGS, INDEX, "content.bin"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_a_link_leads_to_is_not_written(
    store: Path, tmp_path: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes((store / name).read_bytes() + b"precious" * 1000)
    (store / name).unlink()
    link(victim, store / name)
    before = victim.read_bytes()
    with pytest.raises(PriorError, match="is a link"):
        writer(store)
    assert victim.read_bytes() == before


def test_links_in_a_folder_that_is_no_store_yet(tmp_path: Path) -> None:
    for name in (FEATURES, STRINGS, INDEX, "content.bin"):
        folder = tmp_path / f"store-{name}"
        folder.mkdir()
        (folder / name).symlink_to(tmp_path / f"made-{name}")
        with pytest.raises(PriorError, match="damaged store"):
            writer(folder)
        assert not (tmp_path / f"made-{name}").exists()


def test_derived_files_replace_links_instead_of_following_them(store: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (store / LOOKUP).unlink()
    (store / LOOKUP).symlink_to(tmp_path / "victim")
    writer(store).close()
    assert (tmp_path / "victim").read_text() == "precious" and len(PriorStore.open(store)) == 5


def test_entries_of_an_append_that_failed_name_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full after the first entries of the index: the next append writes other rows there."""
    real, calls = os.pwrite, []

    def full(handle: int, data: memoryview, position: int) -> int:
        calls.append(position)
        if len(calls) == 4:
            real(handle, data[:48], position)
            raise OSError(28, "No space left on device")
        return real(handle, data, position)

    with writer(store) as open_writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(PriorError, match="No space left"):
            open_writer.append([row("e.jpg"), row("f.jpg")])
        monkeypatch.undo()
        assert len(PriorStore.open(store)) == 5


@pytest.mark.parametrize("value", [1e37, -8.9e37, 3e6])
def test_statistics_of_a_store_with_an_absurd_number_name_the_image(value, tmp_path, monkeypatch):
    """One flipped byte: it was the mean face, and its marker more than matplotlib ever came to an end with."""
    from llava_faba.priors.stats import write_statistics
    from llava_faba.priors.store import PriorStore
    from llava_faba.priors.writer import PriorStoreWriter, Row

    with PriorStoreWriter(tmp_path / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        rows = [np.random.default_rng(n).normal(size=136).astype(np.float32) for n in range(4)]
        rows[2][7] = value
        writer.append(Row(f"{n}.png", row, "found", (40, 40)) for n, row in enumerate(rows))
    with pytest.raises(PriorError, match=r"2\.png holds .* extract them again"):
        write_statistics(PriorStore.open(tmp_path / "store"), tmp_path / "stats")
    assert not (tmp_path / "stats").exists()
