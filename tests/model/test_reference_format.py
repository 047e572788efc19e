"""``llava-faba checkpoint export`` and ``import``: the authors' format to the bit, and what it cannot express."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import ADAPTER, PRIOR_SIZE, edit_config, edit_json, write_malicious_pickle

import llava_faba
from llava_faba.cli.main import main
from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import read_weights
from llava_faba.model.projector import projector_state
from llava_faba.model.reference_format import export_checkpoint, import_checkpoint

WEIGHTS = ("adapter_model", "non_lora_trainables", "landmark_feature_projector")


@pytest.fixture
def workspace(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(copied)
    return copied


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.dtype == second[name].dtype and torch.equal(value, second[name]) for name, value in first.items()
    )


def logits(folder: Path, golden: Path, prior: np.ndarray | None = None, record: int = 0) -> np.ndarray:
    with np.load(golden / "expected.npz") as file:
        ids, pixels = file[f"ids_{record}"], file[f"px_{record}"]
    prior = np.load(golden / "data" / "lm" / f"{record}.npy") if prior is None else prior
    model = llava_faba.load_model(folder)[1]
    with torch.no_grad():
        return model(
            input_ids=torch.from_numpy(ids)[None],
            images=torch.from_numpy(pixels)[None],
            facial_priors=torch.from_numpy(prior).reshape(1, -1).float(),
        ).logits.numpy()


def set_normalization(folder: Path, method: str) -> dict[str, list[float]]:
    random = np.random.default_rng(0)
    statistics = {
        "mean": random.normal(size=PRIOR_SIZE).tolist(),
        "scale": random.uniform(0.05, 2, PRIOR_SIZE).tolist(),
        "shape": random.normal(size=PRIOR_SIZE).tolist(),
    }
    edit_config(folder, facial_prior_normalization=method, facial_prior_statistics=statistics)
    return statistics


def test_the_authors_checkpoint_comes_back_to_the_bit(workspace, golden, capsys):
    assert main(["checkpoint", "import", "--model-path", ADAPTER, "--out", "ours"]) == 0
    ours = workspace / "ours"
    assert not list(ours.glob("landmark_feature_projector.*")) and (ours / "adapter_model.safetensors").is_file()
    config = json.loads((ours / "config.json").read_text())
    assert (config["facial_prior_expert"], config["facial_prior_normalization"]) == ("emola-106", "none")
    with np.load(golden / "expected.npz") as file:
        assert np.abs(logits(ours, golden) - file["logits_0"]).max() < 1e-4
    assert main(["checkpoint", "export", "--model-path", "ours", "--out", "back"]) == 0
    assert "note:" not in capsys.readouterr().out
    assert {path.name for path in Path("back").iterdir()} == {path.name for path in (golden / ADAPTER).iterdir()}
    for stem in WEIGHTS:
        assert same_bits(read_weights(Path("back") / f"{stem}.bin"), read_weights(golden / ADAPTER / f"{stem}.bin"))
    for name in ("config.json", "adapter_config.json"):
        assert json.loads((Path("back") / name).read_text()) == json.loads((golden / ADAPTER / name).read_text())


def test_ours_comes_back_to_the_bit(workspace):
    edit_config(Path(ADAPTER), facial_prior_expert="dlib-68", facial_prior_expert_settings={"upsample": 1})
    import_checkpoint(ADAPTER, Path("ours"))
    notes = export_checkpoint("ours", Path("theirs"))
    assert len(notes) == 1 and "does not know the expert 'dlib-68'" in notes[0]
    import_checkpoint("theirs", Path("back"))
    for name in ("adapter_model.safetensors", "non_lora_trainables.bin"):
        assert same_bits(read_weights(Path("ours") / name), read_weights(Path("back") / name))
    assert (Path("ours") / "config.json").read_bytes() == (Path("back") / "config.json").read_bytes()
    assert (Path("ours") / "adapter_config.json").read_bytes() == (Path("back") / "adapter_config.json").read_bytes()


def test_the_file_that_the_authors_load_last_wins(workspace):
    path = Path(ADAPTER) / "landmark_feature_projector.bin"
    torch.save({name: value + 1 for name, value in read_weights(path).items()}, path)
    notes = import_checkpoint(ADAPTER, Path("ours"))
    assert len(notes) == 1 and "held another prior projector" in notes[0]
    merged = projector_state(read_weights(Path("ours/non_lora_trainables.bin")))
    assert same_bits(merged, projector_state(read_weights(path)))


def test_a_merged_model_gets_the_projector_file_that_the_authors_load(workspace, golden):
    main(["merge", "--model-path", ADAPTER, "--save-model-path", "merged", "--dtype", "float32"])
    export_checkpoint("merged", Path("theirs"))
    assert same_bits(
        read_weights(Path("theirs/landmark_feature_projector.bin")),
        read_weights(golden / ADAPTER / "landmark_feature_projector.bin"),
    )
    import_checkpoint("theirs", Path("back"))
    for folder in ("theirs", "back"):
        assert np.abs(logits(Path(folder), golden) - logits(Path("merged"), golden)).max() < 1e-6


def test_standardize_is_refused_and_can_be_folded(workspace, golden, capsys):
    statistics = set_normalization(Path(ADAPTER), "standardize")
    command = ["checkpoint", "export", "--model-path", ADAPTER, "--out", "theirs"]
    assert main(command) == 2 and "--fold-normalization" in capsys.readouterr().err
    assert not Path("theirs").exists()
    assert main([*command, "--fold-normalization"]) == 0
    assert "no_face_prior.npy" in capsys.readouterr().out
    config = json.loads(Path("theirs/config.json").read_text())
    assert not any("normalization" in key or "statistics" in key for key in config)
    for record in (0, 5):
        wanted = logits(Path(ADAPTER), golden, record=record)
        assert np.abs(logits(Path("theirs"), golden, record=record) - wanted).max() < 1e-4
    # Zeros are special before and are not after; the vector that is written takes their place.
    nothing, replacement = np.zeros(PRIOR_SIZE, np.float32), np.load("theirs/no_face_prior.npy")
    assert np.allclose(replacement, statistics["mean"]) and replacement.dtype == np.float32
    wanted = logits(Path(ADAPTER), golden, nothing)
    assert np.abs(logits(Path("theirs"), golden, replacement) - wanted).max() < 1e-4
    assert np.abs(logits(Path("theirs"), golden, nothing) - wanted).max() > 1e-3


def merged(workspace: Path) -> None:
    set_normalization(workspace / ADAPTER, "standardize")
    main(["merge", "--model-path", ADAPTER, "--save-model-path", "whole", "--dtype", "float32"])
    (workspace / ADAPTER).rename("adapter")
    Path("whole").rename(ADAPTER)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda folder: set_normalization(folder / ADAPTER, "pose"),
            "cannot express facial_prior_normalization 'pose'",
        ),
        (merged, "export, then merge"),
        (lambda folder: edit_config(folder / ADAPTER, mm_projector_type="mlp3x_gelu"), "do not fit config.json"),
        (
            lambda folder: edit_config(
                folder / ADAPTER, mm_projector_type="linear", facial_prior_projector_type="mlp2x_gelu"
            ),
            "with mm_projector_type ('linear')",
        ),
        (
            lambda folder: edit_json(folder / ADAPTER / "adapter_config.json", use_rslora=True),
            "does not know use_rslora",
        ),
        (lambda folder: edit_config(folder / ADAPTER, remove=("landmark_feature_hidden_size",)), "a plain LLaVA"),
        (lambda folder: (folder / "theirs").write_text("mine"), "exists already"),
        (lambda folder: (folder / ADAPTER / "adapter_model.bin").unlink(), "adapter_model"),
    ],
    ids=["pose", "merged", "shape", "type", "rslora", "plain", "occupied", "no adapter"],
)
def test_what_cannot_be_expressed_is_refused(workspace: Path, capsys: Any, damage: Callable[[Path], Any], told: str):
    damage(workspace)
    before = {path for path in workspace.rglob("*") if path.is_file()}
    command = ["checkpoint", "export", "--model-path", ADAPTER, "--out", "theirs", "--fold-normalization"]
    assert main(command) == 2 and told in capsys.readouterr().err
    assert {path for path in workspace.rglob("*") if path.is_file()} == before


def test_the_expert_of_another_size_must_be_named(workspace, capsys):
    edit_config(Path(ADAPTER), landmark_feature_hidden_size=136)
    for name in ("landmark_feature_projector", "non_lora_trainables"):
        state = read_weights(Path(ADAPTER) / f"{name}.bin")
        narrow = {key: value[:, :136] if value.shape[-1] == PRIOR_SIZE else value for key, value in state.items()}
        torch.save({key: value.clone() for key, value in narrow.items()}, Path(ADAPTER) / f"{name}.bin")
    command = ["checkpoint", "import", "--model-path", ADAPTER, "--out", "ours"]
    assert main(command) == 2 and "136 numbers, so they are not those of 'emola-106'" in capsys.readouterr().err
    assert main([*command, "--expert", "dlib-86"]) == 2 and "Did you mean 'dlib-68'" in capsys.readouterr().err
    assert main([*command, "--expert", "dlib-68"]) == 0
    assert json.loads(Path("ours/config.json").read_text())["facial_prior_expert"] == "dlib-68"


@pytest.mark.parametrize("stem", WEIGHTS)
@pytest.mark.parametrize("convert", [import_checkpoint, export_checkpoint])
def test_a_malicious_pickle_is_refused(workspace, tmp_path, stem, convert):
    write_malicious_pickle(Path(ADAPTER) / f"{stem}.bin", tmp_path / "mark")
    with pytest.raises(CheckpointError, match="could run code"):
        convert(ADAPTER, Path("out"))
    assert not (tmp_path / "mark").exists() and not Path("out").exists()
