"""FABA-Bench as lmms-eval tasks: the scores are faba_bench's own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import faba_bench
import numpy as np
import pytest
from answer_server import ANSWERS, answer_server  # tests/lmms_eval_tasks is on the path, see conftest.py
from PIL import Image
from support import ROOT

TASKS = ROOT / "eval" / "lmms_eval_tasks"
RECORDS = {
    "au": [("1, 4", "AU1 and AU4 are active."), ("12", "AU12, a smile."), ("4", "Only AU4."), ("12, 25", "A smile.")],
    "emotion": [("Happiness", "She looks happy."), (1, "Sad."), ("Anger", "Angry."), ("Fear", "He is afraid.")],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for task, labels in RECORDS.items():
        records = []
        for number, (label, text) in enumerate(labels):
            noise = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"{number}.png")
            records.append({"image": f"{number}.png", "label": label, "gpt4": text})
        (tmp_path / f"eval_{task}_anno.json").write_text(json.dumps(records), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def utils() -> Any:
    spec = importlib.util.spec_from_file_location("faba_bench_utils", TASKS / "faba_bench" / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected(data: Path, task: str, texts: list[str]) -> dict[str, float]:
    """faba_bench's scores under the tasks' metric names."""
    answers = [{"question_id": number, "text": text} for number, text in enumerate(texts)]
    modes = faba_bench.score(task, "faba", data / f"eval_{task}_anno.json", answers, bootstrap=0)["modes"]
    return {f"{key}_{mode}": modes[mode][key] for mode in modes for key in ("s_re", "s_ge", "s_rege")}


@pytest.mark.parametrize("task", ["au", "emotion"])
def test_metrics_are_those_of_the_scorer(utils, data, task):
    records = json.loads((data / f"eval_{task}_anno.json").read_text())
    texts = [*ANSWERS[utils.QUESTIONS[task]], ""]
    documents = [
        {"task": task, "image": record["image"], "record": json.dumps({"id": number, **record})}
        for number, record in enumerate(records)
    ]
    results = [utils.results(document, [text]) for document, text in zip(documents, texts, strict=True)]
    values = expected(data, task, texts)
    assert len(set(values.values())) > 3
    for metric, value in values.items():
        assert getattr(utils, metric)([result[metric] for result in results]) == pytest.approx(value, abs=1e-12)


def test_every_metric_of_the_yaml_file_has_a_function(utils):
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    template = yaml.load((TASKS / "faba_bench" / "_template_yaml").read_text(), Loader)
    named = [template[key] for key in ("doc_to_visual", "doc_to_text", "process_results")]
    named += [metric["aggregation"] for metric in template["metric_list"]]
    assert len(named) == 9 and all(callable(getattr(utils, name.removeprefix("utils."))) for name in named)
    assert {metric["metric"] for metric in template["metric_list"]} == set(
        utils.results({"task": "au", "record": "{}"}, [""])
    )


def test_without_a_data_folder_it_says_what_to_set(utils, monkeypatch):
    monkeypatch.delenv("FABA_BENCH_DATA", raising=False)
    with pytest.raises(ValueError, match="set FABA_BENCH_DATA"):
        utils.image({"image": "0.png"})


@pytest.mark.slow
@pytest.mark.skipif("LMMS_EVAL_PYTHON" not in os.environ, reason="LMMS_EVAL_PYTHON names no Python with lmms-eval")
def test_the_real_package_gives_the_scores_of_the_scorer(data, tmp_path):
    """Its newest transformers does not go with LLaVA's, so it needs an environment of its own."""
    with answer_server() as url:
        flags = ["--model", "openai", "--model_args", f"model_version=m,base_url={url},api_key=none"]
        flags += ["--include_path", str(TASKS), "--tasks", "faba_bench", "--batch_size", "1"]
        flags += ["--output_path", str(tmp_path / "out"), "--log_samples"]
        done = subprocess.run(
            [os.environ["LMMS_EVAL_PYTHON"], "-m", "lmms_eval", "eval", *flags],
            env={**os.environ, "FABA_BENCH_DATA": str(data), "PYTHONPATH": str(ROOT / "eval")},
            capture_output=True,
            text=True,
            timeout=500,
            cwd=tmp_path,
        )
    written = list((tmp_path / "out").rglob("*_results.json"))
    assert done.returncode == 0 and written, (done.stdout + done.stderr)[-2000:]  # it ends with 0 after errors too
    found = json.loads(written[0].read_text())["results"]
    for task in RECORDS:
        lines = next((tmp_path / "out").rglob(f"*_samples_faba_bench_{task}.jsonl")).read_text().splitlines()
        samples = sorted((json.loads(line) for line in lines), key=lambda sample: sample["doc_id"])
        texts = [sample["filtered_resps"] for sample in samples]
        assert len(set(texts)) > 1
        for metric, value in expected(data, task, texts).items():
            assert found[f"faba_bench_{task}"][f"{metric},none"] == pytest.approx(value, abs=1e-9)
