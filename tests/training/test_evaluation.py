"""Validation while training: it is scored, logged, keeps the best, and leaves training as it would have been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import faba_bench
import pytest
import torch
from support import ROOT, free_port

import llava_faba
from llava_faba.model.checkpoints import read_weights
from llava_faba.training.curves import draw_curves
from llava_faba.training.run_lock import LOCK

EVALUATE = (
    *("--faba_eval_annotations", "data/eval.json", "--faba_eval_steps", "2", "--faba_eval_max_new_tokens", "12"),
    *("--per_device_eval_batch_size", "2"),
)
LORA = ("--lora_enable", "True", "--max_steps", "5", "--save_strategy", "no")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {**read_weights(next(folder.glob("adapter_model.*"))), **read_weights(folder / "non_lora_trainables.bin")}


def history(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def largest_difference(first: Path, second: Path) -> float:
    found, expected = weights(first), weights(second)
    assert found.keys() == expected.keys()
    return max(float((value - expected[name]).abs().max()) for name, value in found.items())


def check_evaluated(out: Path, records: list[dict[str, Any]]) -> None:
    """Steps 2, 4 and 5 were scored beside all five losses; answers, best checkpoint and picture are there."""
    entries = history(out)
    assert [entry["step"] for entry in entries if "loss" in entry] == [1, 2, 3, 4, 5]
    scored = {entry["step"]: entry for entry in entries if "eval_strict_rege" in entry}
    assert list(scored) == [2, 4, 5]
    for step, entry in scored.items():
        answers = [json.loads(line) for line in (out / "faba_eval" / f"step-{step}.jsonl").read_text().splitlines()]
        assert [answer["question_id"] for answer in answers] == [record["id"] for record in records]
        result = faba_bench.score("au", "faba", records, answers, bootstrap=0)
        for mode in ("strict", "reference"):
            assert entry[f"eval_{mode}_rege"] == pytest.approx(result["modes"][mode]["s_rege"])
            assert entry[f"eval_{mode}_s_re"] == pytest.approx(result["modes"][mode]["s_re"])
    best = json.loads((out / "best-rege" / "faba_eval.json").read_text())
    values = {step: entry["eval_strict_rege"] for step, entry in scored.items()}
    assert best["eval_strict_rege"] == max(values.values()) == values[best["step"]]
    assert llava_faba.load_model(out / "best-rege", out.parent / "base")[1].config.facial_prior_expert == "precomputed"
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [LOCK]  # no drafts


def test_it_is_logged_beside_the_loss_and_disturbs_nothing(train, copied, evaluation_records):
    """Dropout is on, so one random number too many would show in the weights."""
    dropout = ("--lora_dropout", "0.3", *LORA)
    assert train("quiet", *dropout) == 0
    assert train("seen", *dropout, *EVALUATE, "--report_to", "tensorboard", "--save_strategy", "steps") == 0
    check_evaluated(copied / "seen", evaluation_records)
    assert largest_difference(copied / "seen", copied / "quiet") == 0
    assert not (copied / "quiet" / "best-rege").exists() and (copied / "quiet" / "curves.png").is_file()
    board = scalars(copied / "seen" / "runs")
    assert {"train/loss", "eval/strict_rege", "eval/reference_s_ge"} <= board.keys()
    assert board["eval/strict_rege"] == [
        (e["step"], e["eval_strict_rege"]) for e in history(copied / "seen") if "eval_strict_rege" in e
    ]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.rglob("events.out.tfevents.*")
    board = EventAccumulator(str(events.parent))
    board.Reload()
    return {
        tag: [(event.step, pytest.approx(event.value, rel=1e-5)) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
    }


@pytest.mark.parametrize(
    ("change", "flags", "told"),
    [
        (lambda records: records[1].update(image="img/lost.png"), (), "1 images are not in data, img/lost.png"),
        (lambda records: records[1].pop("landmark"), (), "question e1: no facial prior"),
        (lambda records: records[1].update(label="four"), (), "--faba_eval_annotations data/eval.json: "),
        (lambda records: records[1].update(id="e0"), (), "the id e0 is used twice"),
        (lambda records: None, ("--faba_eval_protocol", "bp5d"), "--faba_eval_protocol: "),
        (lambda records: None, ("--faba_eval_task", "age"), "choose au or emotion"),
        (lambda records: None, ("--faba_eval_steps", "0"), "must be 1 or more"),
        (lambda records: None, ("--faba_eval_annotations", "data/none.json"), "data/none.json: cannot be read"),
    ],
    ids=["image", "prior", "label", "id", "protocol", "task", "steps", "file"],
)
def test_what_would_fail_later_is_told_before_the_first_step(
    train, copied, evaluation_records, capsys, change, flags, told
):
    change(evaluation_records)
    (copied / "data" / "eval.json").write_text(json.dumps(evaluation_records))
    assert train("out", *LORA, *EVALUATE, *flags) == 2
    assert told in capsys.readouterr().err
    assert not (copied / "out" / "trainer_state.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_under_deepspeed(copied, evaluation_records, model_flags, stage):
    """Five questions for two processes: one has a row more than the other, which must go along under ZeRO-3."""

    def deepspeed(output: str, *flags: str) -> None:
        command = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus=2", f"--master_port={free_port()}"]
        command += [str(ROOT / "scripts" / "train_emola.py"), *model_flags, "--data_path", "data/train.json", *LORA]
        command += ["--per_device_train_batch_size", "1", "--report_to", "none", "--output_dir", output, *flags]
        command += ["--deepspeed", str(ROOT / "scripts" / f"zero{stage}_cpu.json")]
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": binaries}
        result = subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True, timeout=550)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]

    deepspeed("quiet")
    deepspeed("seen", *EVALUATE)
    check_evaluated(copied / "seen", evaluation_records)
    assert largest_difference(copied / "seen", copied / "quiet") < 1e-6


def test_curves_of_a_run_without_validation_and_of_none(tmp_path):
    assert draw_curves([{"step": 1, "learning_rate": 1e-3}], tmp_path) is None
    assert draw_curves([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], tmp_path) == tmp_path / "curves.png"
