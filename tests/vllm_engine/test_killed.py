"""kill -9 of a run with a vLLM server of its own, then of a server in mid-run: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import free_port, kill_tree
from vllm_servers import ENVIRONMENT, serving

from llava_faba.records.questions import read_jsonl

pytestmark = pytest.mark.slow
ROUNDS = 40


def wait_for(condition: Callable[[], bool], seconds: float, told: Path) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(told.read_text(errors="replace")[-3000:])
        time.sleep(0.05)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def servers_of(model: Path) -> list[str]:
    """Processes that have this model's folder on their command line."""
    listing = subprocess.run(["ps", "-e", "-o", "args="], check=True, capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if "engines.launch" in line and str(model) in line]


def test_killed_run_and_killed_server(asked: Any, tmp_path: Path) -> None:
    questions = [
        {**one, "question_id": f"{one['question_id']}-{number}"} for number in range(ROUNDS) for one in asked.questions
    ]
    file, out, log = tmp_path / "q.jsonl", tmp_path / "answers.jsonl", tmp_path / "log"
    file.write_text("".join(json.dumps(one) + "\n" for one in questions))
    command = [
        *(sys.executable, "-m", "llava_faba", "bench", "generate", f"--model-path={asked.model}", "--engine=vllm"),
        *(f"--question-file={file}", f"--image-folder={asked.images}", f"--out={out}", "--max-new-tokens=24"),
        *("--dtype=float32", "--device=cpu", "--no-progress"),
    ]

    def started(*more: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as told:
            return subprocess.Popen([*command, *more], stdout=told, stderr=told, env={**os.environ, **ENVIRONMENT})

    run = started()
    try:
        wait_for(lambda: lines(out) >= 20 or run.poll() is not None, 900, log)
    finally:
        run.kill()  # the run alone: nobody tells its server
        run.wait()
    first = lines(out)
    assert 20 <= first < len(questions), log.read_text()[-3000:]
    wait_for(lambda: not servers_of(asked.model), 30, log)

    port, server_log = free_port(), tmp_path / "server.log"
    with serving(asked.model, server_log, "--trust-priors", "--vllm=--max-model-len 256", port=port) as server:
        run = started(f"--endpoint={server.url}")
        wait_for(lambda: lines(out) >= first + 20 or run.poll() is not None, 600, log)
        kill_tree(server.process.pid)
        assert run.poll() is None, log.read_text()[-3000:]
    with serving(asked.model, server_log, "--trust-priors", "--vllm=--max-model-len 256", port=port):
        assert run.wait(timeout=900) == 0, log.read_text()[-3000:]
    found = read_jsonl(out)
    assert [line["question_id"] for line in found] == [one["question_id"] for one in questions]
    for line in found:
        assert tuple(line["metadata"]["token_ids"]) == asked.answers[line["question_id"].split("-")[0]].token_ids
