"""What is known of each step: begun or done, for which key. One small file a step, below ``ROOT/.recipe``."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faba_bench
from faba_bench.files.atomic import write_json
from faba_bench.files.digests import sha256_json
from faba_bench.files.jsonfiles import read_json

import llava_faba
from llava_faba._version import __version__
from llava_faba.recipe.digests import Digests
from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.expansion import Step


@dataclass(frozen=True)
class Done:
    """A step that ended well: its key, the digest of what it made, how long it took (s), and by which code."""

    key: str
    output: str
    seconds: float
    version: str


class Folder:
    """The files that a recipe keeps in its root: ``.recipe/`` and ``logs/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.own = root / ".recipe"

    def log(self, step: Step) -> Path:
        return self.root / "logs" / f"{step.id}.log"

    def job(self, step: Step) -> Path:
        return self.own / "jobs" / f"{step.id}.json"

    def result(self, step: Step) -> Path:
        return self.own / "jobs" / f"{step.id}.result.json"

    def begun(self, step: Step) -> Path:
        """Holds the key that the output folder was begun for; written before the first byte of it."""
        return self.own / "begun" / f"{step.id}.json"

    def done(self, step: Step) -> Path:
        return self.own / "done" / f"{step.id}.json"

    @property
    def lock(self) -> Path:
        return self.own / "lock"

    @property
    def digests(self) -> Path:
        return self.own / "digests.json"


def key_of(step: Step, digests: Digests) -> str:
    """The SHA-256 of all that decides a step's result: kind, version, settings, and the content of its inputs.

    Paths count by their content, so a root can be moved. Raises RecipeError when an input is not there.
    """
    contents = {}
    for path in step.inputs:
        digest = digests.of(path)
        if digest is None and (path.startswith("/") or path.startswith(".")):
            raise RecipeError(f"step {step.id}: {path} is not there")
        contents[path] = digest or path  # a hub id stands for itself
    return sha256_json([step.kind_name, type(step.kind).VERSION, _settings(step, contents)])


def _settings(step: Step, contents: dict[str, str]) -> dict[str, Any]:
    by_length = sorted(contents, key=len, reverse=True)

    def named(value: Any) -> Any:
        if isinstance(value, str):
            for path in by_length:
                if value == path or value.startswith(path + ","):
                    return contents[path] + value[len(path) :]
            return value
        if isinstance(value, list | tuple):
            return [named(item) for item in value]
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return value

    left_out = type(step.kind).UNDECIDED
    return {key: named(value) for key, value in asdict(step.kind).items() if key not in left_out}


def read_done(path: Path) -> Done | None:
    """What is written about a finished step; None without it. Raises RecipeError when it cannot be read."""
    if not path.exists():
        return None
    value = read_json(path, error=RecipeError)
    try:
        return Done(str(value["key"]), str(value["output"]), float(value["seconds"]), str(value["version"]))
    except (TypeError, KeyError, ValueError) as error:
        raise RecipeError(f"{path}: not a step's record; remove it, and the step is done again") from error


def write_done(path: Path, key: str, output: str, seconds: float) -> None:
    write_json(path, asdict(Done(key, output, seconds, code_version())))


@functools.cache
def code_version() -> str:
    """The release, and the digest of our Python files: what a step was done by.

    A kind's ``VERSION``, not this, decides whether a step is done again; who looks at old results is told of it.
    """
    digest = hashlib.sha256()
    for package in (llava_faba, faba_bench):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"
