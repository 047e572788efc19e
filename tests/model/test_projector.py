"""The prior projector: its types, what it refuses, and where training gets it from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support import ADAPTER, HIDDEN, PRIOR_SIZE, write_malicious_pickle
from torch import nn

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.projector import build_prior_projector, projector_state
from llava_faba.model.vision_modules import load_projector_file


def config(kind: str | None = None, size: int = PRIOR_SIZE, **more: object) -> SimpleNamespace:
    values = {"landmark_feature_hidden_size": size, "hidden_size": HIDDEN, **more}
    return SimpleNamespace(**values, **({} if kind is None else {"facial_prior_projector_type": kind}))


@pytest.mark.parametrize(("kind", "layers"), [("linear", 1), ("mlp1x_gelu", 1), ("mlp2x_gelu", 2), ("mlp3x_gelu", 3)])
def test_layers_widths_and_activations(kind, layers):
    projector = build_prior_projector(config(kind))
    linears = [module for module in projector.modules() if isinstance(module, nn.Linear)]
    assert [(linear.in_features, linear.out_features) for linear in linears] == [
        (PRIOR_SIZE if position == 0 else HIDDEN, HIDDEN) for position in range(layers)
    ]
    assert sum(isinstance(module, nn.GELU) for module in projector.modules()) == layers - 1
    assert projector(torch.randn(3, PRIOR_SIZE)).shape == (3, HIDDEN)


def test_identity_passes_priors_of_the_hidden_size_on():
    prior = torch.randn(2, HIDDEN)
    assert torch.equal(build_prior_projector(config("identity", HIDDEN))(prior), prior)


def test_identity_of_another_size_is_refused():
    with pytest.raises(UserError, match=rf"'identity' needs priors of the model's hidden size {HIDDEN}.*{PRIOR_SIZE}"):
        build_prior_projector(config("identity"))


@pytest.mark.parametrize("kind", ["mlp2x", "transformer", "mlpx_gelu", "Linear"])
def test_an_unknown_type_is_refused_by_name(kind):
    with pytest.raises(UserError, match=f"'{kind}' is unknown; use 'linear', 'mlp2x_gelu'"):
        build_prior_projector(config(kind))


def test_without_a_type_of_its_own_it_is_of_the_image_projectors():
    assert isinstance(build_prior_projector(config(mm_projector_type="linear")), nn.Linear)
    assert isinstance(build_prior_projector(config("mlp2x_gelu", mm_projector_type="linear")), nn.Sequential)


@pytest.mark.parametrize("file", ["landmark_feature_projector.bin", "non_lora_trainables.bin"])
def test_a_pretrained_projector_file_is_loaded_exactly(golden, file):
    projector = build_prior_projector(config("mlp2x_gelu"))
    load_projector_file(projector, golden / ADAPTER / file)
    stored = projector_state(torch.load(golden / ADAPTER / file, weights_only=True))
    assert set(stored) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert all(torch.equal(projector.state_dict()[name], value) for name, value in stored.items())


def test_a_pretrained_projector_file_that_does_not_fit_is_refused(golden, tmp_path):
    path = golden / ADAPTER / "landmark_feature_projector.bin"
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_projector_file(build_prior_projector(config("mlp2x_gelu", 136)), path)
    with pytest.raises(CheckpointError, match="no weights named 'landmark_feature_projector'"):
        load_projector_file(build_prior_projector(config()), golden / ADAPTER / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="no such file"):
        load_projector_file(build_prior_projector(config()), tmp_path / "absent.bin")
    write_malicious_pickle(tmp_path / "evil.bin", tmp_path / "mark")
    with pytest.raises(CheckpointError, match="could run code"):
        load_projector_file(build_prior_projector(config()), tmp_path / "evil.bin")
    assert not (tmp_path / "mark").exists()
