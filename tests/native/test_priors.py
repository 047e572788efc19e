# ruff: noqa: E402 - what is imported late needs transformers 5
"""Where the prior comes from: the call, the processor's expert, or the model's own; on a tiny model with dlib-68."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("dlib")

from native.folders import convert, load, make_source, prompt_of
from PIL import Image

from llava_faba.cli.main import main
from llava_faba.errors import PriorError
from llava_faba.priors.store import PriorStore


@pytest.fixture(scope="module")
def home(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("dlib")
    return load(convert(make_source(folder, golden), folder / "hf"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """square.png (240 x 240, as the tower takes it), wide.png (400 x 280) and blank.png, which has no face."""
    import skimage.data

    folder = tmp_path_factory.mktemp("pictures")
    portrait = Image.fromarray(skimage.data.astronaut())  # NASA, public domain
    portrait.crop((110, 10, 350, 250)).save(folder / "square.png")
    portrait.crop((60, 0, 460, 280)).save(folder / "wide.png")
    Image.new("RGB", (300, 200), (90, 120, 200)).save(folder / "blank.png")
    return folder


@pytest.fixture(scope="module")
def stored(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> PriorStore:
    out = tmp_path_factory.mktemp("store") / "priors"
    assert main(["priors", "extract", "--expert", "dlib-68", "--images", str(pictures), "--out", str(out)]) == 0
    return PriorStore.open(out)


def opened(pictures: Path, *names: str) -> list[Any]:
    return [Image.open(pictures / name).convert("RGB") for name in names]


def test_the_processors_priors_are_the_stored_ones_to_the_bit(home: Any, pictures: Path, stored: PriorStore) -> None:
    names = ["square.png", "wide.png", "blank.png"]
    inputs = home[1](images=opened(pictures, *names), text=[prompt_of(home[1])] * 3, return_tensors="pt", padding=True)
    for name, prior in zip(names, inputs["facial_priors"].numpy(), strict=True):
        assert np.array_equal(prior, stored.get(name)), name
    assert inputs.facial_prior_status == ["found", "found", "not_found"]
    assert not inputs["facial_priors"][2].any() and inputs["facial_priors"][:2].any(dim=1).all()


def test_a_picture_as_an_array_has_the_prior_of_the_picture(home: Any, pictures: Path) -> None:
    (wide,) = opened(pictures, "wide.png")
    kinds = [wide, np.asarray(wide), torch.from_numpy(np.asarray(wide).transpose(2, 0, 1).copy())]
    found = [home[1](images=one, text=prompt_of(home[1]), return_tensors="pt")["facial_priors"] for one in kinds]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_the_models_own_priors_are_those_of_the_same_pixels(home: Any, pictures: Path) -> None:
    """A trainer that drops what it does not know (TRL) leaves the model pixel_values alone."""
    model, processor = home
    inputs = processor(images=opened(pictures, "square.png"), text=prompt_of(processor), return_tensors="pt")
    computed = model.compute_facial_priors(inputs["pixel_values"], inputs["image_sizes"])
    assert np.array_equal(computed.features, inputs["facial_priors"].numpy())
    known = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    with torch.no_grad():
        assert torch.equal(model(**known).logits, model(**inputs).logits)
        without = model(**known, facial_priors=torch.zeros(1, 136)).logits
    assert not torch.equal(model(**known).logits, without)


def test_of_a_picture_that_is_not_square_the_model_undoes_the_padding(home: Any, pictures: Path) -> None:
    model, processor = home
    inputs = processor(images=opened(pictures, "wide.png"), text=prompt_of(processor), return_tensors="pt")
    assert inputs["image_sizes"].tolist() == [[280, 400]]
    computed = model.compute_facial_priors(inputs["pixel_values"], inputs["image_sizes"]).features
    assert np.abs(computed - inputs["facial_priors"].numpy()).max() < 0.05  # the model sees it at 240 pixels
    lost = model.compute_facial_priors(inputs["pixel_values"]).features
    assert np.abs(lost - inputs["facial_priors"].numpy()).max() < 0.05  # padded about the middle: nothing moves


def test_no_face_is_zeros_from_the_model_too(home: Any, pictures: Path) -> None:
    model, processor = home
    inputs = processor(images=opened(pictures, "blank.png"), text=prompt_of(processor), return_tensors="pt")
    result = model.compute_facial_priors(inputs["pixel_values"], inputs["image_sizes"])
    assert [status.value for status in result.statuses] == ["not_found"] and not result.features.any()


def test_a_batch_answers_as_each_alone(home: Any, pictures: Path) -> None:
    model, processor = home
    questions = ["What is it?", "What AUs are conveyed by this face? Explain.", "What emotions are conveyed?"]
    images = opened(pictures, "square.png", "wide.png", "blank.png")
    texts = [prompt_of(processor, question) for question in questions]
    batch = processor(images=images, text=texts, padding=True, return_tensors="pt")
    assert batch["attention_mask"][0, 0] == 0 and batch["attention_mask"][:, -1].all()  # padded on the left
    made = model.generate(**batch, do_sample=False, max_new_tokens=12)[:, batch["input_ids"].shape[1] :]
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        single = processor(images=image, text=text, return_tensors="pt")
        with torch.no_grad():
            together, alone = model(**batch).logits[row, -1], model(**single).logits[0, -1]
        assert (together - alone).abs().max() < 1e-4
        own = model.generate(**single, do_sample=False, max_new_tokens=12)[0, single["input_ids"].shape[1] :]
        assert made[row, : len(own)].tolist() == own.tolist()


def test_in_bfloat16_the_prior_is_normalized_in_float32(golden: Path, tmp_path: Path, pictures: Path) -> None:
    """Landmarks are small movements on large constants: rounded to bfloat16 first, most of them would be gone."""
    statistics = {"mean": [0.5] * 136, "scale": [1e-3] * 136}
    source = make_source(tmp_path, golden, facial_prior_normalization="standardize", facial_prior_statistics=statistics)
    model, processor = load(convert(source, tmp_path / "hf"), dtype=torch.bfloat16)
    priors = 0.5 + 1e-3 * torch.randn(2, 136, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = model.model.encode_facial_priors(priors)
        expected = model.model.prior_projector(((priors - 0.5) / 1e-3).bfloat16())
        coarse = model.model.prior_projector(((priors.bfloat16().float() - 0.5) / 1e-3).bfloat16())
    assert tokens.dtype == torch.bfloat16
    assert (tokens[:, 0] - expected).abs().max() < 0.2 < (tokens[:, 0] - coarse).abs().max()
    with pytest.raises(PriorError, match="float32"):
        model.model.encode_facial_priors(priors.bfloat16())
    inputs = processor(images=opened(pictures, "square.png"), text=prompt_of(processor), return_tensors="pt")
    assert torch.isfinite(model(**inputs.to(torch.bfloat16)).logits).all()


def test_inputs_that_were_cast_keep_their_priors(home: Any, pictures: Path) -> None:
    """``inputs.to(dtype)`` is what every example of transformers writes; it must not round the landmarks."""
    inputs = home[1](images=opened(pictures, "square.png"), text=prompt_of(home[1]), return_tensors="pt")
    before = inputs["facial_priors"].clone()
    cast = inputs.to(torch.bfloat16)
    assert cast["pixel_values"].dtype == torch.bfloat16
    assert cast["facial_priors"].dtype == torch.float32 and torch.equal(cast["facial_priors"], before)
    assert cast.facial_prior_status == ["found"]


def test_copies_share_the_expert(home: Any, pictures: Path) -> None:
    """transformers deep-copies attributes when it saves; an expert and its lock cannot be copied."""
    model, processor = home
    processor(images=opened(pictures, "square.png"), text=prompt_of(processor), return_tensors="pt")
    model.facial_prior_expert()
    again = copy.deepcopy(processor)
    assert again.facial_prior_expert() is processor.facial_prior_expert() is model.facial_prior_expert()
    assert copy.deepcopy(model).facial_prior_expert() is model.facial_prior_expert()
    json.dumps(processor.to_dict())


def test_a_processor_in_another_process_computes_the_same(home: Any, pictures: Path) -> None:
    """A DataLoader pickles the processor for its workers."""
    import pickle

    again = pickle.loads(pickle.dumps(home[1]))
    inputs = [
        one(images=opened(pictures, "wide.png"), text=prompt_of(one), return_tensors="pt") for one in (home[1], again)
    ]
    assert torch.equal(inputs[0]["facial_priors"], inputs[1]["facial_priors"])


def test_text_alone_has_no_prior(home: Any) -> None:
    model, processor = home
    inputs = processor(text="USER: Hello. ASSISTANT:", return_tensors="pt")
    assert "facial_priors" not in inputs and torch.isfinite(model(**inputs).logits).all()
    with pytest.raises(PriorError, match="without images"):
        model(**inputs, facial_priors=torch.zeros(1, 136))
    with pytest.raises(PriorError, match="without images"):
        processor(text="USER: Hello. ASSISTANT:", facial_priors=np.zeros((1, 136)))


def test_several_pictures_in_one_prompt_have_a_prior_each(home: Any, pictures: Path) -> None:
    model, processor = home
    turn = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Who smiles?"}]
    text = processor.apply_chat_template([{"role": "user", "content": turn}], add_generation_prompt=True)
    inputs = processor(images=opened(pictures, "square.png", "blank.png"), text=text, return_tensors="pt")
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == 2 * (36 + 1)
    assert inputs.facial_prior_status == ["found", "not_found"]
    swapped = {**inputs, "facial_priors": inputs["facial_priors"].flip(0)}
    assert not torch.equal(model(**inputs).logits, model(**swapped).logits)


def test_given_priors_that_do_not_fit_are_refused(home: Any, pictures: Path) -> None:
    image, text = opened(pictures, "square.png"), prompt_of(home[1])
    for wrong in (np.zeros((2, 136)), np.zeros((1, 212)), np.full((1, 136), np.nan), "landmarks"):
        with pytest.raises(PriorError):
            home[1](images=image, text=text, facial_priors=wrong)
    left_out = home[1](images=image, text=text, facial_priors=False)
    assert "facial_priors" not in left_out
