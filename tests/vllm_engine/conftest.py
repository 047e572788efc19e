"""Checkpoints that vLLM computes on a CPU, and one engine for all tests that need one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ADAPTER

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]

STAND_INS = Path(__file__).parent / "stand_ins"
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(STAND_INS), os.environ.get("PYTHONPATH")])),
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take most of the machine
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}


def in_this_process() -> None:
    """What ``ENVIRONMENT`` does for processes that are started, for this one."""
    os.environ.update(ENVIRONMENT)
    if str(STAND_INS) not in sys.path:
        sys.path.insert(0, str(STAND_INS))
        spec = importlib.util.spec_from_file_location("vllm_stand_ins", STAND_INS / "sitecustomize.py")
        assert spec and spec.loader
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture(scope="session")
def converted(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden checkpoint as a transformers folder, with attention heads as vLLM wants them."""
    in_this_process()
    from wide_heads import widen_heads

    from llava_faba.cli.main import main

    out = tmp_path_factory.mktemp("vllm") / "emola"
    assert main(["checkpoint", "to-transformers", "--model-path", str(golden / ADAPTER), "--out", str(out)]) == 0
    widen_heads(out)
    return out


@pytest.fixture(scope="session")
def with_expert(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with dlib's landmarks as priors and a projector whose tokens change the answer."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(converted, tmp_path_factory.mktemp("expert") / "emola-dlib"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"landmark_feature_hidden_size": 136, "facial_prior_expert": "dlib-68"}
    (folder / "config.json").write_text(json.dumps(config))
    processor = json.loads((folder / "processor_config.json").read_text())
    processor["facial_prior"] |= {"expert": "dlib-68", "size": 136}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    weights = load_file(folder / "model.safetensors")
    random = torch.Generator().manual_seed(0)
    first = "model.prior_projector.linear_1.weight"
    weights[first] = torch.randn(len(weights[first]), 136, generator=random)
    weights["model.prior_projector.linear_2.weight"] *= 100
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.randn(weights[name].shape, generator=random)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def engine(converted: Path) -> Iterator[Any]:
    """``vllm.LLM`` of the golden checkpoint, float32."""
    in_this_process()
    from vllm import LLM

    made = LLM(str(converted), dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=8)
    yield made
    made.llm_engine.engine_core.shutdown()
