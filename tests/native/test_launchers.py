# ruff: noqa: E402 - what is imported late needs transformers 5
"""``llava-faba train`` in several processes, by torchrun, DeepSpeed and FSDP: the weights of one process, to 1e-6."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("trl")
yaml = pytest.importorskip("yaml")

from native.folders import trained_place, training
from safetensors.torch import load_file
from support import ROOT, free_port

ZERO = {stage: {"deepspeed": str(ROOT / "scripts" / f"zero{stage}_cpu.json")} for stage in (2, 3)}
WHOLE = ("adapter_model.safetensors", "merged/model.safetensors")


@pytest.fixture(scope="module")
def place(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden base, converted, with its eight records; ``alone``: trained in one process."""
    where = trained_place(golden, tmp_path_factory.mktemp("launchers"))
    train(where, "alone", batch=8)
    return where


def train(place: Path, name: str, *, processes: int = 1, batch: int = 4, dtype: str = "float32", **more: Any) -> str:
    """Three steps, each on all eight records; what was printed."""
    steps = {"per_device_train_batch_size": batch, "max_steps": 3}
    settings = training(name, {**steps, **more}, dtype=dtype)
    (place / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "llava_faba", "train", f"{name}.yaml"]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    for told in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(told, None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"  # DeepSpeed asks for ninja
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def difference(place: Path, name: str) -> float:
    """The largest difference of a weight to those of one process, adapter and merged model."""
    largest = 0.0
    for file in WHOLE:
        expected, found = load_file(place / "alone" / file), load_file(place / name / file)
        assert {key: value.shape for key, value in found.items()} == {
            key: value.shape for key, value in expected.items()
        }
        largest = max(largest, *(float((found[key] - expected[key]).abs().max()) for key in expected))
    return largest


@pytest.mark.parametrize(
    ("name", "processes", "more"),
    [
        ("two", 2, {}),
        ("zero3", 2, ZERO[3]),
        pytest.param("zero2", 2, ZERO[2], marks=pytest.mark.slow),
        pytest.param("fsdp", 2, {"fsdp": "full_shard"}, marks=pytest.mark.slow),
    ],
)
def test_several_processes_train_the_same_weights(place: Path, name: str, processes: int, more: dict[str, Any]) -> None:
    train(place, name, processes=processes, **more)
    assert difference(place, name) < 1e-6


def test_deepspeed_without_a_launcher_is_one_process(place: Path) -> None:
    """DeepSpeed would look for MPI."""
    train(place, "zero2-alone", batch=8, **ZERO[2])
    assert difference(place, "zero2-alone") < 1e-6


@pytest.mark.slow
def test_bfloat16_follows_float32(place: Path) -> None:
    losses = [
        [float(value) for value in re.findall(r"'loss': '?([\d.]+)", train(place, name, processes=2, dtype=dtype))]
        for name, dtype in (("full", "float32"), ("half", "bfloat16"))
    ]
    assert len(losses[0]) == len(losses[1]) == 3
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 0.02
