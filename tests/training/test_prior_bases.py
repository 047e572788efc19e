"""A base or a pretrained projector goes on with the priors that it was trained on, or training does not begin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import ADAPTER, PICTURES, edit_config

import llava_faba
from llava_faba.emola.normalization import PriorNormalizer, fit_statistics

LORA = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")
POSE = ("--facial_prior_normalization", "pose")
SETTINGS = {"detector": "ultraface"}


def golden_priors(golden: Path) -> np.ndarray:
    return np.stack([np.load(golden / "data" / "lm" / f"{number}.npy") for number in range(8)])


@pytest.fixture(scope="module")
def whole(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole EmoLA as training without LoRA leaves it: insightface-106 under 'pose'."""
    folder = tmp_path_factory.mktemp("bases") / "emola"
    tokenizer, model, _, _ = llava_faba.load_model(golden / ADAPTER)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    edit_config(
        folder,
        mm_vision_tower="./clip-tiny",
        facial_prior_expert="insightface-106",
        facial_prior_expert_version="1",
        facial_prior_expert_settings=SETTINGS,
        facial_prior_normalization="pose",
        facial_prior_statistics=fit_statistics("pose", golden_priors(golden)),
    )
    return folder


@pytest.fixture
def emola(whole: Path, copied: Path) -> Path:
    return Path(shutil.copytree(whole, copied / "emola"))


def from_emola(*more: str, expert: str = "insightface-106") -> tuple[str, ...]:
    return ("--model_name_or_path", "emola", "--facial_prior_expert", expert, *LORA, *more)


def write_store(copied: Path, settings: dict[str, object], version: str = "1") -> tuple[str, str]:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    features = golden_priors(copied).astype(np.float32)
    with PriorStoreWriter(
        copied / "store", expert="insightface-106", version=version, settings=settings, size=212
    ) as writer:
        writer.append(Row(f"img/{number}.png", features[number], "found", PICTURES) for number in range(8))
    return ("--facial_prior_store", "store")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (from_emola("--facial_prior_normalization", "standardize"), ["'pose'", "normalization pose, not standardize"]),
        (from_emola(*POSE, expert="emola-106"), ["'insightface-106'", "--facial_prior_expert emola-106"]),
        (from_emola(*POSE, expert="precomputed"), ["'insightface-106'", "--facial_prior_expert precomputed"]),
        (from_emola(expert="none"), ["reads facial priors", "--facial_prior_expert insightface-106"]),
    ],
    ids=["normalization", "expert", "vectors of anybody", "none"],
)
def test_an_emola_base_is_not_given_other_priors(train, emola, capsys, flags, told):
    assert train("out", *flags) == 2
    error = capsys.readouterr().err
    assert all(text.strip("'") in error for text in told), error
    assert not (emola.parent / "out").exists() or not list((emola.parent / "out").glob("*.json"))


@pytest.mark.parametrize(
    ("settings", "version", "told"),
    [({"detector": "scrfd"}, "1", "detector='ultraface'"), (SETTINGS, "2", "version 1 of expert 'insightface-106'")],
)
def test_a_store_that_was_made_otherwise_than_the_bases_priors(train, emola, capsys, settings, version, told):
    assert train("out", *from_emola(*POSE), *write_store(emola.parent, settings, version)) == 2
    assert told in capsys.readouterr().err


def test_an_emola_base_goes_on_with_what_it_learned(train, emola):
    """Its statistics, not this run's: here they are of half as large faces, and the store's weights lie elsewhere."""
    settings = {**SETTINGS, "weights": "/elsewhere.onnx", "weights_sha256": "0" * 64}
    edit_config(emola, facial_prior_expert_settings={**settings, "weights": "/here.onnx"})
    statistics = fit_statistics("pose", golden_priors(emola.parent)[:5] / 2)
    edit_config(emola, facial_prior_statistics=statistics)
    assert train("out", *from_emola(*POSE), *write_store(emola.parent, settings)) == 0
    config = json.loads((emola.parent / "out" / "config.json").read_text())
    assert config["facial_prior_statistics"] == statistics


@pytest.mark.parametrize("named", ["emola-106", None], ids=["named", "authors"])
@pytest.mark.parametrize("source", ["files", "imported store"])
def test_an_emola_106_base_keeps_its_experts_name(train, emola, named, source):
    """Its config said 'precomputed' after training on FABA-Instruct's vectors: whose they are was lost."""
    from llava_faba.inference.engines.stores import check_store
    from llava_faba.priors.convert import import_npy
    from llava_faba.priors.store import PriorStore

    root = emola.parent
    of_others = ("facial_prior_expert", "facial_prior_expert_version", "facial_prior_expert_settings")
    edit_config(emola, remove=of_others, **({} if named is None else {"facial_prior_expert": named}))
    store = ()
    if source != "files":
        pairs = [(f"img/{number}.png", f"lm/{number}.npy") for number in range(8)]
        import_npy(pairs, root / "data", root / "store")
        store = ("--facial_prior_store", "store")
    assert train("out", *from_emola(*POSE, *store, expert="precomputed")) == 0
    config = json.loads((root / "out" / "config.json").read_text())
    assert config["facial_prior_expert"] == "emola-106" and "facial_prior_expert_version" not in config
    if store:
        check_store(
            PriorStore.open(root / "store"), SimpleNamespace(**config)
        )  # nor is the same store refused afterwards


@pytest.mark.parametrize(
    ("config", "flags", "told"),
    [
        ({"facial_prior_expert": "insightface-106"}, (), "'insightface-106'"),
        ({"facial_prior_statistics": {"shape": [0.0], "mean": [0.0], "scale": [1.0]}}, None, "different statistics"),
        (None, ("--facial_prior_normalization", "standardize"), "no config.json of a model with a facial prior"),
    ],
    ids=["expert", "statistics unlike the base's", "a file alone"],
)
def test_a_pretrained_projector_is_not_given_other_priors(train, emola, capsys, config, flags, told):
    folder = Path(shutil.copytree(emola.parent / ADAPTER, emola.parent / "pretrained"))
    base = () if flags is not None else from_emola(*POSE)
    if config is None:
        (folder / "config.json").unlink()
    elif flags is None:
        edit_config(folder, facial_prior_expert="insightface-106", facial_prior_normalization="pose", **config)
    else:
        edit_config(folder, **config)
    given = base or (*LORA, *(flags or ("--facial_prior_normalization", "none")))
    assert train("out", *given, "--pretrain_facial_prior_projector", "pretrained") == 2
    assert told in capsys.readouterr().err


def test_a_projector_that_nobody_trained_is_not_frozen(train, copied, capsys):
    assert train("out", *LORA, "--freeze_facial_prior_projector", "True") == 2
    assert "the prior projector is random" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ("--lora_enable", "True", "--freeze_mm_mlp_adapter", "True"),
        ("--lora_enable", "True", "--freeze_mm_mlp_adapter", "True", "--facial_prior_expert", "none"),
        ("--tune_facial_prior_projector", "True"),
    ],
    ids=["LoRA", "plain LLaVA", "stage"],
)
def test_an_image_projector_that_nobody_trained_is_not_frozen(train, copied, capsys, flags):
    """A base like Vicuna, which has no image projector."""
    import torch

    weights = torch.load(copied / "base" / "pytorch_model.bin", weights_only=True)
    torch.save({k: v for k, v in weights.items() if "mm_projector" not in k}, copied / "base" / "pytorch_model.bin")
    keys = ("mm_vision_tower", "mm_hidden_size", "mm_projector_type", "use_mm_proj", "mm_vision_select_layer")
    edit_config(copied / "base", remove=keys, model_type="llama")
    assert train("out", *flags, "--max_steps", "1", "--save_strategy", "no") == 2
    assert "the image projector is random" in capsys.readouterr().err


@pytest.mark.parametrize("expert", ["face-alignment-3d", "blendshapes-52"])
def test_pose_of_what_is_not_pairs_is_refused(train, copied, capsys, expert):
    assert train("out", *LORA, *POSE, "--facial_prior_expert", expert) == 2
    error = capsys.readouterr().err
    assert f"expert '{expert}' gives" in error and "standardize" in error


def test_pose_of_priors_without_a_shape_is_refused():
    from llava_faba.errors import PriorError

    with pytest.raises(PriorError, match="all lie in one place"):
        fit_statistics("pose", np.full((8, 212), 0.3, np.float32))


def test_pose_of_faces_that_stand_on_their_heads_by_halves(golden):
    """Their mean is a point; the statistics are finite, and both kinds come out alike."""
    faces = golden_priors(golden).astype(np.float64)
    centred = (faces.reshape(8, -1, 2) - faces.reshape(8, -1, 2).mean(axis=1, keepdims=True)).reshape(8, -1)
    both = np.concatenate((centred, -centred)).astype(np.float32)
    statistics = fit_statistics("pose", both)
    import torch

    normalized = PriorNormalizer("pose", statistics, 212)(torch.from_numpy(both))
    assert torch.isfinite(normalized).all() and torch.allclose(normalized[:8], normalized[8:], atol=1e-2)
