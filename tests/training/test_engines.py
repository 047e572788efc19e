"""Every engine trains the same: the cells of the matrix in docs/engines.md, two of them in the fast tier."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_matrix import CELLS, Cell, problems, run

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
