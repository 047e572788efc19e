"""Is a file trained on, or is it what a model is judged by? Told by who wrote it and what it is called."""

from __future__ import annotations

import re
from pathlib import Path

from faba_bench.files import FileProblem
from faba_bench.files.jsonfiles import read_object

_WORDS = re.compile(r"[a-z]+")
_EVALUATION = {
    "val",
    "valid",
    "validation",
    "validate",
    "dev",
    "test",
    "testing",
    "eval",
    "evaluation",
    "holdout",
    "heldout",
}
_TRAINING = {"train", "training"}


def is_evaluation(path: Path) -> bool:
    """Is this the validation part of a ``data mix``, or named as one (``val.json``, not ``train_val.json``)?

    Files of evaluation records are evaluation files without this: their records say so.
    """
    words = set(_WORDS.findall(path.stem.lower()))
    if path.name == "val.json" and _mixed(path):
        return True
    return bool(words & _EVALUATION) and not words & _TRAINING


def _mixed(path: Path) -> bool:
    try:
        return path.name in read_object(path.parent / "manifest.json").get("outputs", ())
    except (FileProblem, OSError):
        return False
