"""What a rendered face looks like, measured on its pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from llava_faba.demo.contact_sheet import contact_sheet, plain_identity
from llava_faba.demo.faces import sources
from llava_faba.demo.faces.capture import Capture, develop, draw_capture, to_units, unpose
from llava_faba.demo.faces.identity import SPREAD, draw_identity, reshape
from llava_faba.demo.faces.landmarks import LANDMARKS
from llava_faba.demo.faces.portraits import load_portrait
from llava_faba.demo.faces.render import Face, render_face, shape
from llava_faba.demo.faces.sources import SOURCES, PortraitMissing, read_source

NAMES = [source.name for source in SOURCES]


def pixel(face: Face, point: int, size: int = 224) -> tuple[int, int]:
    portrait = load_portrait(face.identity.portrait)
    units = shape(face, portrait.points, portrait.pins)[point]
    x, y, w = np.linalg.inv(unpose(face.capture, size)) @ np.array([*units, 1.0])
    return round(y / w), round(x / w)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_a_square_of_colours_and_the_same_each_time(name: str) -> None:
    rng = np.random.default_rng(2)
    face = Face(draw_identity("x", name, rng), {6: 0.8, 12: 1.0, 25: 0.7}, (1.0, 0.9), draw_capture(rng))
    first = render_face(face)
    assert first.shape == (224, 224, 3)
    assert first.dtype == np.uint8
    assert first.std() > 20
    np.testing.assert_array_equal(first, render_face(face))


@pytest.mark.parametrize("size", [112, 224, 336])
def test_other_sizes_show_the_same_picture(size: int) -> None:
    from PIL import Image

    face = Face(plain_identity("collins"), {12: 1.0})
    small = Image.fromarray(render_face(face, size)).resize((56, 56), Image.Resampling.BOX)
    base = Image.fromarray(render_face(face, 224)).resize((56, 56), Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(base, float)).mean() < 6


@pytest.mark.parametrize("name", NAMES)
def test_parted_lips_show_a_dark_mouth_and_closed_ones_don_t(name: str) -> None:
    opened = Face(plain_identity(name), {25: 1.0, 26: 1.0})
    row, column = pixel(opened, 66)
    dark = render_face(opened)[row - 4 : row - 1, column - 2 : column + 3].mean()
    closed = Face(plain_identity(name))
    row, column = pixel(closed, 57)
    lip = render_face(closed)[row - 4 : row, column - 2 : column + 3].mean()
    assert dark < 0.7 * lip


@pytest.mark.parametrize("name", NAMES)
def test_closed_lids_cover_the_iris(name: str) -> None:
    face, asleep = Face(plain_identity(name)), Face(plain_identity(name), {43: 1.0})
    portrait = load_portrait(name)
    darkest = {}
    for label, one in (("open", face), ("closed", asleep)):
        corners = [pixel(one, i) for i in (43, 44, 46, 47)]
        rows, columns = [c[0] for c in corners], [c[1] for c in corners]
        patch = render_face(one)[min(rows) : max(rows) + 1, min(columns) : max(columns) + 1]
        darkest[label] = np.percentile(patch.mean(axis=2), 10)
    assert darkest["closed"] > darkest["open"] + 10
    assert portrait.skin_above > 0


@pytest.mark.parametrize("name", NAMES)
def test_lips_that_are_pulled_about_stay_closed_without_unit_25(name: str) -> None:
    portrait = load_portrait(name)
    for units in ({12: 1.0}, {17: 1.0, 24: 1.0}, {10: 1.0}, {15: 1.0}):
        points = shape(Face(plain_identity(name), units), portrait.points, portrait.pins)
        assert np.abs(points[[61, 62, 63], 1] - points[[67, 66, 65], 1]).max() < 0.01
        assert (points[[50, 51, 52], 1] < points[[61, 62, 63], 1]).all()
        assert (points[[58, 57, 56], 1] > points[[67, 66, 65], 1]).all()


def test_the_smiling_portrait_has_been_closed() -> None:
    points = load_portrait("collins").points
    assert np.abs(points[62, 1] - points[66, 1]) < 0.02
    raw = LANDMARKS["collins"]
    eyes = np.linalg.norm(raw[36:42].mean(axis=0) - raw[42:48].mean(axis=0))
    assert (raw[66, 1] - raw[62, 1]) / eyes > 0.1  # as photographed, her lips are open
    assert points[54, 0] - points[48, 0] < (raw[54, 0] - raw[48, 0]) / eyes


def test_pose_brings_the_eyes_where_it_says() -> None:
    capture = Capture(tilt=10.0, zoom=0.25, shift=(0.04, -0.02))
    centre = to_units(unpose(capture, 200), np.array([[200 * 0.54, 200 * 0.385]]))
    np.testing.assert_allclose(centre, [[0.0, 0.0]], atol=1e-9)
    right_eye = np.linalg.inv(unpose(capture, 200)) @ np.array([0.5, 0.0, 1.0])
    assert right_eye[1] > 200 * 0.385  # clockwise: the viewer's right goes down


def test_a_mirrored_person_is_the_mirrored_picture() -> None:
    plain = plain_identity("hopper")
    other = type(plain)(**{**vars(plain), "mirrored": True})
    left, right = render_face(Face(plain)), render_face(Face(other))
    assert np.abs(left[:, 1:].astype(float) - right[:, :0:-1].astype(float)).mean() < 2.0


def test_proportions_stay_human() -> None:
    points = load_portrait("collins").points
    for index in range(40):
        identity = draw_identity("x", "collins", np.random.default_rng(index))
        assert all(abs(identity.proportions[key]) <= 2 * spread + 1e-12 for key, spread in SPREAD.items())
        moved = shape(Face(identity), points, np.zeros((0, 2)))
        assert np.linalg.norm(moved[:68] - points, axis=1).max() < 0.5
        assert moved[8, 1] > moved[57, 1] > moved[33, 1] > moved[39, 1]  # chin, lip, nose, eye


def test_no_proportions_change_nothing() -> None:
    points = np.vstack([load_portrait("collins").points, np.zeros((16, 2))])
    np.testing.assert_allclose(reshape(plain_identity("collins"), points), points)


def test_a_grey_picture_has_no_colour_and_light_comes_from_its_side() -> None:
    picture = np.full((64, 64, 4), 120, dtype=np.float32)
    picture[..., 0], picture[..., 3] = 200, 1
    grey = develop(picture, Capture(saturation=0.0)).astype(int)
    assert np.abs(grey[..., 0] - grey[..., 2]).max() == 0
    lit = develop(picture, Capture(light="left", strength=0.4)).astype(int)
    assert lit[:, :10].mean() > lit[:, -10:].mean() + 20


def test_a_background_is_seen_where_the_person_is_not() -> None:
    picture = np.zeros((32, 32, 4), dtype=np.float32)
    picture[:, :16, 3] = 1
    shown = develop(picture, Capture(background="red")).astype(int)
    assert shown[:, :14].max() == 0
    assert (shown[:, 18:, 0] > shown[:, 18:, 1] + 50).all()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_installed", lambda file: None)
    with pytest.raises(PortraitMissing, match="matplotlib"):
        read_source("hopper")
    with pytest.raises(PortraitMissing, match="collins, hopper"):
        read_source("lena")


@pytest.mark.parametrize("name", NAMES)
def test_the_detector_finds_the_face_and_its_points_where_the_table_says(name: str) -> None:
    dlib = pytest.importorskip("dlib")
    found = dlib.get_frontal_face_detector()(np.ascontiguousarray(read_source(name)), 0)
    assert len(found) == 1
    inside = LANDMARKS[name][27:]
    assert inside[:, 0].min() > found[0].left() and inside[:, 0].max() < found[0].right()


def test_the_detector_finds_nearly_every_made_face() -> None:
    dlib = pytest.importorskip("dlib")
    detector = dlib.get_frontal_face_detector()
    from llava_faba.demo.dataset import plan

    faces = [sample.face for sample in plan("test", 40, 9)]
    assert sum(bool(len(detector(render_face(face), 0))) for face in faces) >= 38


def test_a_contact_sheet_holds_all_units_and_the_samples() -> None:
    sheet = contact_sheet([], columns=15, tile=24)
    assert sheet.size == (15 * 24, 2 * (24 + 14))


def test_neither_torch_nor_llava_is_imported() -> None:
    code = (
        "import sys, llava_faba.demo.dataset, llava_faba.demo.contact_sheet\n"
        "print([m for m in ('torch', 'llava', 'dlib', 'transformers') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
