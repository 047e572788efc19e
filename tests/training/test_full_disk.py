"""A checkpoint that does not fit on the disk: one sentence, and the run can go on later."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import ROOT

from llava_faba.errors import UserError
from llava_faba.training.full_disk import saying_full_disk


def write_with_torch() -> None:
    torch.save({"a": torch.zeros(100_000)}, "/dev/full")


def write_with_python() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)


@pytest.mark.parametrize("write", [write_with_torch, write_with_python])
def test_a_failed_write_says_what_to_go_on_from(tmp_path, write):
    with pytest.raises(UserError, match="the same command then begins anew"), saying_full_disk(str(tmp_path)):
        write()


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(5, "Input/output error"), UserError("no")])
def test_other_errors_keep_their_names(tmp_path, error):
    with pytest.raises(type(error)) as caught, saying_full_disk(str(tmp_path)):
        raise error
    assert caught.value is error


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="no mount namespaces here",
)
def test_training_onto_a_full_disk(copied, model_flags):
    """A real disk of 400 kB: torch's own error, which does not say why, while a checkpoint is written."""
    script = str(ROOT / "scripts" / "train_emola.py")
    more = "--data_path data/train.json --report_to none --lora_enable True --max_steps 2 --save_strategy steps"
    command = [sys.executable, script, *model_flags, *shlex.split(f"{more} --save_steps 1 --output_dir disk")]
    mount = f"mkdir disk && mount -t tmpfs -o size=400k none disk && {shlex.join(command)}"
    result = subprocess.run(["unshare", "-m", "bash", "-c", mount], cwd=copied, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr[-3000:]
    last = result.stderr.strip().splitlines()[-1]
    assert "train_emola: disk: the disk is full (disk" in last  # behind the progress bar
    assert "Free some space" in last and "the same command then begins anew" in last


def test_a_checkpoints_config_says_use_cache_as_a_finished_model(train, copied):
    """LLaVA switches the cache off while it trains, and a checkpoint must not answer without it."""
    flags = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "steps", "--save_steps", "1")
    assert train("out", *flags) == 0
    configs = [json.loads((copied / "out" / name / "config.json").read_text()) for name in ("", "checkpoint-1")]
    assert [config.get("use_cache", True) for config in configs] == [True, True]
