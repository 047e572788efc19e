"""Steps that measure: answers, scores, comparisons, the table."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.kinds.base import FABA_BENCH, LLAVA_FABA, Action, Kind, Path_, command, flags


@dataclass(frozen=True)
class Generate(Kind):
    """Questions and greedy answers (``llava-faba bench``). Leaves answers.jsonl and annotations.json, what was asked
    about.

    ``tasks``: one for each file of ``annotations``; default: what their labels are of.
    """

    RESUMES = True

    checkpoint: Path_
    annotations: tuple[Path_, ...]
    image_folder: Path_
    base: Path_ | None = None
    tasks: tuple[str, ...] = ()
    priors: Path_ | None = None
    engine: str = "llava"
    max_new_tokens: int = 512
    batch_size: int = 16
    workers: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        if self.tasks and len(self.tasks) != len(self.annotations):
            raise RecipeError(f"{len(self.tasks)} tasks for {len(self.annotations)} annotation files")
        questions = []
        actions: list[Action] = []
        for index, file in enumerate(self.annotations):
            part = f"{out}/questions-{index}.jsonl"
            words = ["bench", "questions", file, "--out", part]
            actions.append(command(*LLAVA_FABA, *words, *flags({"task": self.tasks[index] if self.tasks else None})))
            questions.append(part)
        if len(self.annotations) == 1:
            actions.append({"copy": [self.annotations[0], f"{out}/annotations.json"]})
        actions.append({"join": [questions, f"{out}/questions.jsonl"]})
        words = ["bench", "generate", "--model-path", self.checkpoint, "--question-file", f"{out}/questions.jsonl"]
        words += ["--image-folder", self.image_folder, "--out", f"{out}/answers.jsonl"]
        choices = {
            "model_base": self.base,
            "priors": self.priors,
            "engine": None if self.engine == "llava" else self.engine,
            "max_new_tokens": self.max_new_tokens,
            "batch_size": self.batch_size,
            "workers": self.workers,
        }
        return [*actions, command(*LLAVA_FABA, *words, *flags(choices), *flags(self.options))]


@dataclass(frozen=True)
class Score(Kind):
    """``faba-bench score`` of one ``generate`` step, or of one per fold: result.json and report.html."""

    task: str
    protocol: str
    answers: tuple[Path_, ...]
    image_folder: Path_ | None = None
    title: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        words = ["score", "--task", self.task, "--protocol", self.protocol]
        if len(self.answers) == 1:
            folder = self.answers[0]
            words += ["--annotations", f"{folder}/annotations.json", "--answers", f"{folder}/answers.jsonl"]
        else:
            words += ["--fold-dirs", *self.answers]
        words += ["--output", f"{out}/result.json", "--report", f"{out}/report.html"]
        choices = {"title": self.title, "image_folder": self.image_folder if len(self.answers) == 1 else None}
        return [command(*FABA_BENCH, *words, *flags(choices), *flags(self.options))]


@dataclass(frozen=True)
class Compare(Kind):
    """``faba-bench compare`` of the results of ``score`` steps, to the first of them: comparison.json and
    comparison.html."""

    results: tuple[Path_, ...]
    names: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        words = ["compare", *(f"{result}/result.json" for result in self.results)]
        words += flags({"names": list(self.names) or None})
        words += ["--output", f"{out}/comparison.json", "--report", f"{out}/comparison.html"]
        return [command(*FABA_BENCH, *words, *flags(self.options))]


@dataclass(frozen=True)
class Report(Kind):
    """The table of the paper: results of ``score`` steps beside the published rows, with paired differences to the
    first.

    ``names``: one for each result; where a step was done for several seeds, one for all of its runs. Leaves
    report.json,
    report.md, report.txt and a page for each task.
    """

    results: tuple[Path_, ...]
    names: tuple[str, ...]
    heading: str = ""

    def actions(self, out: str) -> list[Action]:
        if not self.names or len(self.results) % len(self.names):
            raise RecipeError(f"{len(self.names)} names for {len(self.results)} results")
        words = [sys.executable, "-m", "llava_faba.recipe.table", out, "--results", *self.results]
        return [command(*words, "--names", *self.names, *flags({"title": self.heading or None}))]
