"""Protocols: what is scored on which dataset, read from versioned JSON files.

A file under ``protocols/`` (or any path that ends in ``.json``) holds `schema_version`, `name`, `version`,
`title`, `tasks` with ``au`` (`vocabulary`, `scored`), ``emotion`` (`classes`, `aliases`), ``au_intensity`` and ``va``
(`labels`, `low`, `high`), optionally
`folds` (how many folds the literature averages), `frames` (whether the set is made of frames of videos) and
`reference_texts` ("required" or "optional").
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from faba_bench.errors import ProtocolError
from faba_bench.files.jsonfiles import parse_json
from faba_bench.files.paths import regular_file

_FILE_LIMIT = 1 << 20  # bytes; a protocol has some thousands

SCHEMA_VERSION = 1
TASKS = ("au", "emotion")
SCALE_TASKS = ("au_intensity", "va")


@dataclass(frozen=True)
class AUTask:
    """AU numbers an answer may name, and those whose F1 enters the mean."""

    vocabulary: tuple[int, ...]
    scored: tuple[int, ...]


@dataclass(frozen=True)
class EmotionTask:
    """Class names in index order; `aliases` maps lower-case spellings in label files to class names."""

    classes: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScaleTask:
    """Labels with a number each: AU numbers as text, or "valence" and "arousal"; and the ends of the scale.

    `field`: where records that have another label hold these values.
    """

    field: str
    labels: tuple[str, ...]
    low: float
    high: float


Rules = AUTask | EmotionTask | ScaleTask


@dataclass(frozen=True)
class Protocol:
    """One dataset's scoring rules."""

    name: str
    version: int
    title: str
    au: AUTask | None
    emotion: EmotionTask | None
    folds: int | None = None
    reference_texts: str = "optional"
    note: str = ""
    source: str = ""
    frames: bool = False
    noise: Mapping[str, Any] = field(default_factory=dict)
    au_intensity: ScaleTask | None = None
    va: ScaleTask | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks this protocol scores with S_re, S_ge and REGE."""
        return tuple(task for task in TASKS if getattr(self, task) is not None)

    @property
    def scales(self) -> tuple[str, ...]:
        """The tasks of numbers on a scale that this protocol scores."""
        return tuple(task for task in SCALE_TASKS if getattr(self, task) is not None)

    def require(self, task: str) -> Any:
        """The rules for a task; raises `ProtocolError` when the protocol lacks it."""
        if task not in (*TASKS, *SCALE_TASKS):
            raise ProtocolError(f"unknown task {task!r}: it is one of {', '.join((*TASKS, *SCALE_TASKS))}")
        rules: Rules | None = getattr(self, task)
        if rules is None:
            others = [name for name in protocol_names() if getattr(load_protocol(name), task) is not None]
            raise ProtocolError(
                f"protocol {self.name!r} has no task {task!r}, only {', '.join((*self.tasks, *self.scales))}; "
                f"{task!r} is scored by {', '.join(others)}"
            )
        return rules


@lru_cache(maxsize=1)
def protocol_names() -> tuple[str, ...]:
    """Names of the protocols that come with the package."""
    folder = resources.files("faba_bench").joinpath("protocols")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".json")))


@lru_cache(maxsize=64)
def load_protocol(name: str) -> Protocol:
    """A protocol by name, or from a JSON file when the name ends in ``.json``.

    Raises `ProtocolError` for an unknown name (with the nearest ones) and for a file that is not a protocol.
    """
    if name.endswith(".json"):
        path = Path(name)
        try:
            text = regular_file(path, limit=_FILE_LIMIT, error=ProtocolError).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ProtocolError(f"cannot read the protocol file {name}: {error}") from error
        return _parse(text, name)
    if name not in protocol_names():
        near = difflib.get_close_matches(name.lower(), protocol_names(), n=3, cutoff=0.5)
        suggestion = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ProtocolError(
            f"unknown protocol {name!r}{suggestion} Known: {', '.join(protocol_names())}; "
            "a path that ends in .json reads your own"
        )
    item = resources.files("faba_bench").joinpath("protocols").joinpath(f"{name}.json")
    return _parse(item.read_text(encoding="utf-8"), f"{name}.json")


def _parse(text: str, where: str) -> Protocol:
    try:
        data = parse_json(text, where, error=ProtocolError)
        if data["schema_version"] != SCHEMA_VERSION:
            raise ProtocolError(
                f"{where}: schema_version {data['schema_version']!r}, this release reads {SCHEMA_VERSION}"
            )
        tasks = data["tasks"]
        if not set(tasks) or not set(tasks) <= {*TASKS, *SCALE_TASKS}:
            raise ProtocolError(
                f"{where}: 'tasks' must hold {' or '.join(map(repr, (*TASKS, *SCALE_TASKS)))}, and nothing else"
            )
        return Protocol(
            name=str(data["name"]),
            version=int(data["version"]),
            title=str(data["title"]),
            au=_au(tasks["au"], where) if "au" in tasks else None,
            emotion=_emotion(tasks["emotion"], where) if "emotion" in tasks else None,
            folds=int(data["folds"]) if "folds" in data else None,
            reference_texts=str(data.get("reference_texts", "optional")),
            note=str(data.get("note", "")),
            source=str(data.get("source", "")),
            frames=bool(data.get("frames", False)),
            noise=_noise(data.get("noise", {}), where),
            au_intensity=_scale("au_intensity", tasks["au_intensity"], where) if "au_intensity" in tasks else None,
            va=_scale("va", tasks["va"], where) if "va" in tasks else None,
        )
    except json.JSONDecodeError as error:
        raise ProtocolError(f"{where}, line {error.lineno}: not JSON: {error.msg}") from error
    except KeyError as error:
        raise ProtocolError(f"{where}: the key {error} is missing") from error
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, ProtocolError):
            raise
        raise ProtocolError(f"{where}: not a protocol: {error}") from error


def _au(data: Mapping[str, Any], where: str) -> AUTask:
    vocabulary = tuple(int(number) for number in data["vocabulary"])
    scored = tuple(int(number) for number in data["scored"])
    unknown = sorted(set(scored) - set(vocabulary))
    if unknown or not scored or len(set(scored)) != len(scored):
        raise ProtocolError(
            f"{where}: 'scored' must be distinct numbers of 'vocabulary', at least one"
            + (f"; not in it: {unknown}" if unknown else "")
        )
    return AUTask(vocabulary, scored)


def _noise(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """How far the assignment of subjects to folds alone moves F1 ("f1", a fraction), and who found it ("source")."""
    if data and not (isinstance(data.get("f1"), float) and isinstance(data.get("source"), str)):
        raise ProtocolError(f"{where}: 'noise' must hold 'f1' (a fraction) and 'source'")
    return dict(data)


def _scale(field: str, data: Mapping[str, Any], where: str) -> ScaleTask:
    labels = tuple(str(label) for label in data["labels"])
    low, high = float(data["low"]), float(data["high"])
    if not labels or len(set(labels)) != len(labels) or not low < high:
        raise ProtocolError(f"{where}: 'labels' must be distinct, at least one, and 'low' below 'high'")
    return ScaleTask(field, labels, low, high)


def _emotion(data: Mapping[str, Any], where: str) -> EmotionTask:
    classes = tuple(str(name) for name in data["classes"])
    aliases = {str(key).lower(): str(value) for key, value in data.get("aliases", {}).items()}
    strangers = sorted(set(aliases.values()) - set(classes))
    if strangers or len(set(classes)) != len(classes) or not classes:
        raise ProtocolError(
            f"{where}: 'classes' must be distinct names, at least one, and 'aliases' must lead to them"
            + (f"; no such classes: {strangers}" if strangers else "")
        )
    return EmotionTask(classes, aliases)
