# ruff: noqa: E402 - what is imported late needs packages that may be missing
"""``analyze`` from files to the table: a real model with random weights, real detectors, real videos."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("llava")
pytest.importorskip("dlib")
av = pytest.importorskip("av")
pytest.importorskip("pandas")

from faba_bench.protocol import load_protocol
from faba_bench.strict.au import read_aus
from support import ROOT
from videos import write_video

import llava_faba
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.cli.main import main
from llava_faba.errors import UserError
from llava_faba.inference.generate import GenerateSettings

SHORT = GenerateSettings(max_new_tokens=12)
DLIB = AnalyzeSettings(finder="dlib-68")


def table(out: Path) -> list[dict[str, str]]:
    with (out / "faces.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def command(emola: Path, out: Path, *more: str) -> list[str]:
    return ["analyze", "--model-path", str(emola), "--out", str(out), "--max-new-tokens", "12", "--no-progress", *more]


@pytest.fixture(scope="module")
def analysed(emola: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("analysed")
    assert main(command(emola, out, "--finder", "dlib-68", "--format", "openface", "py-feat", "--", str(photos))) == 0
    return out


def test_one_row_a_face_and_one_for_each_file_without(analysed: Path, photos: Path) -> None:
    rows = table(analysed)
    found = {Path(row["source"]).relative_to(photos).as_posix(): [] for row in rows}
    for row in rows:
        found[Path(row["source"]).relative_to(photos).as_posix()].append(row)
    assert {name: [row["status"] for row in one] for name, one in found.items()} == {
        "broken.jpg": ["unreadable"],
        "one.png": ["found"],
        "sub/group.jpg": ["found", "found"],
        "turned.jpg": ["found"],
        "wall.png": ["not_found"],
    }
    assert "not a readable image" in found["broken.jpg"][0]["error"]
    for row in rows:
        asked = row["status"] == "found"
        assert (
            bool(row["au_text"] or row["error"]) == bool(row["emotion_text"] or row["error"]) == asked or row["error"]
        )
        if not asked:
            assert not row["face"] and not row["x"] and not row["emotion"]
    left, right = sorted(found["sub/group.jpg"], key=lambda row: float(row["x"]))
    assert 10 < float(left["x"]) < 240 < 260 < float(right["x"]) and {left["face"], right["face"]} == {"0", "1"}
    upright, turned = found["one.png"][0], found["turned.jpg"][0]
    assert (
        abs(float(upright["x"]) - float(turned["x"])) < 12 and abs(float(upright["roll"]) - float(turned["roll"])) < 4
    )


def test_the_table_says_what_bench_generate_and_the_scorer_say(analysed: Path, emola: Path, tmp_path: Path) -> None:
    rows = [row for row in table(analysed) if row["crop"]]
    questions = tmp_path / "q.jsonl"
    asked = "What AUs are conveyed by this face?"
    lines = [
        json.dumps({"question_id": number, "image": row["crop"], "text": asked}) for number, row in enumerate(rows)
    ]
    questions.write_text("\n".join(lines))
    answers = tmp_path / "a.jsonl"
    generate = ["bench", "generate", "--model-path", str(emola), "--question-file", str(questions)]
    generate += ["--image-folder", str(analysed / "work" / "crops"), "--answers-file", str(answers)]
    assert main([*generate, "--max-new-tokens", "12"]) == 0
    vocabulary = load_protocol("faba").au.vocabulary
    for row, line in zip(rows, answers.read_text().splitlines(), strict=True):
        text = json.loads(line)["text"]
        assert row["au_text"] == text
        read = read_aus(text, frozenset(vocabulary))
        table_says = {number for number in vocabulary if row[f"AU{number}"] == "1"}
        assert table_says == set(read.value)
        assert all(row[f"AU{number}"] == "" for number in vocabulary) == (not read.parsed)


def test_answers_that_the_token_limit_cut_off_are_told(analysed: Path) -> None:
    answers = next((analysed / "work").glob("answers-*.jsonl")).read_text().splitlines()
    reasons = {line["question_id"]: line["metadata"]["finish_reason"] for line in map(json.loads, answers)}
    for row in (row for row in table(analysed) if row["crop"]):
        cut = [task for task in ("au", "emotion") if reasons[f"{row['crop']}:{task}"] == "length"]
        assert row["cut"].split() == cut
    assert "length" in reasons.values() and any("cut by the token limit" in one for one in warnings_of(analysed))


def warnings_of(out: Path) -> list[str]:
    return list(json.loads((out / "analysis.json").read_text())["warnings"])


def test_crops_are_those_of_align(analysed: Path, photos: Path, tmp_path: Path) -> None:
    assert main(["align", str(photos), "--out", str(tmp_path / "aligned"), "--expert", "dlib-68"]) == 0
    (row,) = (row for row in table(analysed) if row["source"].endswith("one.png"))
    ours = np.asarray(Image.open(analysed / "work" / "crops" / row["crop"]).convert("RGB"), dtype=int)
    aligned = np.asarray(Image.open(tmp_path / "aligned" / "one.png").convert("RGB"), dtype=int)
    assert np.array_equal(ours, aligned)


def test_other_tools_tables(analysed: Path) -> None:
    import pandas

    frame = pandas.read_parquet(analysed / "faces.parquet")
    assert len(frame) == len(table(analysed)) and str(frame.dtypes["AU1"]) == "Int64"
    with (analysed / "openface" / "group.csv").open() as stream:
        openface = list(csv.DictReader(stream))
    assert [row["success"] for row in openface] == ["1", "1"] and "AU01_c" in openface[0] and "AU12_c" in openface[0]
    feat = pandas.read_csv(analysed / "faces.feat.csv")
    assert {"FaceRectX", "FaceScore", "Pitch", "AU01", "happiness", "neutral", "input", "frame"} <= set(feat.columns)


def test_the_page_shows_every_face_and_refers_to_nothing_outside(analysed: Path) -> None:
    text = (analysed / "report.html").read_text(encoding="utf-8")
    assert text.count('class="face"') == 4 and text.count('class="face boxes"') == 3
    assert text.count("data:image/jpeg;base64,") == 4 + 3, "each face, and each picture that has one"
    landmarks = re.findall(r'<path d="((?:M[\d.]+ [\d.]+h0)+)"/>', text)
    assert [one.count("M") for one in landmarks] == [68] * 4, "dlib's, of each face"
    one = next(row for row in table(analysed) if row["source"].endswith("one.png"))
    x, y = (float(value) for value in re.findall(r"M([\d.]+) ([\d.]+)h0", landmarks[0])[30])  # the tip of the nose
    left, top = float(one["x"]), float(one["y"])
    assert left < x < left + float(one["width"]) and top < y < top + float(one["height"])
    assert "http://" not in text and "https://" not in text


def test_again_nothing_is_asked_again_and_a_changed_picture_is(
    emola: Path, faces: tuple[Image.Image, Image.Image], tmp_path: Path
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    faces[0].save(pictures / "a.png")
    first = llava_faba.analyze(pictures, emola, out=out, settings=DLIB, generate=SHORT)
    (answers,) = (out / "work").glob("answers-*.jsonl")
    before = answers.read_bytes()
    again = llava_faba.analyze(pictures, emola, out=out, settings=DLIB, generate=SHORT)
    assert again.rows == first.rows and answers.read_bytes() == before
    faces[1].save(pictures / "a.png")
    changed = llava_faba.analyze(pictures, emola, out=out, settings=DLIB, generate=SHORT)
    assert changed.rows[0]["crop"] != first.rows[0]["crop"]
    assert len(changed.faces) == 1 and changed.faces["source"][0].endswith("a.png")


def test_a_clip_is_tracked_and_its_times_are_the_streams(emola: Path, group: Image.Image, tmp_path: Path) -> None:
    frames = [np.roll(np.asarray(group), 3 * number, axis=1) for number in range(7)]
    clip = write_video(tmp_path / "clip.mp4", frames, [0, 0.1, 0.5, 1.0, 1.6, 2.0, 2.4])
    result = llava_faba.analyze(clip, emola, out=tmp_path / "out", settings=DLIB, generate=SHORT)
    rows = [row for row in result.rows if row["status"] == "found"]
    assert sorted({row["time"] for row in rows}) == [0, 0.5, 1.0, 1.6, 2.0] and {row["face"] for row in rows} == {0, 1}
    left = [row["x"] for row in sorted(rows, key=lambda row: row["time"]) if row["face"] == rows[0]["face"]]
    assert np.ptp(left) < 40  # one person on one side all the time
    again = llava_faba.analyze(clip, emola, out=tmp_path / "out", settings=DLIB, generate=SHORT)
    assert again.rows == result.rows


def test_only_the_peak_of_each_track_is_asked_about(emola: Path, group: Image.Image, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", [np.asarray(group)] * 4, [0, 0.5, 1.0, 1.5])
    settings = AnalyzeSettings(finder="dlib-68", peak=True)
    result = llava_faba.analyze(clip, emola, out=tmp_path / "out", settings=settings, generate=SHORT)
    asked = [row for row in result.rows if row["au_text"] is not None]
    assert len(asked) == 2 and all(row["peak"] == 1 and row["peak_distance"] is not None for row in asked)


@pytest.mark.parametrize("kind", ["text", "audio", "cut", "empty"])
def test_videos_that_are_none(emola: Path, group: Image.Image, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    if kind == "cut":
        whole = write_video(tmp_path / "whole.avi", [np.asarray(group)] * 6, [0.5 * number for number in range(6)])
        path = tmp_path / "clip.avi"
        path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    elif kind == "audio":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    else:
        path.write_bytes(b"" if kind == "empty" else b"this is no video\n" * 50)
    result = llava_faba.analyze(path, emola, out=tmp_path / "out", settings=DLIB, generate=SHORT)
    statuses = [row["status"] for row in result.rows]
    if kind == "cut":
        assert statuses.count("found") >= 2
    else:
        assert statuses == ["unreadable"] and result.rows[0]["error"] and len(result.warnings) == 1


def test_phones_turn_their_videos(group: Image.Image, tmp_path: Path) -> None:
    from llava_faba.analysis import video

    upright = np.asarray(group)
    clip = write_video(tmp_path / "clip.mp4", [np.rot90(upright, -1)] * 2, [0, 0.5], turn=90)
    (first, _) = video.frames(clip, 0.5)
    assert first.image.size == (500, 280)
    assert np.abs(np.asarray(first.image, dtype=int) - upright).mean() < 6


def test_killed_while_it_finds_faces_it_goes_on(emola: Path, group: Image.Image, tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    for number in range(12):
        Image.fromarray(np.roll(np.asarray(group), number, axis=1)).resize((1500, 840)).save(pictures / f"{number}.png")
    journal = out / "work" / "pictures.jsonl"
    arguments = command(emola, out, "--finder", "dlib-68", "--tasks", "au", "--", str(pictures))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "eval")])}
    process = subprocess.Popen([sys.executable, "-m", "llava_faba", *arguments], env=env, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end and not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes()
    assert 3 <= before.count(b"\n") < 12
    assert main(arguments) == 0
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert len(table(out)) == 24 and journal.read_bytes().count(b'"key"') == 12


@pytest.mark.parametrize(
    ("sources", "says"), [(["nowhere.png"], "No such file"), (["empty"], "holds no picture"), ([], "was named")]
)
def test_nothing_to_read_is_said_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=says):
        llava_faba.analyze(sources, "no-model", out="out")


def test_settings_are_checked() -> None:
    for wrong in ({"faces": "al"}, {"size": 0}, {"every": -1.0}, {"every": float("nan")}, {"tasks": ("aus",)}):
        with pytest.raises(UserError):
            AnalyzeSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Did you mean 'openface'"):
        llava_faba.analyze(".", "model", formats=["open-face"])


def test_two_analyses_into_one_folder(tmp_path: Path, photos: Path, emola: Path) -> None:
    from faba_bench.files.locks import exclusive

    out = tmp_path / "out"
    with exclusive(out / "work" / ".lock", "test"), pytest.raises(UserError, match="under way"):
        llava_faba.analyze(photos, emola, out=out)


def test_small_faces_are_listed_and_not_asked_about(emola: Path, group: Image.Image, tmp_path: Path) -> None:
    group.save(tmp_path / "group.png")
    settings = AnalyzeSettings(finder="dlib-68", smallest=400)
    result = llava_faba.analyze(tmp_path / "group.png", emola, out=tmp_path / "out", settings=settings, generate=SHORT)
    assert [row["status"] for row in result.rows] == ["too_small"] * 2 and not any(
        row["au_text"] for row in result.rows
    )
    shutil.rmtree(tmp_path / "out")


def rotation(pitch: float, yaw: float, roll: float) -> Any:
    a, b, c = np.deg2rad([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])  # to the image's right
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, 0, 0), (0, 30, 0), (0, 0, -25), (10, -20, 15)])
def test_head_pose_of_a_turned_average_face(angles: tuple[float, float, float]) -> None:
    from llava_faba.analysis import pose

    points = np.zeros((68, 2))
    turned = pose._FACE @ rotation(*angles).T
    points[list(pose._POINTS[68])] = turned[:, :2] * 1.7 + 100
    assert pose.head_pose(points) == pytest.approx(angles, abs=0.2)


def test_the_peak_is_where_the_face_moved_most() -> None:
    from llava_faba.analysis.peaks import peak

    generator = np.random.default_rng(0)
    neutral = generator.uniform(0, 100, (68, 2))
    shapes = []
    for number in range(30):
        moved = neutral.copy()
        moved[48:60, 1] += 12 * np.exp(-((number - 19) ** 2) / 8)
        turn = np.deg2rad(number)
        shapes.append(
            moved @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (1 + number / 60)
        )
    seen = np.array(shapes) + generator.normal(0, 0.2, (30, 68, 2))
    assert abs(peak(seen) - 19) <= 1
    seen[4, :17] += generator.normal(0, 9, (17, 2))  # the outline of the jaw slips, as dlib's does
    assert abs(peak(seen) - 19) <= 1


@pytest.fixture(scope="module")
def overlaid(emola: Path, photos: Path, group: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures analysed without, then with overlays, beside a video of one second."""
    folder = tmp_path_factory.mktemp("overlaid")
    clip = write_video(folder / "clip.mp4", [np.asarray(group)] * 10, [at / 10 for at in range(10)])
    out = folder / "out"
    words = ["--finder", "dlib-68", "--tasks", "emotion", "--every", "0.5", "--", str(photos / "sub"), str(clip)]
    assert main(command(emola, out, *words)) == 0
    answers = {path.name: path.read_bytes() for path in (out / "work").glob("answers-*.jsonl")}
    assert main(command(emola, out, "--overlay", *words)) == 0
    assert {path.name: path.read_bytes() for path in (out / "work").glob("answers-*.jsonl")} == answers
    return out


def test_overlays_draw_boxes_and_landmarks_where_the_table_has_them(overlaid: Path, photos: Path) -> None:
    (picture,) = (overlaid / "overlay").glob("*.png")
    drawn = np.asarray(Image.open(picture).convert("RGB"), dtype=int)
    plain = np.asarray(Image.open(photos / "sub" / "group.jpg").convert("RGB"), dtype=int)
    assert drawn.shape == plain.shape
    for row in (row for row in table(overlaid) if row["source"].endswith("group.jpg")):
        x, y, width, height = (round(float(row[name])) for name in ("x", "y", "width", "height"))
        edge = np.abs(drawn[y : y + 2, x + 3 : x + width - 3] - plain[y : y + 2, x + 3 : x + width - 3]).sum(axis=2)
        assert (edge.max(axis=0) > 60).mean() > 0.8, "its upper edge is drawn"
        inner = slice(y + 5, y + height - 5), slice(x + 5, x + width - 5)
        changed = (np.abs(drawn[inner] - plain[inner]).sum(axis=2) > 60).mean()
        assert 0.001 < changed < 0.3, "landmarks are drawn, and the face can be seen"


def test_an_overlaid_video_has_every_frame_at_its_time(overlaid: Path) -> None:
    (clip,) = (overlaid / "overlay").glob("*.mp4")
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
        assert len(frames) == 10
        assert [round(frame.time - frames[0].time, 2) for frame in frames] == [at / 10 for at in range(10)]
        first, last = (frame.to_ndarray(format="rgb24").astype(int) for frame in (frames[0], frames[-1]))
    assert np.abs(first - last).mean() < 6, "what was read at 0.5 s stays until the end"


def test_the_page_shows_each_picture_with_its_boxes(overlaid: Path) -> None:
    page = (overlaid / "report.html").read_text()
    assert page.count('<figure class="face boxes">') == 1
    rows = [row for row in table(overlaid) if row["source"].endswith("group.jpg")]
    assert all(f'<rect x="{row["x"]}" y="{row["y"]}"' in page for row in rows) and len(rows) == 2
