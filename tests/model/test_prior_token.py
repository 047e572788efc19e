"""Where the prior token stands, for every shape of images that LLaVA knows, and what the model refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from llava.mm_utils import process_images
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from PIL import Image
from support import ADAPTER, HIDDEN, IMAGE_TOKEN, PATCHES, PRIOR_SIZE, SIDE

import llava_faba
from llava_faba.errors import PriorError
from llava_faba.model.config import EmolaConfig
from llava_faba.model.emola import EmolaLlamaForCausalLM

PROMPT = [[1, 5, 6, IMAGE_TOKEN, 7, 8, 9]]
BEFORE, BEHIND = 3, 3


@pytest.fixture(scope="module")
def loaded(golden) -> Any:
    return llava_faba.load_model(golden / ADAPTER)


@pytest.fixture(scope="module")
def model(loaded) -> EmolaLlamaForCausalLM:
    return loaded[1]


@pytest.fixture(scope="module")
def plain(model) -> LlavaLlamaForCausalLM:
    """Upstream's own class with the very modules of the EmoLA model."""
    twin = LlavaLlamaForCausalLM.__new__(LlavaLlamaForCausalLM)
    twin.__dict__ = model.__dict__
    return twin


def images(count: int = 1, *crops: int) -> torch.Tensor:
    return torch.randn(count, *crops, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def priors(count: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, PRIOR_SIZE, generator=torch.Generator().manual_seed(seed))


def logits(model: Any, pictures: Any, facial_priors: Any, ids: Any = None, **more: Any) -> torch.Tensor:
    extra = {} if facial_priors is None else {"facial_priors": facial_priors}
    with torch.no_grad():
        return model(input_ids=torch.tensor(ids or PROMPT), images=pictures, **extra, **more).logits


@contextmanager
def embeddings_of(model: Any) -> Iterator[list[torch.Tensor]]:
    """Collects what the language model is fed while inside."""
    seen: list[torch.Tensor] = []
    hook = model.get_model().register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


def embeddings(model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    with embeddings_of(model) as seen:
        logits(model, *args, **kwargs)
    return seen[0]


def check_one_token_behind_the_image(emola: Any, plain: Any, pictures: Any, tokens: int, **more: Any) -> None:
    """The input is upstream's own with the projected prior behind the ``tokens`` image tokens; nothing else moves."""
    prior = priors()
    with_prior = embeddings(emola, pictures, prior, **more)[0]
    without = embeddings(plain, pictures, None, **more)[0]
    place = BEFORE + tokens
    assert with_prior.shape[0] == BEFORE + tokens + 1 + BEHIND
    assert torch.equal(torch.cat((with_prior[:place], with_prior[place + 1 :])), without)
    with torch.no_grad():
        assert torch.equal(with_prior[place : place + 1], emola.encode_facial_priors(prior)[0])
    # The language model is causal: another prior changes what comes behind the image and nothing in front of it.
    first, second = (logits(emola, pictures, priors(seed=seed), **more)[0] for seed in (1, 2))
    assert torch.equal(first[:place], second[:place])
    assert not any(torch.allclose(a, b) for a, b in zip(first[place:], second[place:], strict=True))


def test_plain_batch(model, plain):
    check_one_token_behind_the_image(model, plain, images(), PATCHES)


def test_list_of_single_images(model, plain):
    check_one_token_behind_the_image(model, plain, list(images()), PATCHES)
    assert torch.allclose(logits(model, list(images()), priors()), logits(model, images(), priors()), atol=1e-5)


def test_list_of_crops_merged_flat(model, plain):
    check_one_token_behind_the_image(model, plain, [images(1, 3)[0]], 3 * PATCHES)


def test_five_dimensional_batch_merged_flat(model, plain):
    check_one_token_behind_the_image(model, plain, images(1, 3), 3 * PATCHES)


@pytest.fixture
def anyres(loaded, model, monkeypatch):
    """Sets the model to anyres with a merge type; returns the preprocessing of a picture of some size."""

    def prepare(merge_type: str, *sizes: tuple[int, int]) -> Any:
        for key, value in {
            "image_aspect_ratio": "anyres",
            "image_grid_pinpoints": [[112, 56], [56, 112], [112, 112]],
            "mm_patch_merge_type": merge_type,
        }.items():
            monkeypatch.setattr(model.config, key, value, raising=False)
        newline = torch.nn.Parameter(torch.randn(HIDDEN, generator=torch.Generator().manual_seed(3)))
        monkeypatch.setitem(model.get_model()._parameters, "image_newline", newline)
        pixels = np.random.default_rng(5)
        pictures = [Image.fromarray(pixels.integers(0, 256, (height, width, 3), np.uint8)) for width, height in sizes]
        return process_images(pictures, loaded[2], model.config)

    return prepare


@pytest.mark.parametrize(
    ("merge_type", "size", "tokens"),
    [
        ("flat", (112, 56), 3 * 16),
        ("spatial", (112, 56), 16 + 4 * 8),
        ("spatial", (100, 80), 16 + 8 * 8),
        ("spatial_unpad", (112, 56), 16 + 4 * (8 + 1)),
        ("spatial_unpad", (56, 112), 16 + 8 * (4 + 1)),
        ("spatial_unpad", (100, 80), 16 + 6 * (8 + 1)),
    ],
)
def test_anyres_crops_merged_by_upstream_get_one_token(model, plain, anyres, merge_type, size, tokens):
    crops = anyres(merge_type, size)
    check_one_token_behind_the_image(model, plain, crops, tokens, image_sizes=[size])
    check_one_token_behind_the_image(model, plain, list(crops), tokens, image_sizes=[size])


def test_anyres_images_of_several_sizes_in_one_batch_keep_their_priors(model, anyres):
    sizes = [(112, 56), (100, 80)]
    crops = anyres("spatial_unpad", *sizes)
    assert isinstance(crops, list) and [len(crop) for crop in crops] == [3, 5]
    both = logits(model, crops, priors(2), PROMPT * 2, image_sizes=sizes)
    for row, size in enumerate(sizes):
        alone = logits(model, [crops[row]], priors(2)[row : row + 1], image_sizes=[size])[0]
        assert torch.allclose(both[row, : len(alone)], alone, atol=1e-5)


def test_an_image_without_crops_among_unpadded_ones_ends_in_newline_and_prior(model, plain, anyres):
    anyres("spatial_unpad", (56, 56))
    check_one_token_behind_the_image(model, plain, list(images()), PATCHES + 1, image_sizes=[(SIDE, SIDE)])


def test_two_images_in_one_prompt_take_their_priors_in_order(model):
    ids = [[1, 5, IMAGE_TOKEN, 6, IMAGE_TOKEN, 7]]
    two = priors(2)
    rows = embeddings(model, images(2), two, ids)[0]
    with torch.no_grad():
        tokens = model.encode_facial_priors(two)[:, 0]
    assert torch.equal(rows[2 + PATCHES], tokens[0])
    assert torch.equal(rows[2 + PATCHES + 1 + 1 + PATCHES], tokens[1])


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_text_only_row_beside_an_image_row_changes_neither(model, monkeypatch, as_list, side):
    monkeypatch.setattr(model.config, "tokenizer_padding_side", side)
    text = [1, 5, 6, 7, 7, 8, 9]
    pictures: Any = list(images(2)) if as_list else images(2)
    mask = torch.ones(2, len(text), dtype=torch.bool)
    both = logits(model, pictures, priors(2), [PROMPT[0], text], attention_mask=mask)
    alone = logits(model, images(2)[:1], priors(2)[:1])[0]
    assert torch.allclose(both[0], alone, atol=1e-5)
    with torch.no_grad():
        text_alone = model(input_ids=torch.tensor([text])).logits[0]
    row = both[1, : len(text)] if side == "right" else both[1, -len(text) :]
    assert torch.allclose(row, text_alone, atol=1e-5)


def test_a_text_only_row_gives_the_projector_no_gradient_but_takes_part(model, monkeypatch):
    """Under ZeRO-3 every process must run the projector on every step, also one whose batch holds text only."""
    projector = model.get_model().landmark_feature_projector
    for parameter in projector.parameters():
        monkeypatch.setattr(parameter, "requires_grad", True)
    labels = torch.tensor([[1, 5, 6, 7]])
    loss = model(input_ids=labels, labels=labels, images=images(), facial_priors=torch.zeros(1, PRIOR_SIZE)).loss
    gradients = torch.autograd.grad(loss, list(projector.parameters()), allow_unused=True)
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    "shape", [(2, PRIOR_SIZE), (1, PRIOR_SIZE - 1), (PRIOR_SIZE,), (1, 1, PRIOR_SIZE), (0, PRIOR_SIZE)]
)
@pytest.mark.parametrize("as_list", [False, True])
def test_priors_of_the_wrong_shape_are_refused(model, shape, as_list):
    with pytest.raises(PriorError, match="facial_priors"):
        logits(model, list(images()) if as_list else images(), torch.zeros(shape))
    with pytest.raises(PriorError, match="facial_priors"):
        model.generate(torch.tensor(PROMPT), images=images(), facial_priors=torch.zeros(shape))


def test_priors_without_images_are_refused(model):
    for call in (model.forward, model.generate):
        with pytest.raises(PriorError, match="without images"):
            call(input_ids=torch.tensor([[1, 5]]), facial_priors=priors())


def test_a_model_without_a_prior_refuses_priors_and_needs_none(golden, monkeypatch):
    monkeypatch.chdir(golden)
    without = EmolaLlamaForCausalLM(EmolaConfig.from_pretrained(golden / "base"))
    without.get_vision_tower().load_model()
    assert logits(without, images(), None).shape[1] == BEFORE + PATCHES + BEHIND
    with pytest.raises(PriorError, match="no facial prior projector"):
        logits(without, images(), priors())


def test_prior_rows_of_zeros_are_taken_as_they_are(model):
    zeros = torch.zeros(1, PRIOR_SIZE)
    assert logits(model, images(), zeros).isfinite().all()
    assert not torch.equal(logits(model, images(), zeros), logits(model, images(), priors()))


def test_threads_give_what_one_after_the_other_gives(model):
    def ask(which: int) -> tuple[torch.Tensor, list[int]]:
        answer = model.generate(
            torch.tensor(PROMPT), images=images(), facial_priors=priors(seed=which), do_sample=False, max_new_tokens=4
        )
        return logits(model, images(), priors(seed=which)), answer[0].tolist()

    alone = [ask(which) for which in range(2)]
    differ: list[int] = []

    def ask_often(which: int) -> None:
        for _ in range(8):
            found = ask(which)
            if not torch.equal(found[0], alone[which][0]) or found[1] != alone[which][1]:
                differ.append(which)

    threads = [threading.Thread(target=ask_often, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not torch.equal(alone[0][0], alone[1][0]) and not differ


def test_nothing_stays_behind_after_an_exception(model):
    before, attributes = logits(model, images(), priors()), {name: id(value) for name, value in vars(model).items()}
    with pytest.raises(PriorError):
        logits(model, images(), torch.zeros(1, 3))
    with pytest.raises(IndexError):  # a token that does not exist: fails inside upstream's code, behind ours
        logits(model, images(), priors(seed=2), [[1, IMAGE_TOKEN, 10_000]])
    assert {name: id(value) for name, value in vars(model).items()} == attributes
    assert torch.equal(logits(model, images(), priors()), before)
