"""Extraction: every image once, whatever is wrong with it and whenever the process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from llava_faba.errors import ExpertError, PriorError, RecordError
from llava_faba.experts import Picture, PriorExpert, PriorResult, PriorStatus, create_expert
from llava_faba.priors.extract import extract
from llava_faba.priors.layout import FEATURES, INDEX, STRINGS
from llava_faba.priors.sources import images_below, images_in
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import verify


class Brightness(PriorExpert):
    """Mean colour; what is black has no face, what is bright has several."""

    name: ClassVar[str] = "brightness"

    def __init__(self, gain: float = 1.0, in_workers: bool = False, fails_on: str | None = None) -> None:
        self.size, self.gain, self.fails_on = 3, gain, fails_on
        self.in_workers = in_workers
        self.batches: list[int] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {"gain": self.gain, "in_workers": self.in_workers, "fails_on": self.fails_on}

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        self.batches.append(len(pictures))
        means = np.array([picture.pixels.mean(axis=(0, 1)) for picture in pictures], np.float32).reshape(-1, 3)
        if self.fails_on == "red" and (means[:, 0] == 254).any():
            raise ValueError("I do not like red")
        if self.fails_on == "all":
            raise ValueError("out of order")
        if self.fails_on == "die" and (means[:, 0] == 254).any():
            os._exit(3)
        kinds = {0: PriorStatus.NOT_FOUND, 255: PriorStatus.SEVERAL_FACES}
        statuses = [kinds.get(int(mean.sum() / 3), PriorStatus.FOUND) for mean in means]
        if self.fails_on == "nan":
            means[means[:, 0] == 254] = np.nan
        return PriorResult(means * self.gain, statuses)


def _pictures(folder: Path, count: int = 10) -> Path:
    for number in range(count):
        path = folder / f"p{number % 2}" / f"{number // 2:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (number + 1, 2, 3)).save(path)
    return folder


def test_bad_images_are_rows_with_a_reason(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "images", 4)
    Image.new("RGB", (8, 8), "black").save(folder / "black.png")
    Image.new("RGB", (8, 8), "white").save(folder / "weiß 白.jpg", quality=95)
    (folder / "empty.jpg").touch()
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    names = [*images_below(folder), "missing.jpg"]
    summary = extract(names, folder, tmp_path / "store", expert=Brightness())
    assert (summary.processed, summary.before) == (9, 0)
    assert summary.counts == {"found": 4, "not_found": 1, "several_faces": 1, "unreadable": 3}
    store = PriorStore.open(tmp_path / "store")
    assert list(store) == names and verify(store.path) == []
    np.testing.assert_array_equal(store.get("p0/001.png"), [3, 2, 3])  # p1/001.png has the same name elsewhere
    np.testing.assert_array_equal(store.get("p1/001.png"), [4, 2, 3])
    listed = [json.loads(line) for line in summary.problems.read_text().splitlines()]
    assert {one["image"]: (one["status"], one["note"]) for one in listed} == {
        "black.png": ("not_found", ""),
        "weiß 白.jpg": ("several_faces", ""),
        "empty.jpg": ("unreadable", "empty file"),
        "broken.jpg": ("unreadable", "damaged: OSError: Truncated File Read"),
        "missing.jpg": ("unreadable", "missing file"),
    }


def test_the_same_command_goes_on_and_says_so(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "images")
    names = images_below(folder)
    seen: list[tuple[int, int]] = []
    assert extract(names[:4], folder, tmp_path / "store", expert=Brightness()).processed == 4
    summary = extract(names, folder, tmp_path / "store", expert=Brightness(), progress=lambda *at: seen.append(at))
    assert (summary.processed, summary.before, sum(summary.counts.values())) == (6, 4, 10)
    assert seen[0] == (4, 10) and seen[-1] == (10, 10)
    summary = extract(names + names, folder, tmp_path / "store", expert=Brightness())
    assert (summary.processed, summary.before) == (0, 10)
    with pytest.raises(PriorError, match="made with settings"):
        extract(names, folder, tmp_path / "store", expert=Brightness(gain=2.0))


@pytest.mark.parametrize("in_workers", [False, True])
def test_any_number_of_workers_makes_the_same_store(tmp_path: Path, in_workers: bool) -> None:
    folder = _pictures(tmp_path / "images", 30)
    (folder / "p0" / "000.png").write_bytes(b"?")
    names = images_below(folder)
    stores = []
    for workers in (1, 2):
        out = tmp_path / f"store{workers}"
        extract(names, folder, out, expert=Brightness(in_workers=in_workers), batch_size=4, workers=workers)
        stores.append([(out / name).read_bytes() for name in (FEATURES, STRINGS)])
    assert stores[0] == stores[1]


def test_network_experts_see_full_batches(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "images", 10)
    expert = Brightness()
    extract(images_below(folder), folder, tmp_path / "store", expert=expert, batch_size=4)
    assert expert.batches == [4, 4, 2]


@pytest.mark.parametrize(("in_workers", "workers"), [(True, 2), (True, 1), (False, 1)])
@pytest.mark.parametrize(
    ("fails_on", "reason"), [("red", "ValueError: I do not like red"), ("nan", "numbers that are not finite")]
)
def test_an_image_that_the_expert_fails_on_costs_no_other(
    tmp_path: Path, fails_on: str, reason: str, in_workers: bool, workers: int
) -> None:
    folder = _pictures(tmp_path / "images", 10)
    Image.new("RGB", (8, 8), (254, 0, 0)).save(folder / "p0" / "001b.png")
    names = images_below(folder)
    expert = Brightness(in_workers=in_workers, fails_on=fails_on)
    summary = extract(names, folder, tmp_path / "store", expert=expert, workers=workers)
    store = PriorStore.open(tmp_path / "store")
    assert list(store) == names and summary.counts == {"found": 10, "not_found": 0, "several_faces": 0, "unreadable": 1}
    assert store.entry("p0/001b.png").note == f"the expert failed on it: {reason}"
    np.testing.assert_array_equal(store.get("p0/001.png"), [3, 2, 3])


@pytest.mark.parametrize("workers", [1, 2])
def test_an_expert_that_fails_on_everything_is_an_error_that_names_where(tmp_path: Path, workers: int) -> None:
    folder = _pictures(tmp_path / "images", 6)
    with pytest.raises(
        ExpertError, match=r"'brightness' fails on every picture.*out of order.*p0/000\.png.*other\.errors\.log"
    ):
        expert = Brightness(in_workers=True, fails_on="all")
        extract(images_below(folder), folder, tmp_path / "other", expert=expert, workers=workers)
    assert verify(tmp_path / "other") == []
    assert 'raise ValueError("out of order")' in (tmp_path / "other.errors.log").read_text()


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("workers", 0), ("workers", -2)])
def test_numbers_that_would_do_nothing_are_refused(tmp_path: Path, name: str, value: int) -> None:
    folder = _pictures(tmp_path / "images", 2)
    with pytest.raises(PriorError, match=f"is {value}; it must be 1 or more"):
        extract(images_below(folder), folder, tmp_path / "s", expert=Brightness(), **{name: value})  # type: ignore[arg-type]


def test_a_worker_that_dies_is_an_error_that_names_where(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "images", 6)
    Image.new("RGB", (8, 8), (254, 0, 0)).save(folder / "z.png")
    with pytest.raises(ExpertError, match=r"worker process of the extraction died.*z\.png"):
        expert = Brightness(in_workers=True, fails_on="die")
        extract(images_below(folder), folder, tmp_path / "store", expert=expert, workers=2)
    assert verify(tmp_path / "store") == []


def test_the_precomputed_expert_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExpertError, match="priors import"):
        extract(["a.jpg"], tmp_path, tmp_path / "store", expert="precomputed", settings={"size": 4})


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _pictures(tmp_path / "images", 2)
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("p1"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PriorError, match=r"p1: this folder cannot be read \(Permission denied\)"):
        images_below(folder)


def _command(folder: Path, out: Path, *more: str) -> list[str]:
    base = [sys.executable, "-m", "llava_faba.cli", "priors", "extract", "--expert", "dlib-68"]
    return [*base, "--images", str(folder), "--out", str(out), *more]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_at_any_point_and_go_on(tmp_path: Path, faces: Callable[[int], Path], workers: str) -> None:
    pytest.importorskip("dlib")
    folder, out = faces(160), tmp_path / "store"
    options = ("--workers", workers, "--json", "--set", "retry_upsample=0")
    rows = 0
    for goal in (1, 60):
        process = subprocess.Popen(_command(folder, out, *options), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (out / INDEX).exists() and (out / INDEX).stat().st_size >= goal * 48:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(PriorStore.open(out)) >= max(rows, goal)
        rows = len(PriorStore.open(out))
    done = subprocess.run(_command(folder, out, *options), capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["before"] == rows and summary["processed"] == 160 - rows
    assert list(PriorStore.open(out)) == images_below(folder) and verify(out) == []


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, faces: Callable[[int], Path]) -> None:
    """From the first import to the last file, until a run comes through."""
    pytest.importorskip("dlib")
    folder, out = faces(240), tmp_path / "store"
    random, rows, kills, done = np.random.default_rng(), 0, 0, None
    while done is None:
        command = _command(folder, out, "--workers", "2", "--json", "--set", "retry_upsample=0")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            printed, _ = process.communicate(timeout=None if kills >= 12 else float(random.uniform(0.3, 9)))
            assert process.returncode == 0
            done = json.loads(printed)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        if (out / "meta.json").exists():
            store = PriorStore.open(out)
            assert len(store) >= rows and len(set(store)) == len(store)
            rows = len(store) if done is None else rows
    assert (done["before"], done["processed"]) == (rows, 240 - rows)
    assert list(PriorStore.open(out)) == images_below(folder) and verify(out) == []
    assert {path.name for path in out.iterdir()} - {"cut"} == {
        FEATURES,
        INDEX,
        STRINGS,
        "content.bin",
        "lookup.bin",
        "lock",
        "meta.json",
        "problems.jsonl",
    }


def test_workers_end_with_their_parent(tmp_path: Path, faces: Callable[[int], Path]) -> None:
    pytest.importorskip("dlib")
    folder, out = faces(200), tmp_path / "store"
    process = subprocess.Popen(
        _command(folder, out, "--workers", "2"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not ((out / INDEX).exists() and (out / INDEX).stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _in_session(process.pid):
        time.sleep(0.05)
    assert _in_session(process.pid) == []


def _in_session(leader: int) -> list[str]:
    """Processes that are alive in a session, from /proc."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if fields[3] == str(leader) and fields[0] != "Z":
            alive.append(stat.parent.name)
    return alive


def test_dlib_finds_the_face_and_the_extraction_says_how_many(tmp_path: Path, faces: Callable[[int], Path]) -> None:
    pytest.importorskip("dlib")
    folder = faces(4)
    summary = extract(images_below(folder), folder, tmp_path / "store", expert="dlib-68")
    assert summary.counts["found"] == 4
    points = create_expert("dlib-68").landmarks(PriorStore.open(tmp_path / "store").get("part0/0000.png"), (140, 150))
    assert points is not None and points[:, 0].min() > 20 and points[:, 0].max() < 130


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (5, 5)])
def test_dlib_takes_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    pytest.importorskip("dlib")
    result = create_expert("dlib-68").extract([Picture.whole(np.zeros((*shape, 3), np.uint8))])
    assert result.statuses == [PriorStatus.NOT_FOUND] and not result.features.any()


def test_images_come_from_folders_and_annotation_files(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "data" / "images", 2)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.txt").touch()
    (folder / "notes.txt").touch()
    (folder / "B.JPG").touch()
    assert images_in(folder, None, None) == (folder, ["B.JPG", "p0/000.png", "p1/000.png"])
    below = images_in(folder / "p0", None, tmp_path / "data")
    assert below == (tmp_path / "data", ["images/p0/000.png"])
    records = tmp_path / "train.json"
    records.write_text(json.dumps([{"image": "x.jpg"}, {"id": 1}, {"image": "y/z.jpg"}, {"image": "x.jpg"}]))
    lines = tmp_path / "eval.jsonl"
    lines.write_text('{"image": "q.jpg"}\n\n{"text": "no image"}\n')
    assert images_in(None, [records, lines], folder) == (folder, ["x.jpg", "y/z.jpg", "q.jpg"])
    lines.write_text('{"image": "q.jpg"}\n{"image": \n')
    with pytest.raises(RecordError, match=r"eval\.jsonl, line 2"):
        images_in(None, [lines], folder)
    (folder / "p0" / "back").symlink_to("../../images")
    (folder / "p0" / "self").symlink_to(".")
    (folder / "linked").symlink_to("p1")
    assert images_below(folder) == ["B.JPG", "linked/000.png", "p0/000.png", "p1/000.png"]
    with pytest.raises(PriorError, match="does not lie below"):
        images_in(folder, None, tmp_path / "elsewhere")
    with pytest.raises(PriorError, match="no image below"):
        images_in(folder / ".hidden", None, None)


class StartsNowhereElse(Brightness):
    """Made in this process, and in no other: its weights are gone there, its library does not import, ..."""

    def __init__(self, gain: float = 1.0, in_workers: bool = True, fails_on: str | None = None) -> None:
        super().__init__(gain, in_workers, fails_on)
        if os.environ.get("MAKER") != str(os.getpid()):
            raise {"expert": ExpertError("the weights are gone"), "other": TypeError("no such key")}[str(fails_on)]


@pytest.mark.parametrize(
    ("fails_on", "told"),
    [
        ("expert", "could not start: the weights are gone"),
        ("other", r"could not start: TypeError: no such key \(.*line.*traceback in .*store\.errors\.log"),
    ],
)
def test_an_expert_that_does_not_start_in_a_worker_says_why(
    fails_on: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was "out of memory, or killed"."""
    monkeypatch.setenv("MAKER", str(os.getpid()))
    folder = _pictures(tmp_path / "images", 4)
    expert = StartsNowhereElse(fails_on=fails_on)
    with pytest.raises(ExpertError, match=told):
        extract(images_below(folder), folder, tmp_path / "store", expert=expert, workers=2)
    log = tmp_path / "store.errors.log"
    assert log.exists() == (fails_on == "other") and (not log.exists() or "in __init__" in log.read_text())
