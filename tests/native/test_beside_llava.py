# ruff: noqa: E402 - what is imported late needs transformers 5
"""Both homes in one process: the same checkpoint gives the same pixels, logits and answers in each. Needs LLaVA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("llava")

from native.folders import convert, load, make_source, prompt_of
from PIL import Image

import llava_faba

pytestmark = pytest.mark.newest
QUESTION = "What AUs are conveyed by this face?"
PINPOINTS = [[112, 56], [56, 112], [112, 112], [168, 56], [56, 168]]
SIZES = [(56, 56), (100, 40), (40, 100), (130, 128), (300, 60), (61, 200)]  # (width, height)


def picture(size: tuple[int, int]) -> Any:
    random = np.random.default_rng(size[0] * 1000 + size[1])
    small = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "layout",
    [
        {"image_aspect_ratio": "pad"},
        {"image_aspect_ratio": None},
        {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "flat"},
        {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial"},
        {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"},
    ],
    ids=lambda one: "-".join(str(value) for value in one.values()),
)
def test_pixels_and_logits_are_the_plugins(golden: Path, tmp_path: Path, layout: dict[str, Any]) -> None:
    from llava.mm_utils import process_images

    from llava_faba.inference.answer import prompt_ids

    more = {"image_grid_pinpoints": PINPOINTS} if layout["image_aspect_ratio"] == "anyres" else {}
    source = make_source(tmp_path, golden, image=56, patch=14, **layout, **more)
    tokenizer, plugin, pictures, _ = llava_faba.load_model(source)
    model, processor = load(convert(source, tmp_path / "hf"))
    for size in SIZES:
        image, prior = picture(size), torch.randn(1, 136)
        theirs = process_images([image], pictures, plugin.config)
        inputs = processor(images=image, text=prompt_of(processor), facial_priors=prior, return_tensors="pt")
        assert np.array_equal(inputs["pixel_values"][0].numpy(), theirs[0].numpy()), size
        ids = torch.tensor([prompt_ids(QUESTION, tokenizer, plugin.config)])
        with torch.no_grad():
            expected = plugin(input_ids=ids, images=theirs, image_sizes=[size], facial_priors=prior).logits
            found = model(**inputs).logits
        assert found.shape[1] == expected.shape[1], size
        assert (found[..., :380] - expected[..., :380]).abs().max() < 1e-4, size
        known = {"do_sample": False, "max_new_tokens": 8}
        said = plugin.generate(ids, images=theirs, image_sizes=[size], facial_priors=prior, **known)[0]
        made = model.generate(**inputs, **known)[0, inputs["input_ids"].shape[1] :]
        assert made.tolist() == said.tolist()[-len(made) :], size


def test_pictures_of_several_shapes_in_one_batch(golden: Path, tmp_path: Path) -> None:
    layout = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad", "image_grid_pinpoints": PINPOINTS}
    source = make_source(tmp_path, golden, image=56, patch=14, **layout)
    model, processor = load(convert(source, tmp_path / "hf"))
    images, priors = [picture(size) for size in SIZES], torch.randn(len(SIZES), 136)
    texts = [prompt_of(processor)] * len(images)
    batch = processor(images=images, text=texts, facial_priors=priors, padding=True, return_tensors="pt")
    for row, image in enumerate(images):
        alone = processor(images=image, text=texts[0], facial_priors=priors[row : row + 1], return_tensors="pt")
        with torch.no_grad():
            assert (model(**batch).logits[row, -1] - model(**alone).logits[0, -1]).abs().max() < 1e-4


def test_predict_says_the_same_in_both_homes(golden: Path, tmp_path: Path) -> None:
    import skimage.data

    pytest.importorskip("dlib")
    image = Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250))  # NASA, public domain; as the tower's
    source = make_source(tmp_path, golden)
    homes = [source, convert(source, tmp_path / "hf")]
    llava, native = (llava_faba.predict(str(home), image, QUESTION, max_new_tokens=16) for home in homes)
    assert native.text == llava.text and native.status == llava.status == "found"
    assert np.array_equal(native.landmarks, llava.landmarks)
