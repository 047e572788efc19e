"""The demo end to end, on a few pictures and steps: real LLaVA, DeepSpeed ZeRO-2 with two processes, real landmarks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import kill_tree

# Minutes on shared cores: 'make test-all' runs it, 'make demo' is the same at full size.
pytestmark = pytest.mark.slow


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(root: Path) -> list[str]:
    return [sys.executable, "-m", "llava_faba", "demo", "--tiny", "--root", str(root)]


def run_demo(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(root), capture_output=True, text=True, timeout=600, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("demo")
    result = run_demo(root)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return root, result.stdout


def test_report_holds_every_figure_that_the_issue_names(finished):
    root, _ = finished
    report = json.loads((root / "report.json").read_text())
    for task in ("au", "emotion"):
        for model in ("emola", "no_prior", "majority", "random"):
            assert set(report[task][model]) == {"s_re", "s_ge", "s_rege", "s_re_ci", "n"}
        records = json.loads((root / f"data/eval_{task}_anno.json").read_text())
        assert report[task]["emola"]["n"] == len(records)
    assert set(report["au"]["gain_over_no_prior"]) == {"value", "low", "high"}


def test_page_is_self_contained_and_shows_faces(finished):
    page = (finished[0] / "report.html").read_text()
    assert "data:image/" in page
    assert "<circle" in page
    assert 'src="http' not in page
    assert re.search(r"a LLaVA of \d\.\d million parameters", page)


def test_terminal_shows_the_table_and_the_path_of_the_report(finished):
    root, printed = finished
    assert "EmoLA (pose removed, standardized)" in printed
    assert "plain LLaVA (no prior)" in printed
    assert str(root / "report.html") in printed


def test_deepspeed_zero_2_was_at_work_in_two_processes(finished):
    log = (finished[0] / "logs/emola.log").read_text(errors="replace")
    assert "--local_rank=1" in log
    assert "zero2_cpu.json" in log


def test_checkpoint_is_emola_with_the_expert_in_its_config(finished):
    folder = finished[0] / "llava-v1-emola-lora"
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "emollava"
    assert config["facial_prior_expert"] == "dlib-68"
    assert config["landmark_feature_hidden_size"] == 136
    plain = json.loads((finished[0] / "llava-v1-no-prior-lora/config.json").read_text())
    assert plain["model_type"] == "llava_llama"
    assert "landmark_feature_hidden_size" not in plain


def test_base_has_never_seen_a_label_of_a_picture(finished):
    records = json.loads((finished[0] / "records/base.json").read_text())
    assert any("image" in record for record in records) and any("image" not in record for record in records)
    for record in records:
        if "image" in record:
            assert "AU" not in record["conversations"][1]["value"]


def test_a_second_run_does_nothing_again(finished):
    root, _ = finished
    adapter = root / "llava-v1-emola-lora/adapter_config.json"
    before = adapter.stat().st_mtime_ns
    result = run_demo(root)
    assert result.returncode == 0
    assert result.stdout.count("done before") == 10
    assert adapter.stat().st_mtime_ns == before


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(finished, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(finished[0], root)
    for step in ("emola", "no-prior", "emola-answers", "no-prior-answers", "report"):
        (root / f".recipe/done/{step}.json").unlink()
    shutil.rmtree(root / "llava-v1-emola-lora")
    process = subprocess.Popen(command(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    saved = _wait_for_checkpoint(root / "llava-v1-emola-lora", process)
    kill_tree(process.pid)
    process.wait()

    result = run_demo(root)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    assert result.stdout.count("done before") == 5
    log = (root / "logs/emola.log").read_text(errors="replace")
    assert int(re.findall(r"Going on from \S+/checkpoint-(\d+)", log)[-1]) >= saved


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Number of steps in the first whole checkpoint that the training writes."""
    deadline = time.monotonic() + 400
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        for manifest in folder.glob("checkpoint-*/complete.json"):
            return int(manifest.parent.name.partition("-")[2])
        time.sleep(0.005)
