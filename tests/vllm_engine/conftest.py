"""Checkpoints that vLLM computes on a CPU, and one engine for all tests that need one."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ADAPTER
from tiny import make_faces, make_questions
from vllm_servers import Serving, in_this_process, serving

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]


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
    """The same shapes with dlib's landmarks as priors, and weights by which picture and prior change the answer."""
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
    for name, value in weights.items():
        is_projector = "projector" in name
        if is_projector or name == "lm_head.weight" or ("language_model" in name and value.ndim == 2):
            shape = (len(value), 136) if name == "model.prior_projector.linear_1.weight" else value.shape
            weights[name] = torch.randn(shape, generator=random) * (0.5 if is_projector else 0.12)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def engine(converted: Path) -> Iterator[Any]:
    """``vllm.LLM`` of the golden checkpoint, float32."""
    in_this_process()
    from vllm import LLM

    made = LLM(str(converted), dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=8, block_size=32)
    yield made
    made.llm_engine.engine_core.shutdown()


@dataclass(frozen=True)
class Asked:
    """A model with its own expert, pictures of a face, a question for each, and what transformers answers."""

    model: Path
    images: Path
    file: Path
    questions: list[dict[str, Any]]
    answers: dict[str, Any]


@pytest.fixture(scope="session")
def asked(with_expert: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    from llava_faba.inference.engines.native import NativeEngine
    from llava_faba.inference.settings import GenerateSettings

    root = tmp_path_factory.mktemp("asked")
    questions = make_questions(root / "questions.jsonl", make_faces(root / "images", 9))
    engine = NativeEngine(str(with_expert), None, root / "images", GenerateSettings(max_new_tokens=24))
    answers = {result.question_id: result for result in engine.answer_all(iter([[one] for one in questions]))}
    assert all(answer.error is None for answer in answers.values())
    assert len({answer.token_ids for answer in answers.values()}) > 4, "answers that do not tell pictures apart"
    return Asked(with_expert, root / "images", root / "questions.jsonl", questions, answers)


@pytest.fixture(scope="session")
def server(with_expert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """``llava-faba serve`` of that model, which takes priors from requests."""
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(with_expert, log, "--name=emola", "--trust-priors", "--vllm=--max-model-len 256") as found:
        yield found
