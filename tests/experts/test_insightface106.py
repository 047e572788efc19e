"""The 106-point experts on a small graph of the real one's signature, and against the insightface package."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

import onnxruntime
from networks import portraits, write_landmark_graph

from llava_faba.errors import ExpertError
from llava_faba.experts import Picture, PriorStatus
from llava_faba.experts.insightface106 import Emola106Expert, InsightFace106Expert
from llava_faba.experts.onnx_graph import first_node_names


def _pictures() -> list[Picture]:
    return [Picture.whole(np.asarray(image)) for image in portraits().values()]


@pytest.mark.parametrize("normalizes", [False, True])
def test_points_and_inputs_are_those_of_the_insightface_package(tmp_path: Path, normalizes: bool) -> None:
    package = pytest.importorskip("insightface.model_zoo.landmark")
    common = pytest.importorskip("insightface.app.common")
    path = write_landmark_graph(tmp_path / "2d106det.onnx", normalizes=normalizes)
    theirs = package.Landmark(str(path), onnxruntime.InferenceSession(str(path)))
    expert = InsightFace106Expert(weights=str(path))
    assert expert.network.normalizes_itself is (theirs.input_mean == 0.0)
    for picture in _pictures():
        width, height = picture.size
        # Their boxes and points count pixel centres, ours the pixels' edges.
        face = common.Face(bbox=np.array([-0.5, -0.5, width - 0.5, height - 0.5]))
        wanted = theirs.get(picture.pixels[..., ::-1].copy(), face) + 0.5
        result = expert.extract([picture])
        assert result.statuses == [PriorStatus.FOUND] and result.features.shape == (1, 212)
        np.testing.assert_allclose(result.landmarks[0], wanted, atol=0.1 * max(width, height) / 192)


def test_the_networks_input_is_insightfaces(onnx_network: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    face_align = pytest.importorskip("insightface.utils.face_align")
    expert = InsightFace106Expert(weights=str(onnx_network))
    for picture in _pictures():
        width, height = picture.size
        side = 1.5 * max(width, height)
        prepared = expert.preparer()(picture)
        assert prepared.square == ((width - side) / 2, (height - side) / 2, side)
        ours = expert.inputs(prepared.pixels[None])[0]
        center = ((width - 1) / 2, (height - 1) / 2)
        bgr = np.ascontiguousarray(picture.pixels[..., ::-1])
        crop, _ = face_align.transform(bgr, center, 192, 192 / side, 0)
        theirs = cv2.dnn.blobFromImage(crop, 1 / 128, (192, 192), (127.5,) * 3, swapRB=True)[0]
        difference = np.abs(ours - theirs) * 128
        assert np.median(difference) < 0.01 and np.percentile(difference, 99) <= 4  # of 255


def test_emola_feeds_the_whole_image_as_the_authors_did(onnx_network: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    session = onnxruntime.InferenceSession(str(onnx_network))
    expert = Emola106Expert(weights=str(onnx_network))
    pictures = _pictures()
    result = expert.extract(pictures)
    assert result.features.dtype == np.float32 and set(result.statuses) == {PriorStatus.FOUND}
    for picture, feature in zip(pictures, result.features, strict=True):
        stretched = cv2.resize(picture.pixels[..., ::-1].copy(), (192, 192)).astype(np.float32) / 255
        wanted = session.run(None, {"data": stretched.transpose(2, 0, 1)[None]})[0][0]
        np.testing.assert_allclose(feature, wanted, atol=1e-3)


def test_emolas_numbers_are_edges_at_plus_and_minus_one(onnx_network: Path) -> None:
    expert = Emola106Expert(weights=str(onnx_network))
    corners = np.tile(np.array([-1, -1, 1, 1], np.float32), 53)
    points = expert.landmarks(corners, (400, 100))
    assert points is not None and points.shape == (106, 2)
    np.testing.assert_allclose(points[:2], [[400 / 384, 100 / 384], [400 + 400 / 384, 100 + 100 / 384]], atol=1e-3)
    assert expert.landmarks(np.zeros(212, np.float32), (400, 100)) is None


@pytest.mark.parametrize("kind", [InsightFace106Expert, Emola106Expert])
@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"one_row": True}])
def test_any_batch_size_that_a_graph_allows_gives_the_same(
    onnx_network: Path, tmp_path: Path, kind: Any, options: dict[str, Any]
) -> None:
    path = write_landmark_graph(tmp_path / "2d106det.onnx", **options)
    pictures = _pictures()
    found = kind(weights=str(path)).extract(pictures)
    one_by_one = [kind(weights=str(onnx_network)).extract([picture]).features[0] for picture in pictures]
    np.testing.assert_allclose(found.features, one_by_one, atol=1e-4)
    assert kind(weights=str(path)).extract([]).features.shape == (0, 212)


def test_with_a_detector_the_crop_follows_the_face(onnx_network: Path) -> None:
    pytest.importorskip("dlib")
    expert = InsightFace106Expert(weights=str(onnx_network), detector="dlib")
    hopper = np.asarray(portraits()["hopper"])
    moved = np.pad(hopper, ((40, 0), (60, 0), (0, 0)))
    nobody = np.full((200, 200, 3), 128, np.uint8)
    first, second, nothing = expert.locate([hopper, moved, nobody])
    assert first.points is not None and second.points is not None
    assert nothing.status is PriorStatus.NOT_FOUND and nothing.points is None
    # HOG boxes lie on a coarse grid, so the face does not move with the picture to the pixel.
    np.testing.assert_allclose((second.points - first.points).mean(axis=0), [60.0, 40.0], atol=10)


@pytest.mark.parametrize(
    ("options", "shown"), [({"side": 96}, "96, 96"), ({"numbers": 136}, "136"), ({"batch": 4}, "fixed to 4")]
)
def test_a_network_of_another_shape_is_refused_before_it_starts(
    tmp_path: Path, options: dict[str, Any], shown: str
) -> None:
    path = write_landmark_graph(tmp_path / "other.onnx", **options)
    with pytest.raises(ExpertError, match=shown):
        InsightFace106Expert(weights=str(path)).load()
    with pytest.raises(ExpertError, match=shown):
        Emola106Expert(weights=str(path)).load()


def test_a_missing_or_foreign_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LLAVA_FABA_2D106DET", raising=False)
    with pytest.raises(ExpertError, match=r"has no weights.*LLAVA_FABA_2D106DET.*buffalo_l"):
        Emola106Expert().load()
    (tmp_path / "text.onnx").write_text("not a graph")
    with pytest.raises(ExpertError, match=r"text\.onnx"):
        Emola106Expert(weights=str(tmp_path / "text.onnx")).load()
    with pytest.raises(ExpertError, match="device 'tpu'"):
        Emola106Expert(weights=str(write_landmark_graph(tmp_path / "x.onnx")), device="tpu").load()


def test_insightfaces_own_folder_is_searched(
    onnx_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAVA_FABA_2D106DET", raising=False)
    folder = tmp_path / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "2d106det.onnx").write_bytes(onnx_network.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    expert = Emola106Expert()
    expert.load()
    assert list(expert.settings) == ["weights_sha256"]  # no path of this machine


def test_node_names_are_read_without_the_onnx_package(tmp_path: Path) -> None:
    path = write_landmark_graph(tmp_path / "a.onnx", normalizes=True)
    assert first_node_names(path)[:3] == ["_minusscalar0", "_mulscalar0", "pool"]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ExpertError, match="not an ONNX model"):
        first_node_names(path, count=99)


def test_a_shrunk_picture_gives_nearly_the_same_prior(onnx_network: Path) -> None:
    image = portraits()["hopper"]
    small = np.asarray(image.resize((256, 300), Image.Resampling.BILINEAR))
    picture = Picture(small, image.size, (image.width / 256, image.height / 300))
    for expert in (Emola106Expert(weights=str(onnx_network)), InsightFace106Expert(weights=str(onnx_network))):
        whole = expert.extract([Picture.whole(np.asarray(image))]).features
        np.testing.assert_allclose(expert.extract([picture]).features, whole, atol=0.02)


def test_experts_pickle_by_their_settings(onnx_network: Path) -> None:
    expert = InsightFace106Expert(weights=str(onnx_network), detector="none")
    settings = pickle.loads(pickle.dumps(expert.settings))
    again = InsightFace106Expert(**settings)
    picture = _pictures()[0]
    np.testing.assert_array_equal(again.extract([picture]).features, expert.extract([picture]).features)


@pytest.mark.parametrize("detector", ["none", "dlib"])
def test_what_workers_prepare_is_small_and_gives_the_same(onnx_network: Path, detector: str) -> None:
    pytest.importorskip("dlib")
    experts = [InsightFace106Expert(weights=str(onnx_network), detector=detector)]
    experts += [Emola106Expert(weights=str(onnx_network))] if detector == "none" else []
    pictures = [*_pictures(), Picture.whole(np.full((300, 300, 3), 128, np.uint8))]
    for expert in experts:
        prepare = pickle.loads(pickle.dumps(expert.preparer()))
        travelling = [pickle.dumps(prepare(picture)) for picture in pictures]
        assert max(map(len, travelling)) < 192 * 192 * 3 + 1000
        result = expert.extract_prepared([pickle.loads(one) for one in travelling])
        wanted = expert.extract(pictures)
        assert result.statuses == wanted.statuses
        np.testing.assert_array_equal(result.features, wanted.features)
