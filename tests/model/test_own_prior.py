"""``facial_priors`` left out: the model computes them with the expert that its config names."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from llava.mm_utils import process_images
from PIL import Image, ImageOps
from support import ADAPTER, IMAGE_TOKEN, PRIOR_SIZE, SIDE, edit_config

import llava_faba
from llava_faba.errors import ExpertError
from llava_faba.experts import Picture, PriorExpert, PriorStatus, create_expert

IDS = torch.tensor([[1, 5, IMAGE_TOKEN, 6, 7]])


@pytest.fixture(scope="module")
def loaded(face_model) -> Any:
    return llava_faba.load_model(face_model)


def preprocess(loaded: Any, *pictures: Any) -> Any:
    return process_images(list(pictures), loaded[2], loaded[1].config)


@functools.lru_cache(maxsize=1)
def expert() -> PriorExpert:
    return create_expert("dlib-68")


def offline(picture: Any) -> np.ndarray:
    return expert().extract([Picture.whole(np.asarray(picture))]).features[0]


def logits(model: Any, images: Any, **more: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS.repeat(len(images), 1), images=images, **more).logits


def face_size(prior: np.ndarray) -> float:
    return float(np.ptp(prior.reshape(-1, 2), axis=0).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_without_resizing_it_is_the_offline_experts_to_the_bit(loaded, astronaut, dtype):
    """Also from float16 tensors, which is what LLaVA's own tools pass."""
    result = loaded[1].compute_facial_priors(preprocess(loaded, astronaut).to(dtype), [astronaut.size])
    assert result.statuses == [PriorStatus.FOUND]
    assert offline(astronaut).any() and np.array_equal(result.features[0], offline(astronaut))


def test_forward_and_generate_without_priors_equal_those_with_the_stored_one(loaded, astronaut):
    model, images = loaded[1], preprocess(loaded, astronaut)
    stored = torch.from_numpy(offline(astronaut))[None]
    own = logits(model, images, image_sizes=[astronaut.size])
    assert torch.equal(own, logits(model, images, facial_priors=stored))
    assert not torch.allclose(own, logits(model, images, facial_priors=torch.zeros_like(stored)), atol=1e-2)
    arguments = {"images": images, "image_sizes": [astronaut.size], "do_sample": False, "max_new_tokens": 8}
    assert torch.equal(model.generate(IDS, **arguments), model.generate(IDS, **arguments, facial_priors=stored))


@pytest.mark.parametrize("border", [(0, 60), (60, 0), (0, 61), (33, 0)], ids=str)
@pytest.mark.parametrize("layout", ["pad", None])
def test_pictures_that_are_not_square_are_undone(loaded, astronaut, monkeypatch, layout, border):
    """What LLaVA pads, shrinks or cuts is undone with the help of image_sizes, but for the lower resolution."""
    model = loaded[1]
    monkeypatch.setattr(model.config, "image_aspect_ratio", layout)
    picture = ImageOps.expand(astronaut, border, (90, 90, 90))
    found = model.compute_facial_priors(preprocess(loaded, picture), [picture.size]).features[0]
    expected = offline(picture)
    assert np.abs(found - expected).max() < 0.05 * face_size(expected)
    assert np.abs(found - expected).mean() < 0.015 * face_size(expected)


def test_without_image_sizes_pictures_are_taken_to_be_square(loaded, astronaut):
    images = preprocess(loaded, astronaut)
    assert torch.equal(logits(loaded[1], images), logits(loaded[1], images, image_sizes=[astronaut.size]))


def test_anyres_reads_the_whole_picture_not_a_crop(loaded, astronaut, monkeypatch):
    model = loaded[1]
    monkeypatch.setattr(model.config, "image_aspect_ratio", "anyres")
    monkeypatch.setattr(model.config, "image_grid_pinpoints", [[480, 240], [240, 480]], raising=False)
    picture = astronaut.crop((0, 0, 240, 180))
    crops = preprocess(loaded, picture)
    assert crops.shape[:2] == (1, 3)
    found = model.compute_facial_priors(crops, [picture.size])
    expected = offline(picture)
    assert found.statuses == [PriorStatus.FOUND]
    assert np.abs(found.features[0] - expected).max() < 0.06 * face_size(expected)


def test_each_picture_of_a_batch_gets_its_own_and_no_face_is_zeros(loaded, astronaut):
    nobody = Image.new("RGB", astronaut.size, (120, 110, 100))
    mirrored = ImageOps.mirror(astronaut)
    pictures = [astronaut, nobody, mirrored]
    images = preprocess(loaded, *pictures)
    for batch in (images, list(images)):
        result = loaded[1].compute_facial_priors(batch, [picture.size for picture in pictures])
        assert [status.value for status in result.statuses] == ["found", "not_found", "found"]
        assert not result.features[1].any() and result.landmarks[1] is None
        assert np.array_equal(result.features[0], offline(astronaut))
        assert np.array_equal(result.features[2], offline(mirrored))


def test_the_experts_settings_of_the_checkpoint_are_used(loaded, astronaut, face_model, tmp_path):
    import shutil

    folder = shutil.copytree(face_model, tmp_path / "copy")
    edit_config(folder, facial_prior_expert_settings={"upsample": 1, "retry_upsample": 2})
    assert llava_faba.load_model(folder)[1].facial_prior_expert().settings == {"upsample": 1, "retry_upsample": 2}
    edit_config(folder, facial_prior_expert_settings={"sharpen": True})
    with pytest.raises(ExpertError, match=r"'dlib-68' does not take the settings.*sharpen"):
        llava_faba.load_model(folder)[1].facial_prior_expert()


def without_priors(folder: Any) -> None:
    model = llava_faba.load_model(folder)[1]
    logits(model, torch.zeros(1, 3, SIDE, SIDE))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"facial_prior_expert": "precomputed"},
            "precomputed facial priors and cannot make its own: pass facial_priors=",
        ),
        ({"facial_prior_expert": "dlib-86"}, "no facial prior expert is called 'dlib-86'. Did you mean 'dlib-68'"),
        ({"facial_prior_expert": "dlib-68"}, "'dlib-68' gives 136 numbers, but 212 are needed"),
    ],
    ids=["precomputed", "not installed", "another size"],
)
def test_a_prior_that_cannot_be_computed_says_what_to_do(copied, config, told):
    edit_config(copied / ADAPTER, **config)
    with pytest.raises(ExpertError) as caught:
        without_priors(copied / ADAPTER)
    assert told in str(caught.value)


def test_the_authors_checkpoints_name_no_expert_and_mean_their_own(copied, monkeypatch, tmp_path):
    from llava_faba.model.config import expert_name

    model = llava_faba.load_model(copied / ADAPTER)[1]
    assert expert_name(model.config) == "emola-106"
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ExpertError, match="emola-106"):  # its weights are the user's
        without_priors(copied / ADAPTER)


def test_given_priors_need_no_expert(copied):
    edit_config(copied / ADAPTER, facial_prior_expert="somebody-elses")
    model = llava_faba.load_model(copied / ADAPTER)[1]
    found = logits(model, torch.zeros(1, 3, SIDE, SIDE), facial_priors=torch.ones(1, PRIOR_SIZE))
    assert found.isfinite().all()
