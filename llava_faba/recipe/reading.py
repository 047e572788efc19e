"""A recipe's YAML file, as data: nothing of it is run, no tag names code, and every mistake is told with its place."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faba_bench.files.terminal import printable

from llava_faba.errors import nearest
from llava_faba.recipe.errors import RecipeError
from llava_faba.settings.yamlfile import load_yaml

FORMAT = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_KEYS = ("recipe", "title", "note", "inputs", "matrix", "steps", "results", "show", "like", "set")
_INPUT_KEYS = ("help", "default", "kind")
INPUT_KINDS = ("path", "model", "value")
STEP_KEYS = ("kind", "title", "over", "out", "like")


@dataclass(frozen=True)
class Input:
    """Something that the user gives: a path, a model (path or hub id), or a plain value.

    ``default`` None: it has to be given.
    """

    name: str
    help: str
    kind: str = "path"
    default: str | None = None


@dataclass(frozen=True)
class StepText:
    """A step as it is written: ``settings`` still hold ``${...}``."""

    name: str
    kind: str
    title: str
    over: tuple[str, ...]
    out: str | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A recipe as it is written.

    ``matrix``: axis to its values; a step that names an axis in ``over`` is done once for each value. ``results``:
    files
    that are copied to the root's top at the end, by their names there. ``show``: a text file that is printed at the
    end.
    ``changes``: as after ``--set``, of a recipe that is ``like`` another one. ``folder``: what relative paths in it
    are relative to.
    """

    name: str
    title: str
    note: str
    steps: tuple[StepText, ...]
    inputs: dict[str, Input] = field(default_factory=dict)
    matrix: dict[str, tuple[str, ...]] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    show: str | None = None
    changes: tuple[str, ...] = ()
    folder: Path = Path()


def library() -> dict[str, Path]:
    """Name to file of the recipes that come with llava-faba."""
    folder = Path(str(importlib.resources.files("llava_faba.recipes") / "demo.yaml")).parent
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name: str) -> Recipe:
    """The recipe of a name that ``library`` has, or of a file. Raises RecipeError."""
    known = library()
    if name in known:
        return read(known[name])
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        raise RecipeError(
            f"no recipe '{printable(name)}': give a YAML file, or one of {', '.join(known)}.{nearest(name, known)}"
        )
    return read(Path(name))


def read(path: Path) -> Recipe:
    """Read and check a recipe file. Raises RecipeError that names file and key."""
    value = load_yaml(path, error=RecipeError)
    try:
        return _recipe(value, path)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def _recipe(value: Any, path: Path) -> Recipe:
    top = _mapping(value, "a recipe", _KEYS)
    if top.get("recipe") != FORMAT:
        raise RecipeError(f"'recipe' is {top.get('recipe')!r}; this llava-faba reads recipes of format {FORMAT}")
    if "like" in top:
        return _variant(top, path)
    if "set" in top:
        raise RecipeError("'set' changes the recipe that 'like' names; there is no 'like'")
    inputs = {name: _input(name, entry) for name, entry in _named(top.get("inputs"), "inputs").items()}
    matrix = {axis: axis_values(axis, entry) for axis, entry in _named(top.get("matrix"), "matrix").items()}
    steps: dict[str, StepText] = {}
    for name, entry in _named(top.get("steps"), "steps").items():
        steps[name] = _step(name, entry, matrix, steps)
    if not steps:
        raise RecipeError("'steps' is empty: nothing to do")
    results = {}
    for name, entry in _mapping(top.get("results") or {}, "results").items():
        if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
            raise RecipeError(f"results: {name!r} is not a plain file name")
        results[name] = _text(entry, f"results.{name}")
    show = top.get("show")
    return Recipe(
        name=path.stem,
        title=_text(top.get("title", path.stem), "title"),
        note=_text(top.get("note", ""), "note"),
        steps=tuple(steps.values()),
        inputs=inputs,
        matrix=matrix,
        results=results,
        show=None if show is None else _text(show, "show"),
        folder=path.resolve().parent,
    )


def _variant(top: dict[str, Any], path: Path) -> Recipe:
    other = {"inputs", "matrix", "steps", "results", "show"} & top.keys()
    if other:
        raise RecipeError(
            f"a recipe that is 'like' another one changes it with 'set'; it has no {', '.join(sorted(other))}"
        )
    name = _text(top["like"], "like")
    base = find(name) if name in library() else read(path.parent / name)
    if base.changes:
        raise RecipeError(f"'like' names {name}, which is like another recipe itself")
    changes = []
    for key, value in _mapping(top.get("set") or {}, "set").items():
        if not isinstance(key, str) or not isinstance(value, str | int | float):
            raise RecipeError(f"set: {key!r}: {value!r}: write STEP.SETTING: VALUE")
        changes.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    title, note = _text(top.get("title", base.title), "title"), _text(top.get("note", base.note), "note")
    return replace(base, name=path.stem, title=title, note=note, changes=tuple(changes))


def _input(name: str, entry: Any) -> Input:
    place = f"inputs.{name}"
    values = _mapping(entry, place, _INPUT_KEYS)
    kind = values.get("kind", "path")
    if kind not in INPUT_KINDS:
        raise RecipeError(f"{place}.kind is {kind!r}, none of {', '.join(INPUT_KINDS)}")
    default = values.get("default")
    return Input(name, _text(values.get("help", ""), f"{place}.help"), kind, None if default is None else str(default))


def _step(name: str, entry: Any, matrix: Mapping[str, Any], before: Mapping[str, StepText]) -> StepText:
    place = f"steps.{name}"
    values = dict(_mapping(entry, place))
    model = None
    if "like" in values:
        model_name = values.pop("like")
        if model_name not in before:
            raise RecipeError(f"{place}.like is {model_name!r}: name a step before it ({', '.join(before) or 'none'})")
        model = before[model_name]
    kind = _text(values.pop("kind", model.kind if model else None), f"{place}.kind")
    over = values.pop("over", list(model.over) if model else [])
    over = [over] if isinstance(over, str) else over
    if not isinstance(over, list) or any(axis not in matrix for axis in over) or len(set(over)) != len(over):
        raise RecipeError(f"{place}.over is {over!r}: give axes of 'matrix' ({', '.join(matrix) or 'it has none'})")
    out = values.pop("out", None)
    title = _text(values.pop("title", name), f"{place}.title")
    settings = {**model.settings, **values} if model else values
    for bag in ("flags", "options"):
        if model and isinstance(values.get(bag), dict):
            settings[bag] = {**model.settings.get(bag, {}), **values[bag]}
    return StepText(name, kind, title, tuple(over), None if out is None else _text(out, f"{place}.out"), settings)


def axis_values(axis: str, entry: Any) -> tuple[str, ...]:
    """The values of an axis, as texts. Raises RecipeError for one twice, and for what could be part of a path."""
    entry = entry if isinstance(entry, list) else [entry]
    values = tuple(str(value) for value in entry)
    if (
        not values
        or ".." in values
        or "." in values
        or len(set(values)) != len(values)
        or any(not re.fullmatch(r"[\w.+-]+", value) for value in values)
    ):
        raise RecipeError(f"matrix.{axis} is {entry!r}: give a list of different values of letters and digits")
    return values


def _named(value: Any, place: str) -> dict[str, Any]:
    values = _mapping(value or {}, place)
    for name in values:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RecipeError(f"{place}: {name!r} is not a name: small letters, digits, - and _")
    return values


def _mapping(value: Any, place: str, known: tuple[str, ...] = ()) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise RecipeError(f"{place} is not a mapping of keys to values")
    for key in value:
        if known and key not in known:
            raise RecipeError(f"{place} has no key {key!r}: known are {', '.join(known)}.{nearest(str(key), known)}")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise RecipeError(f"{place} is {'missing' if value is None else repr(value)}: give a text")
    return value
