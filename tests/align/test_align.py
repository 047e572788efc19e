"""Aligned crops from photographs: upright, complete, resumable, and honest about what has no face."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llava_faba.align.crop import align_face, crop_to_landmarks
from llava_faba.align.folder import LOG, SETTINGS, align_folder
from llava_faba.cli.main import main
from llava_faba.errors import ExpertError
from llava_faba.experts import Picture, PriorExpert, PriorStatus, create_expert

EYES = (range(36, 42), range(42, 48))


@pytest.fixture(scope="module")
def expert() -> PriorExpert:
    return create_expert("dlib-68")


@pytest.fixture(scope="module")
def photograph() -> Any:
    """The astronaut with her surroundings, 512 x 512; E. Collins, NASA, public domain."""
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


def points_in(image: Any, expert: PriorExpert) -> np.ndarray:
    result = expert.extract([Picture.whole(np.asarray(image))])
    assert result.landmarks[0] is not None, result.statuses
    return result.landmarks[0]


def tilt(points: np.ndarray) -> float:
    """The line between the eyes against the horizontal, in degrees."""
    left, right = (points[list(eye)].mean(axis=0) for eye in EYES)
    return float(np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0])))


@pytest.mark.parametrize("angle", [-25, 0, 15, 25])
def test_a_turned_photograph_becomes_an_upright_centred_crop(photograph, expert, angle):
    turned = photograph.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    crop = align_face(turned, expert, 240)
    assert crop.status == PriorStatus.FOUND and crop.image.size == (240, 240)
    points = points_in(crop.image, expert)
    assert abs(tilt(points)) < 3
    low, high = points.min(axis=0), points.max(axis=0)
    assert np.abs((low + high) / 2 - 120).max() < 0.04 * 240
    assert low.min() > 0 and high.max() < 240


def test_the_crop_lies_where_the_landmarks_say(photograph):
    """Colours at known places: the crop maps eye to eye, by rotation and scale only."""
    pixels = np.zeros((400, 400, 3), np.uint8)
    points = np.full((68, 2), 200.0)
    points[list(EYES[0])], points[list(EYES[1])] = (160, 180), (240, 220)
    points[8] = (180, 300)
    pixels[175:186, 155:166], pixels[215:226, 235:246] = (255, 0, 0), (0, 255, 0)
    crop = np.asarray(crop_to_landmarks(Image.fromarray(pixels), points, 200)).astype(int)
    red = np.argwhere((crop[..., 0] > 200) & (crop[..., 1] < 100)).mean(axis=0)
    green = np.argwhere((crop[..., 1] > 200) & (crop[..., 0] < 100)).mean(axis=0)
    assert abs(red[0] - green[0]) < 1.5 and green[1] > red[1]


def test_a_face_at_the_border_is_filled_up_not_shifted(photograph, expert):
    points = points_in(photograph, expert)
    left, top = (points.min(axis=0) - 4).astype(int)
    right, bottom = (points.max(axis=0) + 4).astype(int)
    tight = photograph.crop((left, top, right, bottom))
    crop = np.asarray(crop_to_landmarks(tight, points - (left, top), 240))
    whole = np.asarray(crop_to_landmarks(photograph, points, 240)).astype(int)
    assert [tuple(crop[y, x]) for x, y in ((2, 2), (237, 2), (2, 237), (237, 237))] == [(122, 116, 104)] * 4
    assert np.abs(crop[110:130, 110:130].astype(int) - whole[110:130, 110:130]).max() < 3


@pytest.fixture
def folder(tmp_path: Path, photograph: Any) -> Path:
    """A turned face below a sub-folder, a wall, a file that is no picture, and one that is none of our business."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    photograph.rotate(20, resample=Image.Resampling.BICUBIC).save(photos / "sub" / "turned.png")
    Image.new("RGB", (200, 200), (90, 90, 90)).save(photos / "wall.JPG")
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("not a picture")
    return photos


def log_of(out: Path) -> dict[str, dict[str, Any]]:
    return {line["image"]: line for line in map(json.loads, (out / LOG).read_text().splitlines())}


def files_in(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_a_folder_through_the_command_line(folder, tmp_path, expert, capsys):
    out = tmp_path / "crops"
    assert main(["align", str(folder), "--out", str(out), "--size", "224"]) == 0
    assert capsys.readouterr().out.strip() == "unreadable 1, found 1, not_found 1"
    assert files_in(out) == {LOG, SETTINGS, "align.lock", "sub/turned.png"}
    crop = Image.open(out / "sub" / "turned.png")
    assert crop.size == (224, 224) and abs(tilt(points_in(crop, expert))) < 3
    log = log_of(out)
    assert {name: line["status"] for name, line in log.items()} == {
        "broken.jpg": "unreadable",
        "sub/turned.png": "found",
        "wall.JPG": "not_found",
    }
    assert "broken.jpg: not a readable image" in log["broken.jpg"]["error"]


def test_a_second_run_does_only_what_is_missing(folder, tmp_path, photograph):
    out = tmp_path / "crops"
    align_folder(folder, out)
    first = (out / "sub" / "turned.png").stat().st_mtime_ns
    lines = (out / LOG).read_text().splitlines()
    photograph.save(folder / "late.png")
    # A crash in the middle of a line: that picture, and only that, is done again.
    (out / LOG).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    assert align_folder(folder, out) == {"found": 2, "unreadable": 1, "not_found": 1}
    assert (out / "sub" / "turned.png").stat().st_mtime_ns == first
    assert (out / "late.png").is_file()
    assert set(parsed_lines(out)) == {"broken.jpg", "late.png", "sub/turned.png", "wall.JPG"}
    shutil.rmtree(folder / "sub")  # a photograph that went away does not count
    assert align_folder(folder, out) == {"found": 1, "unreadable": 1, "not_found": 1}


def parsed_lines(out: Path) -> list[str]:
    names = []
    for line in (out / LOG).read_text().splitlines():
        try:
            names.append(json.loads(line)["image"])
        except ValueError:
            continue
    return names


def test_crops_below_the_photographs_are_not_taken_for_photographs(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for out in (Path("photos/crops"), folder / "crops"):  # the same folder, spelt in two ways
        for _ in range(2):
            assert align_folder(Path("photos"), out) == {"found": 1, "unreadable": 1, "not_found": 1}
    assert len(log_of(folder / "crops")) == 3


def test_a_crash_while_writing_leaves_no_half_crop(folder, tmp_path, monkeypatch):
    out = tmp_path / "crops"

    def fail(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            align_folder(folder, out)
    assert not (out / "sub" / "turned.png").exists()
    assert align_folder(folder, out)["found"] == 1
    assert files_in(out) == {LOG, SETTINGS, "align.lock", "sub/turned.png"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{photos}", "--out", "{photos}"), "would be overwritten"),
        (("{tmp}/nowhere", "--out", "{tmp}/crops"), "nowhere: no such folder"),
        (("{photos}", "--out", "{tmp}/crops", "--expert", "dlib68"), "Did you mean 'dlib-68'"),
        (("{photos}", "--out", "{tmp}/crops", "--size", "0"), "the size of a crop is 0"),
        (("{photos}", "--out", "{tmp}/crops", "--set", "upsample"), "expected KEY=VALUE"),
    ],
)
def test_wrong_arguments_are_named(folder, tmp_path, capsys, arguments, told):
    filled = [argument.format(photos=folder, tmp=tmp_path) for argument in arguments]
    assert main(["align", *filled]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_holds_crops_of_one_kind(folder, tmp_path, capsys):
    out = str(tmp_path / "crops")
    assert main(["align", str(folder), "--out", out, "--set", "upsample=1"]) == 0
    for other in ([], ["--set", "upsample=1", "--size", "100"]):
        assert main(["align", str(folder), "--out", out, *other]) == 2
        assert "made otherwise" in capsys.readouterr().err
    assert main(["align", str(folder), "--out", out, "--set", "upsample=1"]) == 0


def test_photographs_of_any_kind_have_a_line(tmp_path, photograph, expert):
    """Turned by a camera, named in no encoding, damaged in a way that Pillow has no error of its own for."""
    photos, out = tmp_path / "photos", tmp_path / "crops"
    photos.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph.rotate(90).save(photos / "camera.jpg", exif=exif, quality=95)
    photograph.save(photos / os.fsdecode(b"caf\xe9.png"))
    tiff = photos / "damaged.tiff"
    photograph.resize((60, 60)).save(tiff)
    content = tiff.read_bytes()
    tiff.write_bytes(content[:-150] + bytes(150))
    counts = align_folder(photos, out)
    assert counts["found"] == 2 and sum(counts.values()) == 3
    crop = Image.open(out / "camera.jpg")
    assert 0x0112 not in crop.getexif() and abs(tilt(points_in(crop.convert("RGB"), expert))) < 5
    assert align_folder(photos, out) == counts


def test_a_large_photograph_gives_the_crop_of_a_small_one(photograph, expert):
    """Neither coarse from skipped pixels nor slow from searching all of them."""
    small = np.asarray(align_face(photograph, expert, 120).image).astype(float)
    large = photograph.resize((4096, 4096), Image.Resampling.BICUBIC)
    seen: list[tuple[int, ...]] = []

    class Watching:
        def extract(self, pictures):
            seen.append(pictures[0].pixels.shape)
            return expert.extract(pictures)

    crop = np.asarray(align_face(large, Watching(), 120).image).astype(float)
    assert seen == [(2048, 2048, 3)] and np.abs(crop - small).mean() < 8
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    points = np.array([[500.0, 500.0], [1500.0, 500.0], [1000.0, 1500.0]])
    flat = np.asarray(crop_to_landmarks(Image.fromarray(noise), points, 100)).astype(float)
    assert flat.std() < 20  # 17 pixels by 17 each; single ones would have 73


def test_an_expert_without_landmarks_cannot_align(folder, tmp_path):
    with pytest.raises(ExpertError, match="precomputed"):
        align_folder(folder, tmp_path / "crops", expert="precomputed")
