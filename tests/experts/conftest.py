"""Weights made once for all tests of the experts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for networks.py, which several test files share


@pytest.fixture(scope="session")
def fan_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-stage FAN that looks for 68 points of the portraits."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("face_alignment")
    from networks import smooth_fan

    path = tmp_path_factory.mktemp("fan") / "fan.pth"
    torch.save(smooth_fan(), path)
    return path


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for torch with the package's three files, four-stage networks with random weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("face_alignment")
    from face_alignment.models import FAN
    from networks import depth_weights

    home = tmp_path_factory.mktemp("torch")
    cache = home / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for seed, name in enumerate(("2DFAN4-11f355bf06.pth.tar", "3DFAN4-7835d9f11d.pth.tar")):
        torch.manual_seed(seed)
        torch.save(FAN(4).state_dict(), cache / name)
    torch.save(depth_weights(), cache / "depth-2a464da4ea.pth.tar")
    return home


@pytest.fixture(scope="session")
def onnx_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small graph of 2d106det.onnx's signature."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from networks import write_landmark_graph

    return write_landmark_graph(tmp_path_factory.mktemp("onnx") / "2d106det.onnx")
