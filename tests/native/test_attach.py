# ruff: noqa: E402 - what is imported late needs transformers 5
"""``attach``: one mechanism for small random models of transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)

from native.architectures import KINDS, make
from native.folders import convert, load, make_source, prompt_of
from PIL import Image

import llava_faba.native
from llava_faba.errors import PriorError, UserError
from llava_faba.native.attaching import SUPPORTED

PRIOR = 12


def pictures(count: int) -> list[Any]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (64, 48, 3), dtype=np.uint8)) for _ in range(count)]


def attached(kind: str) -> tuple[Any, Any]:
    model, processor = make(kind)
    torch.manual_seed(1)
    return llava_faba.native.attach(model, processor, expert="precomputed", size=PRIOR)


def inputs_of(processor: Any, count: int = 2, priors: Any = None, **options: Any) -> Any:
    texts = [f"USER: {processor.image_token}{' Please.' * row} What is it?" for row in range(count)]
    images = [[one] for one in pictures(count)]
    given = {} if priors is None else {"facial_priors": priors}
    return processor(images=images, text=texts, return_tensors="pt", padding=True, **given, **options)


def test_all_that_is_claimed_is_tested() -> None:
    assert set(SUPPORTED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_is_one_token_behind_its_picture_and_heard(kind: str) -> None:
    model, processor = attached(kind)
    priors = torch.randn(2, PRIOR)
    with torch.no_grad():
        inputs = inputs_of(processor, priors=priors)
        bare = inputs_of(processor, priors=False)
        assert inputs["input_ids"].shape[1] == bare["input_ids"].shape[1] + 1
        assert (inputs["input_ids"] == model.config.prior_token_id).sum(dim=1).tolist() == [1, 1]
        first = model(**inputs).logits
        other = model(**{**inputs, "facial_priors": priors.flip(0)}).logits
    assert (first - other).abs().max() > 1e-4
    at = int((inputs["input_ids"][1] == model.config.prior_token_id).nonzero()[0])
    assert torch.equal(first[:, :1], other[:, :1]) and (first[1, at] != other[1, at]).any()  # not before it
    alone = processor(
        images=pictures(2)[:1],
        text=f"USER: {processor.image_token} What is it?",
        facial_priors=priors[:1],
        return_tensors="pt",
    )
    with torch.no_grad():
        assert (model(**alone).logits[0, -1] - first[0, -1]).abs().max() < 1e-4  # left-padded in the batch


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_prior_it_is_the_bare_model_to_the_bit(kind: str) -> None:
    model, processor = make(kind)
    image_token = getattr(processor, "boi_token", processor.image_token)
    text = [f"USER: {image_token} What is it?"]
    images = [pictures(1)]
    with torch.no_grad():
        before_inputs = processor(images=images, text=text, return_tensors="pt")
        before = model(**before_inputs).logits
        made = model.generate(**before_inputs, do_sample=False, max_new_tokens=5)
        wrapped, processor = llava_faba.native.attach(model, processor, expert="precomputed", size=PRIOR)
        inputs = processor(images=images, text=text, facial_priors=False, return_tensors="pt")
        assert torch.equal(inputs["input_ids"], before_inputs["input_ids"])
        assert torch.equal(wrapped(**inputs).logits, before) and torch.equal(model(**inputs).logits, before)
        assert torch.equal(wrapped.generate(**inputs, do_sample=False, max_new_tokens=5), made)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_logits(kind: str) -> None:
    """generate hands the prior on, and one step of it is the arg max of forward; several answers share their prior."""
    model, processor = attached(kind)
    inputs = inputs_of(processor, priors=torch.randn(2, PRIOR))
    with torch.no_grad():
        best = model(**inputs).logits[:, -1].argmax(-1)
    made = model.generate(**inputs, do_sample=False, max_new_tokens=3)[:, inputs["input_ids"].shape[1] :]
    assert made[:, 0].tolist() == best.tolist()
    beams = model.generate(**inputs, num_beams=3, num_return_sequences=2, do_sample=False, max_new_tokens=3)
    assert len(beams) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_by_the_auto_classes(kind: str, tmp_path: Path) -> None:
    model, processor = attached(kind)
    inputs = inputs_of(processor, priors=torch.randn(2, PRIOR))
    model.generation_config.repetition_penalty = 1.05
    model.generation_config.max_new_tokens = 3
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
    assert again.generation_config.repetition_penalty == 1.05
    longer = again.generate(**inputs, do_sample=False, eos_token_id=None).shape[1] - inputs["input_ids"].shape[1]
    assert longer == 3  # by what was saved
    if kind not in ("llava", "gemma3"):
        return  # their processors have a video processor, which needs torchvision to be saved
    processor.save_pretrained(tmp_path)
    loaded = transformers.AutoProcessor.from_pretrained(tmp_path)
    same = inputs_of(loaded, priors=inputs["facial_priors"])
    assert all(torch.equal(same[name], inputs[name]) for name in inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_peft_trains_saves_and_loads_it(kind: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, processor = attached(kind)
    inputs = inputs_of(processor, priors=torch.randn(2, PRIOR))
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["prior_projector"])
    tuned = peft.get_peft_model(model, lora)
    labels = inputs["input_ids"].clone()
    labels[labels >= 300] = -100
    projector = [value for name, value in tuned.named_parameters() if "modules_to_save" in name]
    optimizer = torch.optim.SGD([one for one in tuned.parameters() if one.requires_grad], lr=0.1)
    before = [one.detach().clone() for one in projector]
    losses = []
    for _ in range(3):
        loss = tuned(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert projector and any(not torch.equal(a, b) for a, b in zip(projector, before, strict=True))
    tuned.eval().save_pretrained(tmp_path)
    fresh, _ = attached(kind)
    again = peft.PeftModel.from_pretrained(fresh, str(tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, tuned(**inputs).logits)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_positions_of_qwen_go_on_behind_the_prior(kind: str) -> None:
    """mRoPE: the prior has a position of its own, equal on all three axes, and the text goes on one behind it."""
    model, processor = attached(kind)
    inputs = inputs_of(processor, count=1, priors=torch.randn(1, PRIOR))
    known = {name: inputs[name] for name in ("image_grid_thw", "attention_mask", "mm_token_type_ids") if name in inputs}
    positions, _ = model.vlm.model.get_rope_index(inputs["input_ids"], **known)
    at = int((inputs["input_ids"][0] == model.config.prior_token_id).nonzero()[0])
    assert inputs["input_ids"][0, at - 1] == model.vlm.config.image_token_id
    highest = int(positions[:, 0, :at].max())
    assert positions[:, 0, at].tolist() == [highest + 1] * 3 and positions[:, 0, at + 1].tolist() == [highest + 2] * 3


def test_on_llava_it_is_the_native_emola(golden: Path, tmp_path: Path) -> None:
    """The same weights in both: EmolaForConditionalGeneration, and LLaVA-1.5 of transformers with a prior attached."""
    statistics = {"mean": [0.1] * 136, "scale": [0.3] * 136}
    source = make_source(
        tmp_path,
        golden,
        image=56,
        patch=14,
        facial_prior_normalization="standardize",
        facial_prior_statistics=statistics,
    )
    emola, processor = load(convert(source, tmp_path / "hf"))
    config = transformers.LlavaConfig(
        **{
            key: getattr(emola.config, key)
            for key in ("text_config", "vision_config", "image_token_index", "vision_feature_layer")
        }
    )
    bare = transformers.LlavaForConditionalGeneration(config).eval()
    state = emola.state_dict()
    bare.load_state_dict({name: value for name, value in state.items() if "prior_projector" not in name})
    plain = transformers.LlavaProcessor(
        transformers.LlavaImageProcessorPil(
            size={"shortest_edge": 56},
            crop_size={"height": 56, "width": 56},
            do_pad=True,
            image_mean=processor.image_processor.image_mean,
            image_std=processor.image_processor.image_std,
        ),
        processor.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=processor.chat_template,
        num_additional_image_tokens=1,
    )
    image, prior = pictures(1)[0], torch.randn(1, 136)
    wanted = processor(images=image, text=prompt_of(processor), facial_priors=prior, return_tensors="pt")
    model, processor = llava_faba.native.attach(
        bare, plain, expert="dlib-68", normalization="standardize", statistics=statistics
    )
    projector = {name.split("prior_projector.")[1]: value for name, value in state.items() if "prior_projector" in name}
    model.prior_projector.load_state_dict(projector)
    inputs = processor(images=image, text=prompt_of(processor), facial_priors=prior, return_tensors="pt")
    with torch.no_grad():
        expected, found = emola(**wanted).logits, model(**inputs).logits
    assert found.shape == expected.shape
    assert (found[..., :380] - expected[..., :380]).abs().max() < 1e-5


def test_what_does_not_fit_is_refused() -> None:
    model, processor = attached("llava")
    inputs = inputs_of(processor, priors=torch.randn(2, PRIOR))
    without = {name: value for name, value in inputs.items() if name != "facial_priors"}
    with pytest.raises(PriorError, match="0 rows for 2 placeholders"):
        model(**without)  # a trainer that drops what it does not know
    with pytest.raises(PriorError, match="1 rows"):
        model(**{**inputs, "facial_priors": inputs["facial_priors"][:1]})
    with pytest.raises(PriorError, match="places"):
        processor(images=pictures(1), text="no place", facial_priors=torch.zeros(1, PRIOR))
    with pytest.raises(Exception, match="precomputed"):
        inputs_of(processor)
    plain, own = make("llava")
    with pytest.raises(UserError, match="size"):
        llava_faba.native.attach(plain, own, expert="precomputed")
    plain.config.model_type = "llava_next_video"
    with pytest.raises(UserError, match=r"kind that was tested.*not found.*image_token_id: found"):
        llava_faba.native.attach(plain, own, expert="precomputed", size=PRIOR)
