"""Every engine trains the same: the cells of docs/measurements/engines.md, two of them in the fast tier."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_matrix import CELLS, PROGRAM, Cell, problems, run
from training_runs import Run, finish, write_mixed

CORNERS = {
    Cell("plain", 1, "float32", False, "mixed"),
    Cell("zero3", 2, "float32", True, "mixed"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are kept, so that a reference is run once."""
    return tmp_path_factory.mktemp("engines")


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=cell.name, marks=() if cell in CORNERS else pytest.mark.slow) for cell in CELLS],
)
def test_a_cell_trains_what_its_reference_trains(cell, folder):
    assert problems(cell, run(cell, folder), run(cell.reference, folder)) == []


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(Run(processes=2), id="torchrun", marks=pytest.mark.newest),
        pytest.param(Run(processes=2, stage=2), id="zero2", marks=pytest.mark.slow),
        pytest.param(Run(processes=2, stage=3), id="zero3", marks=pytest.mark.slow),
    ],
)
def test_every_epoch_of_two_processes_sees_every_record_once(copied, run):
    """Pictures and texts mixed, and dropout, which moves the processes' random states apart."""
    write_mixed(copied, times=3)
    flags = (*run.flags, "--num_train_epochs", "3", "--per_device_train_batch_size", "2", "--save_strategy", "no")
    finish(copied, "out", replace(run, flags=flags).command("out", str(PROGRAM)))
    steps = [json.loads((copied / f"seen-{rank}.json").read_text())["steps"] for rank in (0, 1)]
    records = [first["records"] + second["records"] for first, second in zip(*steps, strict=True)]
    epochs = [sorted(itertools.chain(*records[start : start + 6])) for start in range(0, 18, 6)]
    assert [len(set(epoch)) for epoch in epochs] == [24] * 3 and epochs[0] == epochs[1] == epochs[2]
