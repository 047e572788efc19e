"""A kind of step whose commands are one-liners of Python: for tests of the engine, which knows commands only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from llava_faba.recipe import kinds
from llava_faba.recipe.executors import Processes
from llava_faba.recipe.expansion import Graph, expand
from llava_faba.recipe.kinds.base import Action, Kind, Path_, command
from llava_faba.recipe.reading import read
from llava_faba.recipe.running import run

_WRITE = (
    "import pathlib, sys; out = pathlib.Path(sys.argv[1]); out.mkdir(exist_ok=True);"
    "(out / 'made').write_text(sys.argv[2] + ''.join(pathlib.Path(p).read_text() for p in sys.argv[3:]));"
    "open(out.parent / 'count', 'a').write(out.name + '\\n')"
)


@dataclass(frozen=True)
class Write(Kind):
    """Writes ``text`` and the contents of ``sources`` into ``made``; ``program`` runs instead, when given."""

    RESUMES: ClassVar[bool] = True

    text: str = ""
    sources: tuple[Path_, ...] = ()
    program: str | None = None
    workers: int = 1

    def actions(self, out: str) -> list[Action]:
        return [command(sys.executable, "-c", self.program or _WRITE, out, self.text, *self.sources)]


@pytest.fixture(autouse=True)
def write_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "write", Write)


class Bench:
    """A recipe in a folder, and its root."""

    def __init__(self, folder: Path) -> None:
        self.file, self.root = folder / "some.yaml", folder / "root"

    def write(self, steps: str, head: str = "") -> None:
        self.file.write_text(f"recipe: 1\n{head}\nsteps:\n{steps}")

    def graph(self, *changes: str, **axes: list[str]) -> Graph:
        return expand(read(self.file), self.root, changes, axes)

    def run(self, *changes: str, redo: tuple[str, ...] = (), jobs: int = 1, **axes: list[str]) -> None:
        run(self.graph(*changes, **axes), Processes(), redo=redo, jobs=jobs)

    def made(self, step: str) -> str:
        return (self.root / step / "made").read_text()

    def times(self, step: str) -> int:
        """How often a step was done."""
        count = (self.root / step).parent / "count"
        return count.read_text().split().count(Path(step).name) if count.exists() else 0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
