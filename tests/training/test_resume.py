"""Killed in the middle of an epoch or of saving and started again, a run ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import torch
from training_runs import (
    BF16,
    FULL,
    LORA,
    THREE,
    UNGROUPED,
    Run,
    finish,
    kill_after,
    largest_difference,
    losses,
    start,
    write_mixed,
)

from llava_faba.compat.resume import counts_whole_steps_only
from llava_faba.errors import CheckpointError, UserError
from llava_faba.training.resume import (
    MANIFEST,
    check_same_run,
    checkpoints,
    common_checkpoint,
    last_checkpoint,
    mark_complete,
    remove_drafts,
)

KILLED_WHILE_SAVING = str(Path(__file__).with_name("killed_while_saving.py"))


def killed_at(folder: str, file: str) -> tuple[str, ...]:
    return ("--kill_folder", folder, "--kill_file", file)


def check_equal(workspace: Path, tolerance: float) -> None:
    killed, whole = workspace / "killed", workspace / "whole"
    difference = largest_difference(killed, whole)
    print(f"largest difference of a weight: {difference}")  # pytest -rP shows it
    assert difference <= tolerance
    assert losses(killed) == pytest.approx(losses(whole), abs=max(tolerance, 1e-12))
    assert not checkpoints(killed)[1] and not list(killed.glob("tmp-*"))


@pytest.fixture
def workspace(copied: Path) -> Path:
    write_mixed(copied)
    return copied


@pytest.mark.newest
def test_killed_in_the_second_epoch_and_then_while_saving(workspace):
    """Eight batches an epoch and three accumulated: two batches are left over, of which newer trainers make a third
    update."""
    run = Run(flags=(*LORA, *THREE), kill_after=3)
    finish(workspace, "whole", run.command("whole"))
    assert len(losses(workspace / "whole")) == (8 if counts_whole_steps_only() else 12)
    kill_after(workspace, "killed", run.command("killed"), step=3)
    # The next checkpoint is written in place, over what another kill has left there.
    shutil.copytree(workspace / "killed" / "checkpoint-3", workspace / "killed" / "checkpoint-6")
    (workspace / "killed" / "checkpoint-6" / MANIFEST).unlink()
    cut = run.command("killed", KILLED_WHILE_SAVING, *killed_at("checkpoint-6", "optimizer.pt"))
    assert start(workspace, "killed", cut).wait(500) == -signal.SIGKILL
    assert last_checkpoint(workspace / "killed") == workspace / "killed" / "checkpoint-3"
    log = finish(workspace, "killed", run.command("killed"))
    assert log.count("checkpoint-6 is not complete") == 2 and log.count("Going on from killed/checkpoint-3.") == 2
    check_equal(workspace, tolerance=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "tolerance"),
    [
        pytest.param(Run(), 0.0, id="plain"),
        pytest.param(Run(flags=(*LORA, *BF16)), 0.0, id="plain-bf16", marks=pytest.mark.newest),
        pytest.param(Run(flags=FULL), 0.0, id="plain-full"),
        pytest.param(Run(flags=(*LORA, *UNGROUPED), kill_after=9), 0.0, id="plain-ungrouped"),
        pytest.param(Run(flags=(*LORA, *THREE), kill_after=6), 0.0, id="plain-between-epochs"),
        pytest.param(Run(processes=2), 1e-6, id="ddp"),
        pytest.param(Run(processes=2, stage=2), 1e-6, id="zero2"),
        pytest.param(Run(processes=2, stage=3), 1e-6, id="zero3", marks=pytest.mark.newest),
        pytest.param(Run(processes=2, stage=2, flags=(*LORA, *BF16)), 1e-6, id="zero2-bf16"),
        pytest.param(Run(processes=2, stage=3, flags=(*LORA, *THREE), kill_after=3), 1e-6, id="zero3-accumulated"),
        pytest.param(Run(processes=2, stage=2, flags=FULL), 1e-6, id="zero2-full"),
        pytest.param(Run(processes=2, stage=3, flags=FULL), 1e-6, id="zero3-full"),
    ],
)  # fmt: skip
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(workspace, run, tolerance):
    finish(workspace, "whole", run.command("whole"))
    kill_after(workspace, "killed", run.command("killed"), run.kill_after)
    log = finish(workspace, "killed", run.command("killed"))
    assert f"Going on from killed/checkpoint-{run.kill_after}." in log
    check_equal(workspace, tolerance)


@pytest.mark.slow
def test_a_process_killed_while_saving_under_zero(workspace):
    """Rank 1 is killed when its part of the optimizer's state is half written; the launcher ends the other."""
    run = Run(processes=2, stage=2)
    finish(workspace, "whole", run.command("whole"))
    part = "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    kill = run.command("killed", KILLED_WHILE_SAVING, *killed_at("global_step6", part))
    assert start(workspace, "killed", kill).wait(500) != 0
    assert last_checkpoint(workspace / "killed") == workspace / "killed" / "checkpoint-3"
    finish(workspace, "killed", run.command("killed"))
    check_equal(workspace, tolerance=1e-6)


@pytest.mark.slow
def test_a_finished_run_started_again_changes_nothing_and_can_be_made_longer(workspace):
    run = Run(kill_after=0)
    finish(workspace, "whole", run.command("whole"))
    shutil.copytree(workspace / "whole", workspace / "again")
    finish(workspace, "again", run.command("again"))
    assert largest_difference(workspace / "again", workspace / "whole") == 0
    log = finish(workspace, "again", [*run.command("again"), "--num_train_epochs", "5"])
    assert "num_train_epochs was 4.0, is 5.0" in log and len(losses(workspace / "again")) == 40


@pytest.mark.slow
def test_another_learning_rate_is_an_error_that_names_it(workspace):
    run = Run()
    kill_after(workspace, "killed", run.command("killed"), 3)
    code = start(workspace, "killed", [*run.command("killed"), "--learning_rate", "1e-3"]).wait(500)
    log = (workspace / "killed.log").read_text()
    assert code == 2, log[-3000:]
    assert "checkpoint-3 was saved by another run: learning_rate was 0.002, is 0.001." in log


SETTINGS = {"processes": 2, "trained weights": ["a", "b"], "learning_rate": 1e-4, "num_train_epochs": 1.0}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for step in (3, 12, 9):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "global_step").mkdir(parents=True)
        (folder / "global_step" / "weights.bin").write_bytes(b"1234")
        (folder / "trainer_state.json").write_text("{}")
        mark_complete(folder, SETTINGS)
    (tmp_path / "checkpoint-best").mkdir()
    return tmp_path


def test_the_newest_whole_checkpoint_is_found_by_number(run_folder):
    assert last_checkpoint(run_folder) == common_checkpoint(run_folder) == run_folder / "checkpoint-12"
    assert last_checkpoint(run_folder / "nothing") is common_checkpoint(run_folder / "nothing") is None


@pytest.mark.parametrize("damage", ["cut", "gone", "no manifest", "half a manifest"])
def test_a_broken_checkpoint_is_passed_over(run_folder, damage):
    folder = run_folder / "checkpoint-12"
    if damage == "cut":
        (folder / "global_step" / "weights.bin").write_bytes(b"12")
    elif damage == "gone":
        (folder / "global_step" / "weights.bin").unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:-5])
    whole, broken = checkpoints(run_folder)
    assert [path.name for path in whole] == ["checkpoint-3", "checkpoint-9"] and broken == [folder]


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(run_folder):
    shutil.rmtree(run_folder / "checkpoint-12" / "global_step")
    mark_complete(run_folder / "checkpoint-12", SETTINGS)
    with pytest.raises(UserError, match="checkpoint-12 holds weights but no optimizer state"):
        common_checkpoint(run_folder)


def test_hosts_that_see_different_folders(run_folder, monkeypatch):
    seen = [("one", [3, 9, 12]), ("two", [3, 9])]
    monkeypatch.setattr("llava_faba.training.resume._gather", lambda value: seen)
    assert common_checkpoint(run_folder) == run_folder / "checkpoint-9"
    seen[1] = ("two", [])
    with pytest.raises(UserError, match=r"host one has a whole checkpoint-12 in .*, host two has not"):
        common_checkpoint(run_folder)


def test_drafts_of_a_killed_run_are_removed(run_folder):
    (run_folder / "tmp-checkpoint-15").mkdir()
    (run_folder / "tmp-checkpoint-15" / "adapter_model.bin").write_bytes(b"1")
    remove_drafts(run_folder)
    assert not (run_folder / "tmp-checkpoint-15").exists() and (run_folder / "checkpoint-12").is_dir()


def test_another_run_is_not_gone_on_with(run_folder):
    folder = run_folder / "checkpoint-3"
    assert check_same_run(folder, SETTINGS) == []
    assert check_same_run(folder, {**SETTINGS, "num_train_epochs": 2.0}) == ["num_train_epochs was 1.0, is 2.0"]
    with pytest.raises(
        UserError, match=r"saved by another run: learning_rate was 0.0001, is 0.001; processes was 2, is 1\."
    ):
        check_same_run(folder, {**SETTINGS, "processes": 1, "learning_rate": 1e-3})
    with pytest.raises(UserError, match=r"other trained weights \(1 differ, such as c\)"):
        check_same_run(folder, {**SETTINGS, "trained weights": ["a", "b", "c"]})


def test_a_checkpoint_without_the_other_weights_is_an_error(tmp_path):
    from llava_faba.training.resume import load_non_lora

    with pytest.raises(CheckpointError, match="non_lora_trainables"):
        load_non_lora(torch.nn.Linear(1, 1), tmp_path)
