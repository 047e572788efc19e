"""``predict``, ``analyze`` and ``bench generate`` by a vLLM server: what transformers says, and kept apart from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from vllm_servers import Serving

from llava_faba.cli.main import main


def test_predict_and_analyze_by_either_engine(server: Serving, asked: Any, tmp_path: Path, capsys: Any) -> None:
    """Answers, statuses and the table of ``analyze`` are those of transformers."""
    one = asked.questions[0]
    by = {"transformers": [], "vllm": [f"--endpoint={server.url}"]}
    common = [f"--model-path={asked.model}", "--max-new-tokens=24", "--dtype=float32"]
    said_by, tables, settings_of = {}, {}, {}
    for engine, more in by.items():
        line = ["predict", str(asked.images / one["image"]), f"--question={one['text']}", "--json"]
        assert main([*line, *common, f"--engine={engine}", *more]) == 0
        found = json.loads(capsys.readouterr().out)
        said_by[engine] = (found["text"], found["status"])
        out = tmp_path / engine
        line = ["analyze", str(asked.images), f"--out={out}", "--finder=dlib-68", "--no-progress"]
        assert main([*line, *common, f"--engine={engine}", *more]) == 0
        told = capsys.readouterr().out
        assert f"{len(asked.questions)} rows" in told, told
        rows = list(csv.DictReader((out / "faces.csv").open(newline="")))
        settings_of[engine] = {row.pop("settings") for row in rows}
        tables[engine] = rows
    assert said_by["vllm"] == said_by["transformers"]
    assert said_by["vllm"] == (asked.answers[one["question_id"]].text, asked.answers[one["question_id"]].prior_status)
    assert tables["vllm"] == tables["transformers"] and len(tables["vllm"]) == len(asked.questions)
    assert len(settings_of["vllm"]) == len(settings_of["transformers"]) == 1
    assert settings_of["vllm"] != settings_of["transformers"]  # a table says which engine made it


def test_answers_of_another_engine_or_precision_are_not_taken_for_these(
    server: Serving, asked: Any, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "answers.jsonl"
    common = [
        *("bench", "generate", f"--model-path={asked.model}", f"--question-file={asked.file}", f"--out={out}"),
        *(f"--image-folder={asked.images}", "--max-new-tokens=24", "--no-progress"),
    ]
    at = ["--engine=vllm", f"--endpoint={server.url}"]
    assert main([*common, *at, "--dtype=float32"]) == 0
    before = out.read_bytes()
    capsys.readouterr()
    for more in (["--engine=transformers", "--dtype=float32"], [*at, "--dtype=bfloat16"]):
        assert main([*common, *more]) == 2
        assert "another" in capsys.readouterr().err
        assert out.read_bytes() == before
