"""Normalization of priors: what it removes, what it leaves, and the statistics that a checkpoint must bring."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ADAPTER, IMAGE_TOKEN, PRIOR_SIZE, SIDE, edit_config

import llava_faba
from llava_faba.emola.normalization import METHODS, PriorNormalizer, fit_statistics
from llava_faba.errors import CheckpointError, PriorError

SIZE = 20


def faces(count: int = 200, seed: int = 0) -> np.ndarray:
    """Small movements on top of large constants, as landmarks are; float32 (count, SIZE)."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, SIZE)) * 0.1 + np.linspace(-3, 3, SIZE) ** 2).astype(np.float32)


def normalizer(method: str, priors: np.ndarray) -> PriorNormalizer:
    return PriorNormalizer(method, fit_statistics(method, priors), priors.shape[1])


def apply(method: str, priors: np.ndarray) -> torch.Tensor:
    return normalizer(method, faces())(torch.from_numpy(priors))


def test_none_changes_nothing_and_has_no_statistics():
    assert fit_statistics("none", faces()) is None
    assert torch.equal(apply("none", faces()), torch.from_numpy(faces()))


@pytest.mark.parametrize("method", ["standardize", "pose"])
def test_every_coordinate_gets_mean_zero_and_deviation_one(method):
    result = apply(method, faces())
    assert result.dtype == torch.float32
    assert result.mean(0).abs().max() < 1e-3 and (result.std(0) - 1).abs().max() < 0.02


def test_standardize_is_the_formula():
    found = apply("standardize", faces(5, seed=4))
    mean, scale = faces().astype(np.float64).mean(0), faces().astype(np.float64).std(0)
    assert np.abs(found.numpy() - (faces(5, seed=4) - mean) / scale).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_zeros_stay_zeros_and_do_not_enter_the_fit(method):
    priors = faces()
    with_gaps = np.concatenate((priors, np.zeros((50, SIZE), np.float32)))
    result = normalizer(method, with_gaps)(torch.from_numpy(with_gaps))
    assert not result[200:].any()
    assert torch.equal(result[:200], normalizer(method, priors)(torch.from_numpy(priors)))


@settings(max_examples=50, deadline=None)
@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.05, 20), shift=st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_pose_ignores_rotation_scale_and_shift(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = faces(10, seed=2).reshape(10, SIZE // 2, 2).astype(np.float64)
    moved = (points @ turn + np.array(shift)).reshape(10, SIZE).astype(np.float32)
    assert torch.allclose(apply("pose", moved), apply("pose", faces(10, seed=2)), atol=0.02)


def test_pose_keeps_what_is_not_pose():
    priors = faces(1, seed=3)
    moved = priors.copy()
    moved[0, 0] += 0.3  # one point of ten: an expression, not a movement of the head
    assert (apply("pose", moved) - apply("pose", priors)).abs().max() > 0.5


def test_a_mirrored_face_is_another_face_to_pose():
    priors = faces(3, seed=3)
    mirrored = priors.reshape(3, -1, 2) * np.array([-1, 1], np.float32)
    assert not torch.allclose(apply("pose", mirrored.reshape(3, -1)), apply("pose", priors), atol=0.5)


def test_a_coordinate_that_never_moves_does_not_blow_up():
    priors = faces()
    priors[:, 3] = 0.5
    result = normalizer("standardize", priors)(torch.from_numpy(priors))
    assert result.isfinite().all() and result[:, 3].abs().max() < 1e-2


def test_a_degenerate_face_stays_finite_under_pose():
    assert apply("pose", np.full((1, SIZE), 0.25, np.float32)).isfinite().all()


def test_pose_of_numbers_that_are_no_pairs_is_refused():
    with pytest.raises(PriorError, match=r"x, y pairs.*'standardize'"):
        fit_statistics("pose", np.ones((4, 7), np.float32))


@pytest.mark.parametrize("method", ["standardize", "pose"])
def test_without_a_single_face_there_is_nothing_to_fit(method):
    with pytest.raises(PriorError, match="no prior holds a face"):
        fit_statistics(method, np.zeros((5, SIZE), np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_statistics_survive_the_config_file(method):
    statistics = json.loads(json.dumps(fit_statistics(method, faces())))
    config = SimpleNamespace(facial_prior_normalization=method, facial_prior_statistics=statistics)
    again = PriorNormalizer.from_config(config, SIZE)
    assert torch.equal(again(torch.from_numpy(faces(4, seed=9))), apply(method, faces(4, seed=9)))


def test_an_absent_key_means_none():
    assert PriorNormalizer.from_config(SimpleNamespace(), SIZE).method == "none"


@pytest.mark.parametrize("key", ["shape", "mean", "scale"])
@pytest.mark.parametrize("damage", ["absent", "short"])
def test_incomplete_statistics_are_an_incomplete_checkpoint(key, damage):
    statistics = dict(fit_statistics("pose", faces()) or {})
    if damage == "absent":
        del statistics[key]
    else:
        statistics[key] = statistics[key][:-1]
    with pytest.raises(CheckpointError, match=f"'pose' but facial_prior_statistics has no '{key}' of {SIZE} numbers"):
        PriorNormalizer("pose", statistics, SIZE)


@pytest.mark.parametrize("method", ["standardize", "pose"])
def test_a_model_whose_config_lacks_the_statistics_says_so(copied, method):
    edit_config(copied / ADAPTER, facial_prior_normalization=method)
    model = llava_faba.load_model(copied / ADAPTER)[1]
    with pytest.raises(CheckpointError, match=f"facial_prior_normalization is '{method}'"):
        model(
            input_ids=torch.tensor([[1, IMAGE_TOKEN, 5]]),
            images=torch.zeros(1, 3, SIDE, SIDE),
            facial_priors=torch.ones(1, PRIOR_SIZE),
        )


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(CheckpointError, match=r"'whiten' is unknown.*none, standardize, pose"):
        PriorNormalizer("whiten", None, SIZE)


def test_a_model_normalizes_what_it_is_given(copied):
    """The same weights with statistics in the config equal the model without, fed with normalized priors."""
    raw = torch.from_numpy(np.random.default_rng(0).normal(3, 0.2, (30, PRIOR_SIZE)).astype(np.float32))
    arguments = {"input_ids": torch.tensor([[1, IMAGE_TOKEN, 5]]), "images": torch.zeros(1, 3, SIDE, SIDE)}
    plain = llava_faba.load_model(copied / ADAPTER)[1]
    statistics = fit_statistics("pose", raw.numpy())
    edit_config(copied / ADAPTER, facial_prior_normalization="pose", facial_prior_statistics=statistics)
    model = llava_faba.load_model(copied / ADAPTER)[1]
    normalized = PriorNormalizer("pose", statistics, PRIOR_SIZE)(raw)
    with torch.no_grad():
        found = model(**arguments, facial_priors=raw[:1]).logits
        expected = plain(**arguments, facial_priors=normalized[:1]).logits
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)  # to the bit but for torch 2.0
