"""The EmoLA class: where the prior token stands, what it refuses, and plain LLaVA beside it."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import llava_faba
from llava_faba.errors import CheckpointError, ExpertError, PriorError, UserError
from llava_faba.model.normalization import PriorNormalizer, fit_statistics

ADAPTER = "llava-v1-lora-emola-tiny"
IMAGE = -200


@pytest.fixture(scope="module")
def loaded(golden: Path):
    return llava_faba.load_model(golden / ADAPTER)


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    shutil.copytree(golden, tmp_path / "copy")
    return tmp_path / "copy"


def prompt() -> torch.Tensor:
    return torch.tensor([[1, 5, 6, IMAGE, 7, 8, 9]])


def logits(model, images, priors, ids=None):
    with torch.no_grad():
        return model(
            input_ids=prompt() if ids is None else ids, images=images, facial_priors=priors, image_sizes=[(56, 56)] * 2
        ).logits


def test_prior_token_stands_behind_the_patches_and_changes_nothing_before(loaded):
    model, image = loaded[1], torch.randn(1, 3, 56, 56)
    first, second = (logits(model, image, torch.randn(1, 212))[0] for _ in range(2))
    assert first.shape[0] == 6 + 16 + 1
    assert torch.equal(first[: 3 + 16], second[: 3 + 16])
    assert not torch.allclose(first[3 + 16 :], second[3 + 16 :])


def test_lists_and_five_dimensional_batches_equal_plain_ones(loaded):
    model, image, prior = loaded[1], torch.randn(1, 3, 56, 56), torch.randn(1, 212)
    plain = logits(model, image, prior)
    assert torch.allclose(logits(model, [image[0]], prior), plain, atol=1e-5)
    assert torch.allclose(logits(model, image[None], prior), plain, atol=1e-5)


def test_crops_of_one_image_get_one_prior_token(loaded):
    model = loaded[1]
    crops = torch.randn(1, 3, 3, 56, 56)
    assert logits(model, crops, torch.randn(1, 212)).shape[1] == 6 + 3 * 16 + 1


def test_text_only_row_beside_an_image_row(loaded):
    model = loaded[1]
    ids = torch.tensor([[1, 5, 6, IMAGE, 7, 8, 9], [1, 5, 6, 7, 7, 8, 9]])
    images, priors = torch.randn(2, 3, 56, 56), torch.randn(2, 212)
    both = logits(model, images, priors, ids)
    assert torch.allclose(both[0], logits(model, images[:1], priors[:1])[0], atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 212), (1, 100)])
def test_priors_of_the_wrong_shape_are_refused(loaded, shape):
    with pytest.raises(PriorError):
        logits(loaded[1], torch.randn(1, 3, 56, 56), torch.randn(shape))


def test_priors_without_images_are_refused(loaded):
    with pytest.raises(PriorError, match="without images"):
        loaded[1](input_ids=torch.tensor([[1, 5]]), facial_priors=torch.randn(1, 212))


def test_threads_do_not_mix_their_priors(loaded):
    model, image = loaded[1], torch.randn(1, 3, 56, 56)
    priors = [torch.randn(1, 212) for _ in range(2)]
    alone = [logits(model, image, prior) for prior in priors]
    wrong: list[int] = []

    def ask(which: int) -> None:
        wrong.extend(which for _ in range(15) if not torch.equal(logits(model, image, priors[which]), alone[which]))

    threads = [threading.Thread(target=ask, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_precomputed_without_priors_says_what_to_do(copied):
    edit_config(copied / ADAPTER, facial_prior_expert="precomputed")
    model = llava_faba.load_model(copied / ADAPTER)[1]
    with pytest.raises(ExpertError, match="facial_priors="):
        model(input_ids=prompt(), images=torch.randn(1, 3, 56, 56))


def test_expert_of_the_checkpoint_not_installed(copied):
    edit_config(copied / ADAPTER, facial_prior_expert="dlib-86")
    model = llava_faba.load_model(copied / ADAPTER)[1]
    with pytest.raises(ExpertError, match="Did you mean 'dlib-68'"):
        model(input_ids=prompt(), images=torch.randn(1, 3, 56, 56))


def test_checkpoint_without_any_projector_is_refused(copied):
    folder = copied / ADAPTER
    (folder / "landmark_feature_projector.bin").unlink()
    state = torch.load(folder / "non_lora_trainables.bin", weights_only=True)
    torch.save({k: v for k, v in state.items() if "landmark" not in k}, folder / "non_lora_trainables.bin")
    with pytest.raises(CheckpointError, match="no facial prior projector"):
        llava_faba.load_model(folder)


@pytest.mark.parametrize(
    "file",
    [
        f"{ADAPTER}/adapter_model.bin",
        f"{ADAPTER}/non_lora_trainables.bin",
        f"{ADAPTER}/landmark_feature_projector.bin",
        "base/pytorch_model.bin",
    ],
)
def test_a_malicious_pickle_is_refused_and_does_not_run(copied, tmp_path, file):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (mark,))

    with (copied / file).open("wb") as target:
        pickle.dump({"x": Evil()}, target)
    with pytest.raises(CheckpointError):
        llava_faba.load_model(copied / ADAPTER)
    assert not mark.exists()


def test_plain_llava_is_bit_identical_with_the_plugin_and_keeps_its_class(copied, monkeypatch):
    from llava.model import builder
    from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

    monkeypatch.chdir(copied)
    ids, image = prompt(), torch.randn(1, 3, 56, 56)

    def plain() -> tuple[type, torch.Tensor]:
        model = builder.load_pretrained_model("base", None, "llava-v1", device="cpu")[1]
        with torch.no_grad():
            return type(model), model(input_ids=ids, images=image.half()).logits

    without = plain()
    llava_faba.register()
    try:
        within = plain()
    finally:
        llava_faba.unregister()
    assert without[0] is within[0] is LlavaLlamaForCausalLM
    assert torch.equal(without[1], within[1])


def test_upstream_builder_loads_emola_from_a_folder_of_any_name(copied, monkeypatch, registered):
    from llava.model import builder

    (copied / ADAPTER).rename(copied / "faces")
    model = builder.load_pretrained_model(str(copied / "faces"), None, "faces", device="cpu")[1]
    ours = llava_faba.load_model(copied / "faces", dtype=torch.float16)[1]
    # On a CPU upstream's builder leaves the tower in float32; ours rounds it to float16, hence the tolerance.
    image, priors = torch.randn(1, 3, 56, 56).half(), torch.randn(1, 212)
    assert torch.allclose(logits(model, image, priors), logits(ours, image, priors), atol=1e-2)


def test_identity_projector_needs_equal_sizes(golden):
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.projector import build_prior_projector

    config = EmolaConfig.from_pretrained(golden / ADAPTER)
    config.facial_prior_projector_type = "identity"
    with pytest.raises(UserError, match="hidden size 64"):
        build_prior_projector(config)
    config.landmark_feature_hidden_size = 64
    prior = torch.randn(2, 64)
    assert torch.equal(build_prior_projector(config)(prior), prior)
    for kind, layers in (("linear", 1), ("mlp1x_gelu", 1), ("mlp3x_gelu", 3)):
        config.facial_prior_projector_type = kind
        weights = [p for p in build_prior_projector(config).parameters() if p.ndim == 2]
        assert len(weights) == layers


@pytest.mark.parametrize("method", ["standardize", "pose"])
def test_normalization_centres_and_leaves_zero_rows(method):
    priors = np.random.default_rng(0).normal(size=(200, 20)).astype(np.float32) * 0.1 + np.arange(20)
    priors[5] = 0
    normalizer = PriorNormalizer(method, fit_statistics(method, priors), 20)
    result = normalizer(torch.from_numpy(priors))
    assert not result[5].any()
    found = result[torch.arange(200) != 5]
    assert found.mean(0).abs().max() < 1e-3 and (found.std(0) - 1).abs().max() < 0.02


def test_pose_normalization_ignores_rotation_scale_and_shift():
    generator = np.random.default_rng(1)
    priors = generator.normal(size=(50, 20)).astype(np.float32)
    normalizer = PriorNormalizer("pose", fit_statistics("pose", priors), 20)
    points = priors.reshape(50, 10, 2) @ np.array([[0.6, -0.8], [0.8, 0.6]]) * 1.7 + np.array([0.3, -2])
    moved = torch.from_numpy(points.reshape(50, 20).astype(np.float32))
    assert torch.allclose(normalizer(moved), normalizer(torch.from_numpy(priors)), atol=1e-3)


def test_normalization_without_statistics_is_an_incomplete_checkpoint():
    with pytest.raises(CheckpointError, match="'mean'"):
        PriorNormalizer("standardize", None, 4)


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
