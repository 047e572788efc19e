"""Equality with the authors' implementation on the golden checkpoint (tests/data/golden/README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import llava_faba

ADAPTER = "llava-v1-lora-emola-tiny"
pytestmark = pytest.mark.newest


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "expected.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def loaded(golden: Path):
    return llava_faba.load_model(golden / ADAPTER)


def prior(golden: Path, record: int) -> torch.Tensor:
    return torch.from_numpy(np.load(golden / "data" / "lm" / f"{record}.npy")).reshape(1, -1)


@pytest.mark.parametrize("record", range(8))
def test_logits_equal_the_reference(loaded, golden, expected, record):
    _, model, _, _ = loaded
    with torch.no_grad():
        logits = model(
            input_ids=torch.from_numpy(expected[f"ids_{record}"])[None],
            images=torch.from_numpy(expected[f"px_{record}"])[None],
            facial_priors=prior(golden, record),
        ).logits[0]
    assert logits.shape == expected[f"logits_{record}"].shape
    assert np.abs(logits.numpy() - expected[f"logits_{record}"]).max() < 1e-4


@pytest.mark.parametrize("record", range(8))
def test_greedy_answers_equal_the_reference(loaded, golden, expected, record):
    _, model, _, _ = loaded
    tokens = model.generate(
        input_ids=torch.from_numpy(expected[f"ids_{record}"])[None],
        images=torch.from_numpy(expected[f"px_{record}"])[None],
        facial_priors=prior(golden, record),
        do_sample=False,
        max_new_tokens=40,
    )[0].tolist()
    if tokens[0] == model.config.bos_token_id:  # transformers 4.37 puts BOS before what it generates
        tokens = tokens[1:]
    assert tokens == expected[f"gen_{record}"].tolist()


def test_loss_equals_the_reference(loaded, golden, expected):
    _, model, _, _ = loaded
    for record in range(8):
        with torch.no_grad():
            loss = model(
                input_ids=torch.from_numpy(expected[f"train_ids_{record}"])[None],
                labels=torch.from_numpy(expected[f"labels_{record}"])[None],
                images=torch.from_numpy(expected[f"px_{record}"])[None],
                facial_priors=prior(golden, record),
            ).loss
        assert abs(loss.item() - expected[f"loss_{record}"]) < 1e-4


def test_prompt_ids_and_pixels_equal_the_reference(loaded, golden, expected):
    from llava.conversation import conv_templates
    from llava.mm_utils import tokenizer_image_token
    from PIL import Image

    tokenizer, _, processor, _ = loaded
    conversation = conv_templates["llava_v1"].copy()
    conversation.append_message(conversation.roles[0], "<image>\nWhat AUs are conveyed by this face?")
    conversation.append_message(conversation.roles[1], None)
    assert tokenizer_image_token(conversation.get_prompt(), tokenizer) == expected["ids_0"].tolist()
    image = Image.open(golden / "data" / "img" / "0.png").convert("RGB")
    pixels = processor.preprocess(image, return_tensors="np")["pixel_values"][0]
    assert np.abs(pixels - expected["px_0"]).max() < 1e-5


def test_the_folder_may_have_any_name(golden, expected, tmp_path):
    for part in ("base", "clip-tiny"):
        shutil.copytree(golden / part, tmp_path / part)
    shutil.copytree(golden / ADAPTER, tmp_path / "somebodys model")
    _, model, _, _ = llava_faba.load_model(tmp_path / "somebodys model")
    with torch.no_grad():
        logits = model(
            input_ids=torch.from_numpy(expected["ids_3"])[None],
            images=torch.from_numpy(expected["px_3"])[None],
            facial_priors=prior(golden, 3),
        ).logits[0]
    assert np.abs(logits.numpy() - expected["logits_3"]).max() < 1e-4


def test_projector_is_found_in_the_non_lora_weights(golden, expected, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(golden / ADAPTER, folder)
    (folder / "landmark_feature_projector.bin").unlink()
    for part in ("base", "clip-tiny"):
        shutil.copytree(golden / part, tmp_path / part)
    _, model, _, _ = llava_faba.load_model(folder)
    with torch.no_grad():
        logits = model(
            input_ids=torch.from_numpy(expected["ids_0"])[None],
            images=torch.from_numpy(expected["px_0"])[None],
            facial_priors=prior(golden, 0),
        ).logits[0]
    assert np.abs(logits.numpy() - expected["logits_0"]).max() < 1e-4


def test_a_base_without_image_projector_such_as_vicuna(copied, expected):
    """LLaVA-1.5's LoRA recipe starts there; the projector then comes with the adapter, and not from chance."""
    path = copied / "base" / "pytorch_model.bin"
    weights = torch.load(str(path), weights_only=True)
    bare = {name: value for name, value in weights.items() if "mm_projector" not in name}
    assert len(bare) < len(weights)
    torch.save(bare, path)
    config = json.loads((copied / "base" / "config.json").read_text())
    config = {key: value for key, value in config.items() if not key.startswith("mm_")}
    (copied / "base" / "config.json").write_text(json.dumps(config))
    trained = torch.load(str(copied / ADAPTER / "non_lora_trainables.bin"), weights_only=True)
    assert any("mm_projector" in name for name in trained)
    _, model, _, _ = llava_faba.load_model(copied / ADAPTER)
    with torch.no_grad():
        logits = model(
            input_ids=torch.from_numpy(expected["ids_0"])[None],
            images=torch.from_numpy(expected["px_0"])[None],
            facial_priors=prior(copied, 0),
        ).logits[0]
    assert np.abs(logits.numpy() - expected["logits_0"]).max() < 1e-4
