"""Steps that make data: label files to records, crops, priors, checks, mixtures."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.kinds.base import LLAVA_FABA, Action, Kind, Path_, command, flags


@dataclass(frozen=True)
class Convert(Kind):
    """``llava-faba data convert``: a dataset in its official layout to records. ``options``: the command's flags."""

    dataset: str
    root: Path_
    images: Path_ | None = None
    image_folder: Path_ | None = None
    labels: Path_ | None = None
    partition: Path_ | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        paths = {
            "images": self.images,
            "image_folder": self.image_folder,
            "labels": self.labels,
            "partition": self.partition,
        }
        words = ("data", "convert", self.dataset, "--root", self.root, "--out", out)
        return [command(*LLAVA_FABA, *words, *flags(paths), *flags(self.options))]


@dataclass(frozen=True)
class Align(Kind):
    """``llava-faba align``: photographs to crops; the crops lie in the step's folder under their paths."""

    RESUMES = True

    images: Path_
    expert: str = "dlib-68"
    size: int = 336

    def actions(self, out: str) -> list[Action]:
        return [command(*LLAVA_FABA, "align", self.images, "--out", out, "--expert", self.expert, "--size", self.size)]


@dataclass(frozen=True)
class Priors(Kind):
    """``llava-faba priors extract``: of all pictures below ``image_folder``, or of those that ``annotations`` name."""

    RESUMES = True

    image_folder: Path_
    expert: str = "dlib-68"
    annotations: tuple[Path_, ...] = ()
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        words: list[object] = ["priors", "extract"]
        if self.annotations:
            words += ["--annotations", *self.annotations, "--image-folder", self.image_folder]
        else:
            words += [self.image_folder]
        words += ["--expert", self.expert, "--out", out, "--workers", self.workers]
        return [command(*LLAVA_FABA, *words, *flags(self.options))]


@dataclass(frozen=True)
class PriorsImport(Kind):
    """``llava-faba priors import``: the records' own ``.npy`` vectors (as in FABA-Instruct) to a store, or a
    folder's."""

    image_folder: Path_
    annotations: tuple[Path_, ...] = ()
    npy: Path_ | None = None
    expert: str = "precomputed"

    def actions(self, out: str) -> list[Action]:
        words: list[object] = ["priors", "import"]
        if self.annotations:
            words += ["--annotations", *self.annotations, "--image-folder", self.image_folder]
        elif self.npy:
            words += [self.image_folder, "--npy", self.npy]
        else:
            raise RecipeError("priors-import: give annotations that name landmark files, or npy")
        return [command(*LLAVA_FABA, *words, "--expert", self.expert, "--out", out)]


@dataclass(frozen=True)
class PriorsExport(Kind):
    """``llava-faba priors export --npy``: a ``.npy`` file for each picture of a store."""

    store: Path_

    def actions(self, out: str) -> list[Action]:
        return [command(*LLAVA_FABA, "priors", "export", self.store, "--npy", out)]


@dataclass(frozen=True)
class Validate(Kind):
    """``llava-faba data validate``: a recipe stops here when the data has errors. Writes report.json."""

    train: tuple[Path_, ...]
    image_folder: Path_
    evaluate: tuple[Path_, ...] = ()
    priors: Path_ | None = None
    protocol: str | None = None
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        words: list[object] = ["data", "validate", *self.train, "--image-folder", self.image_folder]
        words += flags({"priors": self.priors, "protocol": self.protocol, "eval": list(self.evaluate) or None})
        words += ["--workers", self.workers, "--output", f"{out}/report.json"]
        return [command(*LLAVA_FABA, *words, *flags(self.options))]


@dataclass(frozen=True)
class Mix(Kind):
    """``llava-faba data mix``: several files to train.json and val.json. ``inputs`` may end in ``,weight=W`` and so
    on."""

    inputs: tuple[Path_, ...]
    image_folder: Path_ | None = None
    val_fraction: float = 0.0
    seed: int = 0
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def path_in(value: str) -> str:
        return value.partition(",")[0]

    def actions(self, out: str) -> list[Action]:
        words: list[object] = ["data", "mix"]
        for entry in self.inputs:
            words += ["--input", entry]
        words += ["--out", out, "--val-fraction", self.val_fraction, "--seed", self.seed, "--workers", self.workers]
        return [command(*LLAVA_FABA, *words, *flags({"image_folder": self.image_folder}), *flags(self.options))]


@dataclass(frozen=True)
class Blank(Kind):
    """Grey pictures of the same names and sizes: what a model without sight is given in the ablation of the prior."""

    images: Path_

    def actions(self, out: str) -> list[Action]:
        return [command(sys.executable, "-m", "llava_faba.recipe.blank", self.images, out)]
