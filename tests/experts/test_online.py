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
pytest.importorskip("face_alignment")  # its network is among the experts here; requirements/newest.txt has none

from llava.mm_utils import process_images
from networks import portraits

from llava_faba.emola.online import Squares, compute_priors, to_squares
from llava_faba.experts import Frames, Picture, PriorExpert, PriorResult

SIDE = 336


@pytest.fixture(scope="module")
def processor() -> Any:
    return transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _squares(processor: Any, images: list[Any], layout: str | None) -> Squares:
    """What the model's own expert gets to see, by way of LLaVA's own preprocessing."""
    tensors = process_images(images, processor, SimpleNamespace(image_aspect_ratio=layout))
    sizes = [image.size for image in images]
    return to_squares(tensors, processor.image_mean, processor.image_std, sizes, layout)


def _online(expert: PriorExpert, processor: Any, image: Any, layout: str | None) -> PriorResult:
    return compute_priors(expert, _squares(processor, [image], layout))


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
        assert errors.max() < (0.005 if layout == "pad" or name == "astronaut" else 0.15), (name, errors.max())


@pytest.mark.parametrize("layout", ["pad", None])
def test_insightface_106(onnx_network: Path, processor: Any, layout: str | None) -> None:
    from llava_faba.experts.insightface106 import InsightFace106Expert

    expert = InsightFace106Expert(weights=str(onnx_network))
    for name, errors in _errors(expert, processor, layout).items():
        assert errors.max() < (0.005 if layout == "pad" or name == "astronaut" else 0.15), (name, errors.max())


@pytest.fixture(scope="module")
def fan_experts(fan_weights: Path, hub: Path) -> dict[str, PriorExpert]:
    """Both on the same network that knows the photographs; the depth network has random weights."""
    from llava_faba.experts.face_alignment import FaceAlignment2dExpert, FaceAlignment3dExpert

    depth = hub / "hub" / "checkpoints" / "depth-2a464da4ea.pth.tar"
    return {
        "face-alignment-2d": FaceAlignment2dExpert(weights=str(fan_weights)),
        "face-alignment-3d": FaceAlignment3dExpert(weights=str(fan_weights), depth_weights=str(depth)),
    }


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("face-alignment-2d", "pad"),
        ("face-alignment-2d", None),
        ("face-alignment-3d", "pad"),
        pytest.param("face-alignment-3d", None, marks=pytest.mark.slow),
    ],
)
def test_fan_in_one_batch_of_tensors(
    fan_experts: dict[str, PriorExpert], processor: Any, layout: str | None, name: str
) -> None:
    photographs = portraits() if name == "face-alignment-2d" else {"hopper-wide": portraits()["hopper-wide"]}
    expert, images = fan_experts[name], list(photographs.values())
    online = compute_priors(expert, _squares(processor, images, layout))
    offline = expert.extract([Picture.whole(np.asarray(image)) for image in images])
    # One of the 64 x 64 cells of a heatmap is 2.05 / 64 of the face box, and FAN's answers are quarters of a cell.
    cell = 2.06 / 64
    for row, (photograph, image) in enumerate(photographs.items()):
        face = np.mean(image.size)
        flat = slice(0, 2)
        moved = np.linalg.norm(online.landmarks[row][:, flat] - offline.landmarks[row][:, flat], axis=1) / face
        assert np.median(moved) <= cell, (photograph, np.median(moved))
        if layout == "pad" or photograph == "astronaut":
            assert np.mean(moved <= 1.5 * cell) >= 0.85, (photograph, np.sort(moved)[-12:])


def test_fan_takes_the_batch_as_it_is_on_the_device(
    fan_experts: dict[str, PriorExpert], processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture on the CPU, and no call of the network for a single image."""
    fan = pytest.importorskip("llava_faba.experts.fan")
    expert, images = fan_experts["face-alignment-2d"], list(portraits().values())
    squares = _squares(processor, images, "pad")
    monkeypatch.setattr(Squares, "pictures", lambda _: pytest.fail("the batch went through pictures"))
    monkeypatch.setattr(fan, "_CPU_BATCH", 64)
    sizes: list[int] = []
    hook = expert._fan.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))  # type: ignore[attr-defined]
    together = compute_priors(expert, squares)
    hook.remove()
    assert sizes == [len(images)] * 2  # the faces, and their mirror images
    for row in range(len(images)):
        one = Squares(squares.pixels[row : row + 1], squares.sizes[row : row + 1], squares.layouts[row : row + 1])
        np.testing.assert_allclose(compute_priors(expert, one).features[0], together.features[row], atol=1e-6)


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


def test_pictures_and_frames_of_a_square_agree(processor: Any) -> None:
    squares = _squares(processor, [portraits()["hopper-wide"], portraits()["astronaut"]], "pad")
    for row, picture in enumerate(squares.pictures()):
        np.testing.assert_allclose(picture.scale, squares.frames().scales[row])


def test_each_square_of_a_list_has_its_own_layout() -> None:
    """A list may mix pictures with and without crops, as anyres does."""
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 3, 8, 8)]
    squares = to_squares(images, [0.5] * 3, [0.2] * 3, [(16, 8), (16, 8)], "anyres")
    assert squares.layouts == ["anyres", "stretch"] and squares.pixels.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(squares.frames().scales, [[1, 1], [2, 1]])
    np.testing.assert_allclose(squares.frames().offsets, [[4, 0], [0, 0]])
