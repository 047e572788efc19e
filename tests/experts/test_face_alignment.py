# ruff: noqa: E402 - what is imported late needs packages that may be missing
"""The face-alignment experts against the package itself, on weights made here."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("face_alignment")

from face_alignment import FaceAlignment, LandmarksType
from face_alignment.utils import draw_gaussian
from networks import portraits

from llava_faba.errors import ExpertError
from llava_faba.experts import Frames, Picture, PriorStatus
from llava_faba.experts.devices import onnx_provider, torch_device
from llava_faba.experts.face_alignment import FaceAlignment2dExpert, FaceAlignment3dExpert
from llava_faba.experts.fan import drawn_points

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _pixels(*names: str) -> list[np.ndarray]:
    return [np.asarray(portraits()[name]) for name in names]


def _package(kind: LandmarksType) -> Any:
    return FaceAlignment(kind, device="cpu", compile=False, face_detector="dlib")


def _assert_same_but_for_whole_pixels(ours: np.ndarray, theirs: np.ndarray) -> None:
    cut = np.trunc(ours[:, :2] + np.sign(ours[:, :2]) * 1e-3)  # the package cuts its points to whole pixels
    np.testing.assert_array_equal(cut, theirs[:, :2])


def test_points_of_aligned_crops_are_the_packages(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(hub))
    images = _pixels("hopper-wide")
    located = FaceAlignment2dExpert().locate(images)
    package = _package(LandmarksType.TWO_D)
    for image, face in zip(images, located, strict=True):
        box = [0, 0, image.shape[1], image.shape[0]]
        theirs = package.get_landmarks_from_image(image, detected_faces=[box])[0]
        assert face.status is PriorStatus.FOUND and face.points is not None
        _assert_same_but_for_whole_pixels(face.points, theirs)


def test_with_a_detector_points_are_those_of_the_package_with_it(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(hub))
    images = [*_pixels("hopper"), np.zeros((64, 64, 3), np.uint8), np.zeros((3, 500, 3), np.uint8)]
    result = FaceAlignment2dExpert(detector="dlib").extract([Picture.whole(image) for image in images])
    assert [status.value for status in result.statuses] == ["found", "not_found", "not_found"]
    assert not result.features[1:].any() and result.landmarks[1] is None
    theirs = _package(LandmarksType.TWO_D).get_landmarks_from_image(images[0])
    _assert_same_but_for_whole_pixels(result.landmarks[0], theirs[0])


@pytest.fixture(scope="module")
def sfd_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's default detector with random weights, made to see some faces."""
    from face_alignment.detection.sfd.net_s3fd import s3fd

    torch.manual_seed(3)
    network = s3fd()
    with torch.no_grad():
        for layer in ("fc7", "conv6_2", "conv7_2"):
            getattr(network, f"{layer}_mbox_conf").bias[1] += 0.5
    path = tmp_path_factory.mktemp("sfd") / "sfd.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def scrfd_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX graph of SCRFD's outputs that sees one face in the middle of every image."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    cells = {stride: 2 * (640 // stride) ** 2 for stride in (8, 16, 32)}
    values = [np.zeros((count, 1), np.float32) for count in cells.values()]
    values += [np.full((count, 4), 3.0, np.float32) for count in cells.values()]
    values[2][2 * (20 * 8 + 8)] = 0.9  # the anchor at (256, 256) of 640 x 640; its box reaches 3 x 32 to each side
    names = [f"out{number}" for number in range(len(values))]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"v{name}"], [name]) for name in names],
        "scrfd",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in zip(names, values, strict=True)],
        [numpy_helper.from_array(value, f"v{name}") for name, value in zip(names, values, strict=True)],
    )
    path = tmp_path_factory.mktemp("scrfd") / "scrfd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("name", ["sfd", "scrfd"])
def test_each_detectors_boxes_lead_to_the_crop_that_the_package_makes_of_them(
    hub: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    """Detectors draw boxes of different sizes around a face, and the package allows for it."""
    monkeypatch.setenv("TORCH_HOME", str(hub))
    weights = request.getfixturevalue(f"{name}_weights")
    image = _pixels("astronaut-crop")[0]
    package = FaceAlignment(
        LandmarksType.TWO_D,
        device="cpu",
        compile=False,
        face_detector=name,
        face_detector_kwargs={"path_to_detector": str(weights)},
    )
    boxes = package.face_detector.detect_from_image(image.copy())
    largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    theirs = package.get_landmarks_from_image(image, detected_faces=[largest])[0]
    expert = FaceAlignment2dExpert(detector=name, detector_weights=str(weights))
    result = expert.extract([Picture.whole(image)])
    assert result.statuses == [PriorStatus.FOUND if len(boxes) == 1 else PriorStatus.SEVERAL_FACES]
    _assert_same_but_for_whole_pixels(result.landmarks[0], theirs)


def test_three_dimensional_points_are_the_packages(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(hub))
    image = _pixels("astronaut-crop")[0]
    expert = FaceAlignment3dExpert()
    result = expert.extract([Picture.whole(image)])
    box = [0, 0, image.shape[1], image.shape[0]]
    theirs = _package(LandmarksType.THREE_D).get_landmarks_from_image(image, detected_faces=[box])[0]
    ours = result.landmarks[0]
    assert ours is not None and ours.shape == (68, 3) and result.features.shape == (1, 204)
    _assert_same_but_for_whole_pixels(ours, theirs)
    np.testing.assert_allclose(ours[:, 2], theirs[:, 2], rtol=1e-3, atol=1e-3 * np.abs(theirs[:, 2]).max())
    again = expert.landmarks(result.features[0], (image.shape[1], image.shape[0]))
    np.testing.assert_allclose(again, ours, atol=1e-3)


def test_spots_for_the_depth_network_are_drawn_as_the_package_draws_them() -> None:
    random = np.random.default_rng(0)
    inside = random.uniform(20, 230, (30, 2))
    border = np.stack((random.uniform(0.5, 20, 19), random.uniform(236, 256, 19)), axis=1)
    # Peaks lie on eighths of a heatmap pixel, times four.
    places = np.round(np.concatenate((inside, border, border[:, ::-1])) * 2) / 2
    ours = drawn_points(torch.from_numpy(places).float()[None])[0].numpy()
    for place, spot in zip(places, ours, strict=True):
        theirs = draw_gaussian(np.zeros((256, 256), np.float32), torch.from_numpy(place).float(), 2)
        np.testing.assert_allclose(spot, theirs, atol=1e-5, err_msg=str(place))


def test_a_batch_gives_what_its_pictures_give_alone(fan_weights: Path) -> None:
    expert = FaceAlignment2dExpert(weights=str(fan_weights))
    pictures = [Picture.whole(image) for image in _pixels("astronaut", "hopper", "hopper-wide")]
    together = expert.extract(pictures).features
    alone = np.concatenate([expert.extract([picture]).features for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert expert.extract([]).features.shape == (0, 136)


def test_what_workers_prepare_pickles_and_gives_the_same(fan_weights: Path) -> None:
    expert = FaceAlignment2dExpert(weights=str(fan_weights))
    picture = Picture.whole(_pixels("hopper")[0])
    prepare = pickle.loads(pickle.dumps(expert.preparer()))
    prepared = pickle.loads(pickle.dumps(prepare(picture)))
    np.testing.assert_array_equal(expert.extract_prepared([prepared]).features, expert.extract([picture]).features)


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (900, 2)])
def test_tiny_and_thin_pictures_have_a_prior(fan_weights: Path, shape: tuple[int, int]) -> None:
    picture = Picture.whole(np.full((*shape, 3), 90, np.uint8))
    features = FaceAlignment2dExpert(weights=str(fan_weights)).extract([picture]).features
    assert np.isfinite(features).all()


def test_settings_make_the_same_expert_again(fan_weights: Path) -> None:
    expert = FaceAlignment2dExpert(weights=str(fan_weights), flip=False)
    again = FaceAlignment2dExpert(**expert.settings)
    assert again.settings == expert.settings and expert.settings["flip"] is False
    picture = Picture.whole(_pixels("astronaut")[0])
    np.testing.assert_array_equal(again.extract([picture]).features, expert.extract([picture]).features)


def test_weights_made_elsewhere_are_found_by_their_checksum(
    fan_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLAVA_FABA_2DFAN4", str(fan_weights))
    checksum = FaceAlignment2dExpert().settings["weights_sha256"]
    FaceAlignment2dExpert(weights="/elsewhere/fan.pth", weights_sha256=checksum).load()
    with pytest.raises(ExpertError, match="not the file that made the priors"):
        FaceAlignment2dExpert(weights_sha256="0" * 64).load()


def test_without_weights_and_network_the_error_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("face_alignment.utils.download_url_to_file", no_network)
    expert = FaceAlignment2dExpert()  # training from a store needs no weights
    assert expert.size == 136 and "weights_sha256" not in expert.settings
    with pytest.raises(ExpertError, match=r"2DFAN4-11f355bf06.*no route to host.*LLAVA_FABA_2DFAN4"):
        expert.load()


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code ran",)


def test_a_file_of_weights_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fan.pth"
    torch.save({"l0.weight": _Bomb()}, path)
    with pytest.raises(ExpertError, match="could run code"):
        FaceAlignment2dExpert(weights=str(path)).load()
    assert "code ran" not in capsys.readouterr().out


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ExpertError, match=r"text\.pth"):
        FaceAlignment2dExpert(weights=str(tmp_path / "text.pth")).load()
    with pytest.raises(ExpertError, match=r"other\.pth does not fit the package's FAN"):
        FaceAlignment2dExpert(weights=str(tmp_path / "other.pth")).load()
    with pytest.raises(ExpertError, match=r"names no file: .*missing"):
        FaceAlignment2dExpert(weights=str(tmp_path / "missing.pth")).load()


def test_an_unknown_detector_lists_the_known() -> None:
    with pytest.raises(ExpertError, match="'yolo' is not one of none, sfd"):
        FaceAlignment2dExpert(detector="yolo")


def test_detectors_weights_are_known_by_their_checksum(
    scrfd_weights: Path, fan_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    settings = FaceAlignment2dExpert(detector="scrfd", detector_weights=str(scrfd_weights)).settings
    assert len(settings["detector_weights_sha256"]) == 64
    monkeypatch.setenv("LLAVA_FABA_FACE_DETECTOR", str(scrfd_weights))
    elsewhere = settings | {"detector_weights": "/elsewhere/scrfd.onnx", "weights": str(fan_weights)}
    result = FaceAlignment2dExpert(**elsewhere).extract([Picture.whole(_pixels("hopper")[0])])
    assert result.statuses == [PriorStatus.FOUND]
    with pytest.raises(ExpertError, match="not for 'blazeface'"):
        FaceAlignment2dExpert(detector="blazeface", detector_weights=str(scrfd_weights))
    with pytest.raises(ExpertError, match=r"detector 'sfd'.*cannot be loaded with .*scrfd\.onnx"):
        FaceAlignment2dExpert(detector="sfd", detector_weights=str(scrfd_weights), weights=str(fan_weights)).load()


def test_a_detector_that_takes_batches_sees_a_tensor_as_it_sees_pictures(fan_weights: Path, sfd_weights: Path) -> None:
    expert = FaceAlignment2dExpert(detector="sfd", detector_weights=str(sfd_weights), weights=str(fan_weights))
    image = np.ascontiguousarray(_pixels("astronaut")[0][:128, :128])
    nobody = np.zeros_like(image)
    batch = torch.from_numpy(np.stack([image, nobody])).permute(0, 3, 1, 2).float()
    frames = Frames.of_squares([(128, 128), (128, 128)], 128, "pad")
    from_tensor = expert.extract_tensor(batch, frames)
    from_pictures = expert.extract([Picture.whole(image), Picture.whole(nobody)])
    assert from_tensor is not None and from_tensor.statuses == from_pictures.statuses
    assert from_tensor.features[0].any()
    # Crops differ by less than a grey value, which moves few of the heatmaps' maxima.
    assert np.mean(np.abs(from_tensor.features - from_pictures.features) < 0.05) > 0.97
    assert FaceAlignment2dExpert(detector="dlib", weights=str(fan_weights)).extract_tensor(batch, frames) is None


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_device() == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert torch_device() == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert torch_device() == "cuda:1"
    assert onnx_provider("cuda") == ("CUDAExecutionProvider", {"device_id": 3})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert onnx_provider("cuda") == ("CUDAExecutionProvider", {"device_id": 0})
    assert onnx_provider("cuda:5") == ("CUDAExecutionProvider", {"device_id": 5})
    assert onnx_provider("tpu") is None and onnx_provider("cuda:x") is None
