"""Every engine trains the same: the cells of the matrix in docs/engines.md, two of them in the fast tier."""

from __future__ import annotations

import json
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


@pytest.mark.slow
def test_every_epoch_of_two_processes_sees_every_record_once(copied):
    """Also after the first, when dropout has drawn from the random state that the order is drawn from."""
    write_mixed(copied)
    finish(copied, "out", Run(processes=2, stage=2).command("out", str(PROGRAM)))
    steps = [json.loads((copied / f"seen-{rank}.json").read_text())["steps"] for rank in (0, 1)]
    records = [first["records"] + second["records"] for first, second in zip(*steps, strict=True)]
    epochs = [set().union(*records[start : start + 4]) for start in range(0, 16, 4)]
    assert [len(epoch) for epoch in epochs] == [8] * 4 and len(set.union(*epochs)) == 8
