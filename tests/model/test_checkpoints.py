"""Checkpoints that are incomplete, contradictory or dangerous, in both loaders: ours and LLaVA's own."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llava.model import builder
from safetensors.torch import load_file, save_file
from support import ADAPTER, edit_config, write_malicious_pickle

import llava_faba
from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import read_weights

Load = Callable[..., Any]
PROJECTOR_KEY = "landmark_feature_projector"


@pytest.fixture(params=["load_model", "upstream"])
def load(request: pytest.FixtureRequest, registered: None) -> Load:
    if request.param == "load_model":
        return llava_faba.load_model
    return lambda path, base=None: builder.load_pretrained_model(
        str(path), None if base is None else str(base), Path(path).name, device="cpu"
    )


@pytest.fixture
def merged(copied: Path, tmp_path: Path) -> Path:
    """A full EmoLA checkpoint in the format of older releases: one pytorch_model.bin."""
    tokenizer, model, _, _ = llava_faba.load_model(copied / ADAPTER)
    folder = tmp_path / "llava-v1-merged"
    model.save_pretrained(folder)  # newer transformers write safetensors alone
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    tokenizer.save_pretrained(folder)
    return folder


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    torch.save(change(torch.load(path, weights_only=True)), path)


def without_projector(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if PROJECTOR_KEY not in name}


def with_projector_of_another_shape(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value[..., :-1] if PROJECTOR_KEY in name else value for name, value in state.items()}


def test_no_projector_anywhere_is_an_error_and_never_a_random_one(copied, load):
    folder = copied / ADAPTER
    (folder / "landmark_feature_projector.bin").unlink()
    edit_weights(folder / "non_lora_trainables.bin", without_projector)
    with pytest.raises(CheckpointError, match=r"no facial prior projector: neither .*copy the missing file"):
        load(folder)


def test_a_merged_checkpoint_without_projector_is_an_error(merged, load):
    edit_weights(merged / "pytorch_model.bin", without_projector)
    with pytest.raises(CheckpointError, match="the weights hold no prior projector"):
        load(merged)


@pytest.mark.parametrize("file", ["landmark_feature_projector.bin", "non_lora_trainables.bin"])
def test_a_projector_of_another_shape_is_an_error(copied, load, file):
    if file == "non_lora_trainables.bin":
        (copied / ADAPTER / "landmark_feature_projector.bin").unlink()
    edit_weights(copied / ADAPTER / file, with_projector_of_another_shape)
    with pytest.raises(CheckpointError, match=rf"{file}: .*do not fit config.json.*{PROJECTOR_KEY}.0.bias is \(63,\)"):
        load(copied / ADAPTER)


def test_a_merged_projector_of_another_shape_is_an_error(merged, load):
    edit_weights(merged / "pytorch_model.bin", with_projector_of_another_shape)
    with pytest.raises(CheckpointError, match=rf"llava-v1-merged.*do not fit config.json.*{PROJECTOR_KEY}.0.weight"):
        load(merged)


def test_half_a_projector_is_an_error(copied, load):
    for file in ("landmark_feature_projector.bin", "non_lora_trainables.bin"):
        edit_weights(
            copied / ADAPTER / file,
            lambda state: {name: value for name, value in state.items() if f"{PROJECTOR_KEY}.2" not in name},
        )
    with pytest.raises(CheckpointError, match=rf"{PROJECTOR_KEY}.2.weight is absent, not \(64, 64\)"):
        load(copied / ADAPTER)


def test_a_base_with_a_missing_weight_is_an_error(copied):
    edit_weights(
        copied / "base" / "pytorch_model.bin",
        lambda state: {name: value for name, value in state.items() if name != "lm_head.weight"},
    )
    with pytest.raises(CheckpointError, match=r"1 weights are missing from its files, lm_head.weight"):
        llava_faba.load_model(copied / ADAPTER)


@pytest.mark.parametrize(
    "file",
    [
        f"{ADAPTER}/adapter_model.bin",
        f"{ADAPTER}/non_lora_trainables.bin",
        f"{ADAPTER}/landmark_feature_projector.bin",
        "base/pytorch_model.bin",
        "clip-tiny/pytorch_model.bin",
    ],
)
def test_a_malicious_pickle_is_refused_and_does_not_run(copied, tmp_path, load, file, monkeypatch):
    # Older torch, which LLaVA's git tree pins, unpickles everything unless told otherwise.
    safe_load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: safe_load(*args, **{"weights_only": False, **more}))
    mark = tmp_path / "mark"
    write_malicious_pickle(copied / file, mark)
    with pytest.raises(CheckpointError, match="could run code"):
        load(copied / ADAPTER)
    assert not mark.exists()
    with contextlib.suppress(RuntimeError):  # it is no torch file, but by then it has been unpickled
        safe_load(copied / file, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "shards/weights.pt"])
def test_a_malicious_shard_under_any_name_is_refused(merged, tmp_path, load, file, monkeypatch):
    safe_load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: safe_load(*args, **{"weights_only": False, **more}))
    names = list(torch.load(merged / "pytorch_model.bin", weights_only=True))
    if file != "pytorch_model.bin":
        (merged / "shards").mkdir()
        (merged / "pytorch_model.bin").unlink()
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, file)}
        (merged / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    write_malicious_pickle(merged / file, tmp_path / "mark")
    with pytest.raises(CheckpointError, match="could run code"):
        load(merged)
    assert not (tmp_path / "mark").exists()


def test_files_that_are_not_what_they_should_be(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent.bin: no such file"):
        read_weights(tmp_path / "absent.bin")
    (tmp_path / "cut.bin").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(CheckpointError, match=r"cut.bin: not a readable PyTorch weights file"):
        read_weights(tmp_path / "cut.bin")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 4)
    with pytest.raises(CheckpointError, match=r"cut.safetensors: not a readable"):
        read_weights(tmp_path / "cut.safetensors")
    torch.save([torch.ones(2)], tmp_path / "list.bin")
    with pytest.raises(CheckpointError, match="holds a list, not a dictionary"):
        read_weights(tmp_path / "list.bin")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "old.bin")["a"], torch.ones(2))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text('{"hidden_size": '), "not readable as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "expected an object, found list"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json: not readable as JSON"),
        (lambda folder: (folder / "adapter_model.bin").unlink(), "adapter_model"),
        (lambda folder: shutil.rmtree(folder.parent / "base"), "base model './base'"),
        (lambda folder: shutil.rmtree(folder.parent / "clip-tiny"), "vision tower './clip-tiny'"),
        (lambda folder: shutil.rmtree(folder), "no such folder"),
    ],
    ids=[
        "no config",
        "broken config",
        "odd config",
        "broken adapter config",
        "no adapter",
        "no base",
        "no tower",
        "gone",
    ],
)
def test_incomplete_folders_say_what_is_missing(copied, damage, told):
    damage(copied / ADAPTER)
    with pytest.raises(CheckpointError) as caught:
        llava_faba.load_model(copied / ADAPTER)
    assert told in str(caught.value) and str(copied) in str(caught.value)


def test_a_projector_in_safetensors_is_read_too(copied, load):
    folder = copied / ADAPTER
    state = torch.load(folder / "landmark_feature_projector.bin", weights_only=True)
    (folder / "landmark_feature_projector.bin").unlink()
    save_file(
        {name: value.contiguous() for name, value in state.items()}, folder / "landmark_feature_projector.safetensors"
    )
    edit_weights(folder / "non_lora_trainables.bin", without_projector)
    model = load(folder)[1]
    weight = model.get_model().landmark_feature_projector[0].weight
    stored = next(value for name, value in state.items() if name.endswith("0.weight"))
    assert torch.allclose(weight.float(), stored.float(), atol=1e-3)


def test_an_emola_config_whose_type_is_llavas_still_has_its_prior(copied, load):
    edit_config(copied / ADAPTER, model_type="llava_llama")
    assert hasattr(load(copied / ADAPTER)[1].get_model(), PROJECTOR_KEY)


def test_an_identity_projector_has_no_weights_and_needs_none(copied, load):
    folder = copied / ADAPTER
    edit_config(folder, landmark_feature_hidden_size=64, facial_prior_projector_type="identity")
    (folder / "landmark_feature_projector.bin").unlink()
    edit_weights(folder / "non_lora_trainables.bin", without_projector)
    model = load(folder)[1]
    assert isinstance(model.get_model().landmark_feature_projector, torch.nn.Module)
    assert not list(model.get_model().landmark_feature_projector.parameters())
    prior = torch.randn(1, 64)
    assert torch.equal(model.encode_facial_priors(prior)[0], prior)
