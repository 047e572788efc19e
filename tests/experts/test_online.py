# ruff: noqa: E402 - what is imported late needs packages that may be missing
"""The prior computed from LLaVA's image tensor against the one computed from the file, per expert.

Tolerances are fractions of the face's size: the larger side of the box around the offline landmarks.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("llava")

from llava.mm_utils import process_images
from networks import portraits

from llava_faba.experts import Frames, Picture, PriorExpert, PriorResult
from llava_faba.model.online import to_pictures

SIDE = 336


@pytest.fixture(scope="module")
def processor() -> Any:
    return transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _tensors(processor: Any, images: list[Any], layout: str | None) -> Any:
    return process_images(images, processor, SimpleNamespace(image_aspect_ratio=layout))


def _online(expert: PriorExpert, processor: Any, image: Any, layout: str | None) -> PriorResult:
    tensors = _tensors(processor, [image], layout)
    return expert.extract(to_pictures(tensors, processor.image_mean, processor.image_std, [image.size], layout))


def _errors(expert: PriorExpert, processor: Any, layout: str | None) -> dict[str, np.ndarray]:
    """Per photograph the distances (points,) between online and offline landmarks, over the face's size."""
    errors = {}
    for name, image in portraits().items():
        offline = expert.extract([Picture.whole(np.asarray(image))])
        online = _online(expert, processor, image, layout)
        assert [status.value for status in online.statuses] == ["found"] and offline.landmarks[0] is not None
        moved = np.linalg.norm(online.landmarks[0][:, :2] - offline.landmarks[0][:, :2], axis=1)
        errors[name] = moved / np.ptp(offline.landmarks[0][:, :2], axis=0).max()
    return errors


@pytest.mark.parametrize("layout", ["pad", None])
def test_dlib(processor: Any, layout: str | None) -> None:
    pytest.importorskip("dlib")
    from llava_faba.experts.dlib68 import Dlib68Expert

    for name, errors in _errors(Dlib68Expert(), processor, layout).items():
        assert errors.mean() < 0.03, (name, errors.mean())
        assert errors.max() < 0.12, (name, errors.max())


@pytest.mark.parametrize("layout", ["pad", None])
def test_emola_106(onnx_network: Path, processor: Any, layout: str | None) -> None:
    from llava_faba.experts.insightface106 import Emola106Expert

    expert = Emola106Expert(weights=str(onnx_network))
    for name, errors in _errors(expert, processor, layout).items():
        # Without padding CLIP cuts off the ends of a picture that is not square, and no expert can know what was there.
        assert errors.max() < (0.005 if layout == "pad" or name == "astronaut" else 0.3), (name, errors.max())


@pytest.mark.parametrize("layout", ["pad", None])
def test_insightface_106(onnx_network: Path, processor: Any, layout: str | None) -> None:
    from llava_faba.experts.insightface106 import InsightFace106Expert

    expert = InsightFace106Expert(weights=str(onnx_network))
    for name, errors in _errors(expert, processor, layout).items():
        assert errors.max() < (0.005 if layout == "pad" or name == "astronaut" else 0.3), (name, errors.max())


@pytest.mark.parametrize("layout", ["pad", None])
def test_fan_from_pictures_and_from_tensors(fan_weights: Path, processor: Any, layout: str | None) -> None:
    pytest.importorskip("face_alignment")
    from llava_faba.experts.face_alignment import FaceAlignment2dExpert

    expert = FaceAlignment2dExpert(weights=str(fan_weights))
    images = list(portraits().values())
    sizes = [image.size for image in images]
    tensors = _tensors(processor, images, layout)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (processor.image_mean, processor.image_std))
    from_tensors = expert.extract_tensor((tensors * std + mean) * 255, Frames.of_squares(sizes, SIDE, layout))
    assert from_tensors is not None
    from_pictures = expert.extract(to_pictures(tensors, processor.image_mean, processor.image_std, sizes, layout))
    offline = expert.extract([Picture.whole(np.asarray(image)) for image in images])
    # One of the 64 x 64 cells of a heatmap is 2.05 / 64 of the face box, and FAN's answers are whole and half cells.
    cell = 2.06 / 64
    for row, (name, image) in enumerate(portraits().items()):
        face = np.mean(image.size)
        for found in (from_tensors, from_pictures):
            moved = np.linalg.norm(found.landmarks[row] - offline.landmarks[row], axis=1) / face
            assert np.median(moved) <= cell, (name, np.median(moved))
            if layout == "pad" or name == "astronaut":
                assert np.mean(moved <= 1.5 * cell) >= 0.85, (name, np.sort(moved)[-12:])


def test_fan_crops_from_tensors_are_the_packages_crops(fan_weights: Path, processor: Any) -> None:
    fan = pytest.importorskip("llava_faba.experts.fan")
    images = [image.resize((SIDE, SIDE)) for image in portraits().values()]
    sizes = np.array([image.size for image in images], dtype=np.float64)
    tensors = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    at = fan.regions(fan.whole_image_boxes(sizes))
    ours = fan.crops_from_squares(tensors, Frames.of_squares(sizes, SIDE, "pad"), at) * 255
    for crop, image in zip(ours, images, strict=True):
        theirs = fan.crop_whole(Picture.whole(np.asarray(image))).pixels.transpose(2, 0, 1)
        difference = np.abs(crop.numpy() - theirs)
        assert np.median(difference) <= 0.5 and np.percentile(difference, 99) <= 2


@pytest.mark.parametrize("layout", ["pad", "stretch", None])
def test_frames_lead_back_to_the_original(layout: str | None) -> None:
    sizes = [(300, 500), (501, 300), (40, 40)]
    frames = Frames.of_squares(sizes, 100, layout)
    middle = np.array([50.0, 50.0]) * frames.scales + frames.offsets
    np.testing.assert_allclose(middle, np.array(sizes) / 2, atol=1)


def test_online_pictures_of_a_stretched_square_are_as_the_frames_say(processor: Any) -> None:
    image = portraits()["hopper-wide"]
    tensors = _tensors(processor, [image], "pad")
    picture = to_pictures(tensors, processor.image_mean, processor.image_std, [image.size], "pad")[0]
    frames = Frames.of_squares([image.size], SIDE, "pad")
    np.testing.assert_allclose(picture.scale, frames.scales[0])
