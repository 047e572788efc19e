"""``llava-faba priors``: the commands beside extract, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_faba.cli.main import main
from llava_faba.experts import create_expert
from llava_faba.priors.layout import FEATURES
from llava_faba.priors.stats import statistics
from llava_faba.priors.store import PriorStore
from llava_faba.priors.writer import PriorStoreWriter, Row

from .conftest import row, writer


def _run(*words: object) -> int:
    return main(["priors", *map(str, words)])


@pytest.fixture
def extracted(tmp_path: Path, faces: Callable[[int], Path]) -> tuple[Path, Path]:
    """(image folder, store) of four faces, one picture without a face, and one broken file, made by dlib."""
    pytest.importorskip("dlib")
    folder = faces(4)
    Image.new("RGB", (50, 40), "gray").save(folder / "nobody.png")
    (folder / "broken.jpg").write_bytes(b"?")
    assert _run("extract", "--expert", "dlib-68", "--images", folder, "--out", tmp_path / "store") == 0
    return folder, tmp_path / "store"


def test_info(extracted: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert _run("info", extracted[1], "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values) == ["n", "size", "expert", "settings", "status"]
    assert values["n"] == 6 and values["size"] == 136 and values["expert"] == "dlib-68"
    assert values["settings"] == {"upsample": 0, "retry_upsample": 1}
    assert values["status"] == {"found": 4, "not_found": 1, "several_faces": 0, "unreadable": 1}
    assert _run("info", extracted[1]) == 0
    assert "6 images, 136 numbers each" in capsys.readouterr().out


def test_get(extracted: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert _run("get", extracted[1], "part0/0000.png", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["status"], values["width"], values["height"]) == ("found", 140, 150)
    points = np.array(values["landmarks"])
    assert points.shape == (68, 2) and len(values["prior"]) == 136
    np.testing.assert_allclose((points - [70, 75]) / 75, np.array(values["prior"]).reshape(-1, 2), atol=1e-5)
    assert _run("get", extracted[1], "nobody.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["landmarks"] is None
    assert _run("get", extracted[1], "part0/0000.png") == 0
    assert capsys.readouterr().out.startswith("part0/0000.png: found, 140x150\n")
    assert _run("get", extracted[1], "absent.png") == 2
    assert "no prior for image 'absent.png'" in capsys.readouterr().err


def test_shards_merge_to_what_one_process_makes(
    extracted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, whole = extracted
    for shard in range(2):
        words = ("--expert", "dlib-68", "--images", folder, "--shard", f"{shard}/2", "--out", tmp_path / f"s{shard}")
        assert _run("extract", *words) == 0
    assert _run("merge", tmp_path / "s0", tmp_path / "s1", "--out", tmp_path / "merged") == 0
    assert "6 images from 2 stores" in capsys.readouterr().out
    one, two = PriorStore.open(whole), PriorStore.open(tmp_path / "merged")
    assert sorted(one) == sorted(two)
    for image in one:
        np.testing.assert_array_equal(one.get(image), two.get(image))
        assert one.status(image) == two.status(image)
    assert _run("merge", tmp_path / "s0", tmp_path / "s1", "--out", tmp_path / "merged") == 0  # again, nothing new
    assert _run("verify", tmp_path / "merged", "--images", folder) == 0


def test_a_launchers_processes_take_their_shares(
    extracted: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        assert _run("extract", "--expert", "dlib-68", "--images", extracted[0], "--out", tmp_path / "all") == 0
    assert f"priors merge {tmp_path}/all/shard-*-of-3 --out {tmp_path}/all" in capsys.readouterr().out
    shards = sorted((tmp_path / "all").glob("shard-*-of-3"))
    assert [len(PriorStore.open(shard)) for shard in shards] == [2, 2, 2]
    assert _run("merge", *shards, "--out", tmp_path / "all") == 0
    assert len(PriorStore.open(tmp_path / "all")) == 6


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_under_a_real_launcher(extracted: tuple[Path, Path], tmp_path: Path, launcher: str) -> None:
    pytest.importorskip("deepspeed" if launcher == "deepspeed" else "torch")
    start = {
        "torchrun": ["torchrun", "--nproc_per_node", "2", "--master_port", "29711", "-m", "llava_faba"],
        "deepspeed": ["deepspeed", "--num_gpus", "2", "--master_port", "29712", "--module", "llava_faba"],
    }[launcher]
    program = Path(sys.executable).with_name(start[0])
    command = [str(program), *start[1:], "priors", "extract", "--expert", "dlib-68", "--images", str(extracted[0])]
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    command += ["--out", str(tmp_path / "all")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "priors merge" in done.stdout
    shards = sorted((tmp_path / "all").glob("shard-*-of-2"))
    assert [len(PriorStore.open(shard)) for shard in shards] == [3, 3]
    assert _run("merge", *shards, "--out", tmp_path / "all") == 0
    whole, merged = PriorStore.open(extracted[1]), PriorStore.open(tmp_path / "all")
    assert sorted(whole) == sorted(merged) and whole.counts() == merged.counts()
    for image in whole:
        np.testing.assert_array_equal(whole.get(image), merged.get(image))


def test_names_that_no_encoding_knows_can_be_shown(extracted: tuple[Path, Path], tmp_path: Path) -> None:
    folder = extracted[0]
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).write_bytes((folder / "part0/0000.png").read_bytes())
    program = [sys.executable, "-m", "llava_faba", "priors"]
    words = [["extract", "--expert", "dlib-68", "--images", str(folder), "--out", str(extracted[1])]]
    words += [["get", str(extracted[1]), name], ["export", str(extracted[1]), "--out", str(tmp_path / "p.npz")]]
    words += [["show", str(folder / name), "--expert", "dlib-68", "--out", str(tmp_path / "shown")]]
    for command in words:
        done = subprocess.run([*program, *command], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
        assert done.returncode == 0, done.stderr
        if command[0] == "get":
            assert done.stdout.startswith("caf\\udce9.png: found, 140x150")
    assert (tmp_path / "shown" / f"{name}.landmarks.png").is_file()


def test_merge_prefers_what_could_be_read_and_refuses_contradictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "one": [Row("a.jpg", None, "unreadable", note="missing file"), row("b.jpg")],
        "two": [row("a.jpg"), row("b.jpg"), row("c.jpg")],
        "three": [Row("b.jpg", np.ones(4, np.float32), "found")],
    }
    for name, of_store in rows.items():
        with writer(tmp_path / name) as open_writer:
            open_writer.append(of_store)
    assert _run("merge", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "merged") == 0
    assert PriorStore.open(tmp_path / "merged").counts()["found"] == 3
    with writer(tmp_path / "held") as open_writer:
        open_writer.append(rows["one"])
    assert _run("merge", tmp_path / "two", "--out", tmp_path / "held") == 2
    assert "holds image 'a.jpg' as unreadable" in capsys.readouterr().err
    assert _run("merge", tmp_path / "one", "--out", tmp_path / "merged") == 0  # what it has is better
    assert _run("merge", tmp_path / "three", "--out", tmp_path / "merged") == 2
    assert "different priors of image 'b.jpg'" in capsys.readouterr().err
    assert _run("merge", tmp_path / "two", tmp_path / "three", "--out", tmp_path / "bad") == 2
    assert "different priors of image 'b.jpg'" in capsys.readouterr().err
    with writer(tmp_path / "other", size=5) as open_writer:
        open_writer.append([row("x.jpg", size=5)])
    assert _run("merge", tmp_path / "one", tmp_path / "other", "--out", tmp_path / "bad") == 2
    assert "their size is 4 and 5" in capsys.readouterr().err


def test_verify_says_what_is_wrong(extracted: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, store = extracted
    assert _run("verify", store, "--images", folder) == 0
    assert capsys.readouterr().out.endswith(": sound\n")
    Image.new("RGB", (9, 9)).save(folder / "new.png")
    with (store / FEATURES).open("r+b") as file:
        file.write(b"\1\2\3")
    assert _run("verify", store, "--images", folder) == 1
    printed = capsys.readouterr().out
    assert "fails its checksum" in printed and "'new.png' is not in the store" in printed and "2 problems" in printed


def test_landmarks_for_the_report(extracted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, store = extracted
    assert _run("export", store, "--out", tmp_path / "sub" / "points.npz") == 0
    with np.load(tmp_path / "sub" / "points.npz", allow_pickle=False) as data:
        images, landmarks, status = list(data["images"]), data["landmarks"], list(data["status"])
    assert landmarks.dtype == np.float32 and landmarks.shape == (6, 68, 2)
    assert dict(zip(images, status, strict=True))["nobody.png"] == "not_found"
    expert = create_expert("dlib-68")
    for image, points in zip(images, landmarks, strict=True):
        if image in ("nobody.png", "broken.jpg"):
            assert np.isnan(points).all()
        else:
            located = expert.locate([np.asarray(Image.open(folder / image))])[0]  # type: ignore[attr-defined]
            np.testing.assert_allclose(points, located.points, atol=1e-3)


def test_npy_folders_go_in_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The layout of FABA-Instruct."""
    random = np.random.default_rng(0)
    records = []
    for name in ("one", "two", "zero", "broken", "gone"):
        image, file = tmp_path / f"F/train/images/{name}.jpg", tmp_path / f"F/train/landmarks/{name}.npy"
        image.parent.mkdir(parents=True, exist_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 30)).save(image)
        np.save(file, np.zeros(212, np.float32) if name == "zero" else random.random(212).astype(np.float32))
        records.append({"image": f"F/train/images/{name}.jpg", "landmark": f"F/train/landmarks/{name}.npy"})
    (tmp_path / "F/train/landmarks/broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "F/train/landmarks/gone.npy").unlink()
    annotations = tmp_path / "train.json"
    annotations.write_text(json.dumps([*records, {"image": "general.jpg"}, {"id": "text only"}]))
    words = ("--annotations", annotations, "--image-folder", tmp_path)
    assert _run("import", *words, "--expert", "emola-106", "--out", tmp_path / "store") == 0
    store = PriorStore.open(tmp_path / "store")
    assert (store.expert, store.size, len(store)) == ("emola-106", 212, 5)
    assert store.counts() == {"found": 2, "not_found": 1, "several_faces": 0, "unreadable": 2}
    assert str(tmp_path) not in store.entry("F/train/images/gone.jpg").note
    original = np.load(tmp_path / records[1]["landmark"])
    np.testing.assert_array_equal(store.get(records[1]["image"]), original)

    assert _run("export", store.path, "--npy", tmp_path / "back", "--annotations", annotations) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back" / records[1]["landmark"]), original)
    assert len(list((tmp_path / "back").rglob("*.npy"))) == 3
    assert _run("export", store.path, "--out", tmp_path / "points.npz") == 0
    with np.load(tmp_path / "points.npz") as data:
        # -1 and 1 are the edges of the stretched image; see the expert.
        np.testing.assert_allclose(
            data["landmarks"][1], ((original.reshape(-1, 2) + 1) * 96 + 0.5) * [60 / 192, 30 / 192], rtol=1e-5
        )

    folders = ("--images", tmp_path / "F/train/images", "--npy", tmp_path / "F/train/landmarks")
    assert _run("import", *folders, "--out", tmp_path / "store2") == 0
    assert "1 images have no .npy file and are not in the store, first gone.jpg" in capsys.readouterr().out
    unknown = PriorStore.open(tmp_path / "store2")
    assert unknown.expert == "precomputed" and len(unknown) == 4 and "one.jpg" in unknown
    assert _run("export", unknown.path, "--out", tmp_path / "no.npz") == 2
    assert "not known to be landmarks" in capsys.readouterr().err
    assert _run("export", unknown.path, "--out", tmp_path / "p.npz", "--expert", "emola-106") == 0


def test_export_does_not_leave_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writer(tmp_path / "store") as open_writer:
        open_writer.append([row("../../a.jpg")])
    assert _run("export", tmp_path / "store", "--npy", tmp_path / "out") == 2
    assert "outside of" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npy"))


def test_show_draws_the_points_where_they_are(
    extracted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = extracted
    out = tmp_path / "shown"
    image = folder / "part0" / "0000.png"
    words = ("--store", store, "--image-folder", folder, "--out", out)
    assert _run("show", image, folder / "broken.jpg", *words) == 0
    shown = np.asarray(Image.open(out / "part0" / "0000.png.landmarks.png")).astype(int)
    x, y = create_expert("dlib-68").landmarks(PriorStore.open(store).get("part0/0000.png"), (140, 150))[30]
    scale, left = 512 / 150, (512 - round(140 * 512 / 150)) // 2
    assert tuple(shown[round(y * scale), round(x * scale) + left]) == (60, 220, 90)
    assert (out / "broken.jpg.landmarks.png").exists()
    (folder / "part1" / "0000.png").write_bytes(image.read_bytes())
    (folder / "part1" / "0000.jpg").write_bytes(image.read_bytes())
    same = (image, folder / "part1" / "0000.png", folder / "part1" / "0000.jpg", folder / "part0", folder / "part1")
    assert _run("show", *same, "--expert", "dlib-68", "--out", tmp_path / "same") == 0
    assert sorted(str(path.relative_to(tmp_path / "same")) for path in (tmp_path / "same").rglob("*.png")) == [
        "part0/0000.png.landmarks.png",
        "part0/sheet-001.png",
        "part1/0000.jpg.landmarks.png",
        "part1/0000.png.landmarks.png",
        "part1/sheet-001.png",
    ]
    capsys.readouterr()
    assert _run("show", folder, "--expert", "dlib-68", "--out", out) == 0
    sheet = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert sheet.name == "sheet-001.png" and Image.open(sheet).size == (8 * 192, 208)


def test_stats_find_the_odd_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    shape = random.uniform(-0.5, 0.5, (68, 2))
    shape -= shape.mean(axis=0)
    with PriorStoreWriter(tmp_path / "store", expert="dlib-68", version="1", settings={}, size=136) as open_writer:
        for number in range(200):
            angle, size = random.normal(0, 0.1), random.normal(1, 0.05)
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            points = shape @ turn * size + random.normal(0, 0.02, 2) + random.normal(0, 0.01, (68, 2))
            if number == 7:
                points = random.uniform(-0.5, 0.5, (68, 2))
            if number == 9:
                points = points * 0.2
            open_writer.append([Row(f"{number}.png", points.reshape(-1).astype(np.float32), "found", (100, 100))])
        open_writer.append([Row("none.png", None, "not_found", (100, 100))])
    found = statistics(PriorStore.open(tmp_path / "store"))
    aligned = found.mean - found.mean.mean(axis=0)
    aligned *= np.sqrt(np.square(shape).sum() / np.square(aligned).sum())
    np.testing.assert_allclose(aligned, shape, atol=0.03)
    unit = np.sqrt(np.square(shape).sum(axis=1).mean())
    assert found.deviation.mean() < 3 * 0.01 * np.sqrt(2) / unit  # the noise, and one face that is none
    assert _run("stats", tmp_path / "store") == 0
    out = tmp_path / "store" / "stats"
    summary = json.loads((out / "stats.json").read_text())
    assert (summary["n"], summary["faces"]) == (201, 200) and len(summary["mean_face"]) == 68
    odd = [json.loads(line)["image"] for line in (out / "outliers.jsonl").read_text().splitlines()]
    assert set(odd[:2]) == {"7.png", "9.png"} and len(odd) <= 4
    assert Image.open(out / "stats.png").size[0] > 1000
    with writer(tmp_path / "empty") as open_writer:
        open_writer.append([row("a.jpg", "not_found")])
    assert _run("stats", tmp_path / "empty") == 2
    assert "0 images with a face" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract", "--expert", "dlib68", "--images", ".", "--out", "x"), "Did you mean 'dlib-68'?"),
        (("extract", "--expert", "dlib-68", "--images", "absent", "--out", "x"), "absent is not a folder"),
        (("extract", "--expert", "dlib-68", "--images", ".", "--out", "x", "--shard", "4/4"), "expected I/N"),
        (("extract", "--expert", "dlib-68", "--images", ".", "--out", "x", "--set", "up"), "expected KEY=VALUE"),
        (("extract", "--expert", "dlib-68", "--images", ".", "--out", "x", "--set", "up=1"), "does not take"),
        (("info", "absent"), "absent is not a priors store"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("a.png")
    assert _run(*words) == 2
    assert message in capsys.readouterr().err
