"""The store's format: what is written is read, whatever happens in between."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llava_faba.errors import PriorError
from llava_faba.priors.layout import ENTRY, FEATURES, INDEX, LOOKUP, META, STRINGS
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import verify
from llava_faba.priors.writer import PriorStoreWriter, Row

from .conftest import SETTINGS, row, writer


def _assert_holds(path: Path, names: list[str]) -> None:
    store = PriorStore.open(path)
    assert list(store) == names
    for name in names:
        np.testing.assert_array_equal(store.get(name), row(name).feature)


def test_rows_come_back_with_all_that_is_known_of_them(store: Path) -> None:
    opened = PriorStore.open(store)
    assert len(opened) == 5 and "a/1.jpg" in opened and "1.jpg" not in opened
    assert list(opened) == ["a/1.jpg", "b/1.jpg", "ü/ñ 人.png", "c.jpg", "d.jpg"]
    entry = opened.entry("ü/ñ 人.png")
    assert (entry.row, entry.status, entry.note, entry.height) == (2, "found", "CMYK", 50)
    assert opened.status("d.jpg") == "unreadable" and not opened.get("d.jpg").any()
    assert opened.counts() == {"found": 2, "not_found": 1, "several_faces": 1, "unreadable": 1}
    assert (opened.expert, opened.settings, opened.size) == ("precomputed", SETTINGS, 4)
    np.testing.assert_array_equal(opened.get("a/1.jpg"), row("a/1.jpg").feature)
    assert opened.features.shape == (5, 4) and verify(store) == []


def test_an_image_it_does_not_have_is_named_with_an_example(store: Path) -> None:
    with pytest.raises(PriorError, match=r"no prior for image 'x\.jpg'.*such as 'a/1\.jpg'"):
        PriorStore.open(store).get("x.jpg")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(min_size=1, max_size=12).filter(lambda name: "\0" not in name), unique=True))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("names") / "store"
    with writer(path) as open_writer:
        open_writer.append(row(name) for name in names)
    _assert_holds(path, names)


def test_a_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    with writer(tmp_path / "store") as open_writer:
        open_writer.append([row(name)])
    _assert_holds(tmp_path / "store", [name])
    assert b"caf\xe9.jpg" in (tmp_path / "store" / STRINGS).read_bytes()


def test_a_crash_at_any_byte_of_an_append_leaves_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with writer(path) as open_writer:
        open_writer.append([row("a.jpg"), row("b.jpg")])
    before = {name: (path / name).read_bytes() for name in (FEATURES, STRINGS, INDEX)}
    with writer(path) as open_writer:
        open_writer.append([row("c.jpg"), row("d.jpg", note="x")])
    after = {name: (path / name).read_bytes() for name in before}
    (path / LOOKUP).unlink()
    order, states = (FEATURES, STRINGS, INDEX), 0
    for position, name in enumerate(order):
        for length in range(len(before[name]), len(after[name]) + 1):
            for other in order[:position]:
                (path / other).write_bytes(after[other])
            (path / name).write_bytes(after[name][:length])
            for other in order[position + 1 :]:
                (path / other).write_bytes(before[other])
            whole = (length // ENTRY.itemsize) if name == INDEX else 2
            _assert_holds(path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"][:whole])
            states += 1
    assert states > 100


def test_a_disk_that_wrote_the_last_page_of_an_append_but_not_the_first(tmp_path: Path) -> None:
    path = tmp_path / "store"
    names = [f"{number}.jpg" for number in range(200)]
    writer(path).close()
    with writer(path) as open_writer:
        open_writer.append(row(name) for name in names)
        content = bytearray((path / INDEX).read_bytes())
        content[50 * ENTRY.itemsize : 60 * ENTRY.itemsize] = bytes(10 * ENTRY.itemsize)
        (path / INDEX).write_bytes(content)
        _assert_holds(path, names[:50])
    (path / LOOKUP).unlink()  # written when the writer closed, which a power cut does not let it do
    with writer(path) as open_writer:
        assert "49.jpg" in open_writer and "50.jpg" not in open_writer and "199.jpg" not in open_writer
        open_writer.append(row(name) for name in names[50:])
    _assert_holds(path, names)
    assert verify(path) == []


def test_damage_that_no_crash_explains_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava_faba.priors.layout.MOST_ROWS_AT_ONCE", 4)
    path = tmp_path / "store"
    with writer(path) as open_writer:
        open_writer.append(row(f"{number}.jpg") for number in range(9))
    (path / LOOKUP).unlink()
    content = bytearray((path / INDEX).read_bytes())
    content[4 * ENTRY.itemsize : 5 * ENTRY.itemsize] = bytes(ENTRY.itemsize)
    (path / INDEX).write_bytes(content)
    with pytest.raises(PriorError, match="entry 4 fails its checksum"):
        writer(path)
    assert (path / INDEX).read_bytes() == content


def test_rows_and_lookup_written_while_a_reader_opens_are_no_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llava_faba.priors import store as module

    written: list[str] = []

    def then_a_writer_adds_a_row(look: Callable[..., int]) -> Callable[..., int]:
        def looked(*arguments: object) -> int:
            found = look(*arguments)
            written.append(f"meanwhile/{len(written)}.jpg")
            monkeypatch.undo()  # the writer opens the store as well
            with writer(store) as open_writer:
                open_writer.append([row(written[-1])])
            patch()
            return found

        return looked

    def patch() -> None:
        for name, real in originals.items():
            monkeypatch.setattr(module, name, then_a_writer_adds_a_row(real))

    originals = {name: getattr(module, name) for name in ("covered_rows", "count_rows")}
    patch()
    opened = PriorStore.open(store)
    assert len(written) >= 2 and "c.jpg" in opened
    np.testing.assert_array_equal(opened.get("a/1.jpg"), row("a/1.jpg").feature)


@pytest.mark.parametrize("name", [FEATURES, STRINGS, INDEX])
def test_what_a_crash_left_is_cut_off_when_writing_goes_on(store: Path, name: str) -> None:
    with (store / name).open("ab") as file:
        file.write(b"\0" * 100)  # a file system that had made room, but not written
    assert len(PriorStore.open(store)) == 5
    with writer(store) as open_writer:
        assert "a/1.jpg" in open_writer and "e.jpg" not in open_writer
        open_writer.append([row("e.jpg")])
    assert list(PriorStore.open(store))[-1] == "e.jpg" and verify(store) == []


def test_without_or_with_a_foreign_lookup_file_it_only_opens_slower(store: Path, tmp_path: Path) -> None:
    with writer(tmp_path / "other") as open_writer:
        open_writer.append([row("a/1.jpg"), row("z.jpg")])
    shutil.copy(tmp_path / "other" / LOOKUP, store / LOOKUP)
    assert PriorStore.open(store).status("c.jpg") == "not_found"
    (store / LOOKUP).unlink()
    assert PriorStore.open(store).status("c.jpg") == "not_found"
    writer(store).close()
    assert (store / LOOKUP).exists() and PriorStore.open(store).looked_up == 5


@pytest.mark.parametrize(("name", "keep"), [(FEATURES, 40), (STRINGS, 5), (INDEX, 2 * ENTRY.itemsize), (META, 20)])
def test_a_truncated_file_is_named(store: Path, name: str, keep: int) -> None:
    (store / name).write_bytes((store / name).read_bytes()[:keep])
    with pytest.raises(PriorError, match=name):
        PriorStore.open(store)


def test_files_of_two_stores_cannot_be_mixed_up(store: Path, tmp_path: Path) -> None:
    with writer(tmp_path / "other") as open_writer:
        open_writer.append([row(f"{number}.jpg") for number in range(5)])
    shutil.copy(tmp_path / "other" / INDEX, store / INDEX)
    with pytest.raises(PriorError, match=r"truncated|another store"):
        PriorStore.open(store)


def test_foreign_folders_are_refused(tmp_path: Path, store: Path) -> None:
    with pytest.raises(PriorError, match="not a priors store"):
        PriorStore.open(tmp_path / "absent")
    (tmp_path / META).write_text('{"format": "something"}')
    with pytest.raises(PriorError, match="does not name the format"):
        PriorStore.open(tmp_path)
    meta = json.loads((store / META).read_text())
    (store / META).write_text(json.dumps(meta | {"version": 9}))
    with pytest.raises(PriorError, match="format version 9"):
        PriorStore.open(store)
    (store / META).write_text(json.dumps(meta | {"size": "many"}))
    with pytest.raises(PriorError, match="'size' is 'many'"):
        PriorStore.open(store)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PriorError, match="is a file"):
        writer(file)


def test_a_damaged_row_is_found_by_reading_and_by_verify(store: Path) -> None:
    data = bytearray((store / FEATURES).read_bytes())
    data[4 * 4 + 2] ^= 1  # in the second row
    (store / FEATURES).write_bytes(data)
    opened = PriorStore.open(store)
    opened.get("a/1.jpg")
    with pytest.raises(PriorError, match=r"'b/1\.jpg' \(row 1\) is damaged"):
        opened.get("b/1.jpg")
    assert verify(store) == ["row 1: the prior of image 'b/1.jpg' fails its checksum"]


def test_verify_finds_damage_in_every_file(store: Path) -> None:
    for name, place, expected in (
        (STRINGS, 2, "strings.txt fails its checksum"),
        (INDEX, 20, "index entry fails its checksum"),
        (LOOKUP, 70, "lookup.bin is damaged"),
    ):
        content = (store / name).read_bytes()
        (store / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert any(expected in problem for problem in verify(store)), name
        (store / name).write_bytes(content)
    assert verify(store, ["a/1.jpg", "new.jpg"]) == ["image 'new.jpg' is not in the store"]


def test_bad_rows_are_refused_whole(store: Path) -> None:
    with writer(store) as open_writer:
        for bad, message in (
            (row("c.jpg"), "already has"),
            (row("e.jpg", "fine"), "status 'fine'"),
            (Row("e.jpg", np.zeros(3, np.float32), "found"), r"shape \(3,\)"),
            (Row("e.jpg", np.full(4, np.nan, np.float32), "found"), "not finite"),
        ):
            with pytest.raises(PriorError, match=message):
                open_writer.append([row("good.jpg"), bad])
        with pytest.raises(PriorError, match="already has"):
            open_writer.append([row("twice.jpg"), row("twice.jpg")])
    assert len(PriorStore.open(store)) == 5


def test_only_a_store_of_the_same_expert_is_continued(store: Path) -> None:
    with pytest.raises(PriorError, match="made with expert 'precomputed', not 'dlib-68'"):
        writer(store, expert="dlib-68")
    with pytest.raises(PriorError, match="made with size 4, not 5"):
        writer(store, size=5)


def test_weights_are_compared_by_checksum_not_by_place(tmp_path: Path) -> None:
    def with_settings(**values: str) -> None:
        PriorStoreWriter(tmp_path / "s", expert="x", version="1", settings=values, size=2).close()

    with_settings(weights="/here/w.onnx", weights_sha256="abc")
    with_settings(weights="/there/w.onnx", weights_sha256="abc")
    with pytest.raises(PriorError, match="made with settings"):
        with_settings(weights="/here/w.onnx", weights_sha256="def")


def test_one_process_writes_at_a_time(store: Path) -> None:
    with writer(store), pytest.raises(PriorError, match="under way in another process"):
        writer(store)
    writer(store).close()  # and the lock goes


def test_a_full_disk_is_an_error_that_leaves_the_store_whole(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.pwrite, []

    def full(handle: int, data: memoryview, position: int) -> int:
        calls.append(position)
        if len(calls) == 2:
            real(handle, data[:3], position)
            raise OSError(28, "No space left on device")
        return real(handle, data, position)

    with writer(store) as open_writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(PriorError, match="No space left"):
            open_writer.append([row("e.jpg")])
        open_writer.append([row("f.jpg")])
    assert list(PriorStore.open(store))[5:] == ["f.jpg"] and verify(store) == []


def _read(store: PriorStore) -> list[float]:
    return [float(store.get(name)[0]) for name in store]


def test_it_pickles_and_is_read_from_several_processes(store: Path) -> None:
    opened = PriorStore.open(store)
    assert len(pickle.dumps(opened)) < 1000  # a path, not the data
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_read, [opened, opened]) == [_read(opened)] * 2


def test_a_reader_keeps_its_rows_while_others_are_written(store: Path) -> None:
    opened = PriorStore.open(store)
    with writer(store) as open_writer:
        open_writer.append([row(f"more/{number}.jpg") for number in range(300)])
        assert len(PriorStore.open(store)) == 305
    assert len(opened) == 5 and "more/7.jpg" not in opened
    np.testing.assert_array_equal(opened.get("c.jpg"), row("c.jpg").feature)


def test_opening_reads_next_to_nothing_of_a_large_store(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with writer(path) as open_writer:
        open_writer.append(row(f"{number}.jpg") for number in range(20_000))
    code = (
        "import resource, sys; from llava_faba.priors.store import PriorStore as S; S.open(sys.argv[2]).get('0.jpg');"
        "a = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; s = S.open(sys.argv[1]); s.get('7.jpg');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - a)"
    )
    small = tmp_path / "small"
    with writer(small) as open_writer:
        open_writer.append([row("0.jpg")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(small)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1500  # kilobytes; the index alone has 960, a dictionary of it would have thousands


def test_two_images_with_one_hash_are_told_apart(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava_faba.priors.store.hash_of", lambda path: 7)
    monkeypatch.setattr("llava_faba.priors.writer.hash_of", lambda path: 7)
    path = store.parent / "collisions"
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        with writer(path) as open_writer:
            assert name not in open_writer
            open_writer.append([row(name)])
    _assert_holds(path, names)
    assert "d.jpg" not in PriorStore.open(path)
