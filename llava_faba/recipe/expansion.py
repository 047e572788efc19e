"""From a recipe to its graph: inputs and axes put in their places, one step for each fold and seed, in an order to
run."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faba_bench.files.paths import inside

from llava_faba.errors import nearest
from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.kinds import KINDS, Kind, build
from llava_faba.recipe.kinds.base import paths, takes_list
from llava_faba.recipe.reading import STEP_KEYS, Input, Recipe, StepText, axis_values

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_RESERVED = {".recipe", "logs"}
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Step:
    """One thing to do.

    ``id``: the step's name, and its place on the axes (``train.fold1-seed0``). ``inputs``: the paths whose content
    goes into
    its key. ``needs``: ids of the steps that make them.
    """

    id: str
    name: str
    title: str
    kind_name: str
    kind: Kind
    out: Path
    place: dict[str, str]
    inputs: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """All steps of a recipe in an order in which each stands behind what it needs.

    ``results``: name at the root's top to the file that is copied there. ``missing``: inputs that are not there, as
    sentences.
    """

    recipe: Recipe
    root: Path
    steps: tuple[Step, ...]
    results: dict[str, Path]
    show: Path | None
    missing: tuple[str, ...]


def expand(recipe: Recipe, root: Path, changes: Sequence[str] = (), axes: Mapping[str, Sequence[str]] = {}) -> Graph:
    """The graph of a recipe in the folder ``root``.

    ``changes``: ``inputs.NAME=VALUE`` and ``STEP.SETTING=VALUE``, as after ``--set``. ``axes``: other values for
    axes of the
    matrix. Raises RecipeError for anything that is unknown, missing or goes round in a circle.
    """
    recipe = _on_axes(recipe, axes)
    recipe, inputs, missing = _changed(recipe, [*recipe.changes, *changes])
    number = sum(math.prod(len(recipe.matrix[axis]) for axis in step.over) for step in recipe.steps)
    if number > MOST_STEPS:
        raise RecipeError(f"{recipe.name} has {number} steps on its axes, more than {MOST_STEPS}: run it in parts")
    instances = {step.name: _places(step, recipe.matrix) for step in recipe.steps}
    outs = {
        (step.name, _id(step, place)): _out(step, place, root, inputs)
        for step in recipe.steps
        for place in instances[step.name]
    }
    _check_outs(outs)
    names = _Names(inputs, instances, outs)
    steps = [_step(step, place, names, outs) for step in recipe.steps for place in instances[step.name]]
    results = {name: Path(names.one(text, {}, f"results.{name}")) for name, text in recipe.results.items()}
    show = None if recipe.show is None else Path(names.one(recipe.show, {}, "show"))
    return Graph(recipe, root, tuple(_ordered(steps)), results, show, tuple(missing))


def _on_axes(recipe: Recipe, axes: Mapping[str, Sequence[str]]) -> Recipe:
    for axis in axes:
        if axis not in recipe.matrix:
            known = ", ".join(recipe.matrix) or "none"
            raise RecipeError(f"{recipe.name} has no axis '{axis}' to fan out on (it has: {known})")
    given = {axis: axis_values(axis, list(values)) for axis, values in axes.items()}
    return replace(recipe, matrix={axis: given.get(axis) or values for axis, values in recipe.matrix.items()})


def _changed(recipe: Recipe, changes: Sequence[str]) -> tuple[Recipe, dict[str, str], list[str]]:
    given: dict[str, str] = {}
    steps = {step.name: step for step in recipe.steps}
    for change in changes:
        name, equals, value = change.partition("=")
        owner, dot, key = name.partition(".")
        if not equals or not dot or not key:
            raise RecipeError(f"--set {change}: write inputs.NAME=VALUE or STEP.SETTING=VALUE")
        if owner == "inputs":
            if key not in recipe.inputs:
                raise RecipeError(
                    f"--set {change}: no input '{key}'; there are {', '.join(recipe.inputs) or 'none'}."
                    f"{nearest(key, recipe.inputs)}"
                )
            given[key] = str(Path(value).absolute()) if _is_path(recipe.inputs[key].kind, value) else value
        elif owner in steps:
            steps[owner] = _with_setting(steps[owner], key, value)
        else:
            raise RecipeError(
                f"--set {change}: no step '{owner}'; there are {', '.join(steps)}.{nearest(owner, steps)}"
            )
    inputs, missing = {}, []
    for name, entry in recipe.inputs.items():
        inputs[name], lack = _value_of(entry, given.get(name), recipe.folder)
        if lack:
            missing.append(lack)
    return replace(recipe, steps=tuple(steps.values())), inputs, missing


def _value_of(entry: Input, given: str | None, folder: Path) -> tuple[str, str | None]:
    """An input's value, and what is wrong with it. Paths of the file are relative to the file."""
    value = given if given is not None else entry.default
    if value is None:
        lack = f"inputs.{entry.name} is not given ({entry.help}): --set inputs.{entry.name}=VALUE"
        return f"<inputs.{entry.name}>", lack
    if given is None and _is_path(entry.kind, value):
        value = str(folder / value)
    if entry.kind == "path" and not Path(value).exists():
        return value, f"inputs.{entry.name}: {value} is not there ({entry.help})"
    return value, None


def _is_path(kind: str, value: str) -> bool:
    """A model may be a hub id: then it is a path only when it is there, or looks like nothing else."""
    if kind == "model":
        return value.startswith(("/", ".", "~")) or Path(value).exists()
    return kind == "path"


def _with_setting(step: StepText, key: str, value: str) -> StepText:
    kind = _kind(step)
    if key in STEP_KEYS:
        raise RecipeError(f"--set {step.name}.{key}: only settings can be changed")
    fields = kind.__dataclass_fields__
    if key in fields:
        changed: Any = value.split(",") if takes_list(kind, key) else value
        return replace(step, settings={**step.settings, key: changed})
    for bag in ("flags", "options"):
        if bag in fields:
            plain = {"true": True, "false": False}.get(value, value) if bag == "options" else value
            return replace(step, settings={**step.settings, bag: {**step.settings.get(bag, {}), key: plain}})
    raise RecipeError(f"--set: step {step.name} has no setting '{key}': known are {', '.join(fields)}")


def _kind(step: StepText) -> type[Kind]:
    if step.kind not in KINDS:
        raise RecipeError(
            f"steps.{step.name}.kind is '{step.kind}': known are {', '.join(KINDS)}.{nearest(step.kind, KINDS)}"
        )
    return KINDS[step.kind]


def _places(step: StepText, matrix: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [dict(zip(step.over, values, strict=True)) for values in itertools.product(*(matrix[a] for a in step.over))]


def _id(step: StepText, place: Mapping[str, str]) -> str:
    return step.name + ("." + _suffix(place) if place else "")


def _suffix(place: Mapping[str, str]) -> str:
    return "-".join(f"{axis}{value}" for axis, value in place.items())


def _out(step: StepText, place: Mapping[str, str], root: Path, inputs: Mapping[str, str]) -> Path:
    text = step.out
    if text is None:
        text = f"{step.name}/{_suffix(place)}" if place else step.name
    named = _REFERENCE.sub(lambda match: place.get(match.group(1), match.group(0)), text)
    if "${" in named:
        raise RecipeError(f"steps.{step.name}.out is '{text}': only this step's axes can stand in it")
    path = inside(root, named, error=RecipeError)
    if Path(named).parts[0] in _RESERVED:
        raise RecipeError(f"steps.{step.name}.out is '{text}': that folder is the recipe's own")
    return path


def _check_outs(outs: Mapping[tuple[str, str], Path]) -> None:
    seen: dict[Path, str] = {}
    for (_, one), path in outs.items():
        for other_path, other in seen.items():
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                raise RecipeError(f"steps {other} and {one} would write into one folder, {path}: give them other 'out'")
        seen[path] = one


class _Names:
    """What ``${...}`` stands for."""

    def __init__(
        self,
        inputs: Mapping[str, str],
        instances: Mapping[str, list[dict[str, str]]],
        outs: Mapping[tuple[str, str], Path],
    ) -> None:
        self._inputs, self._instances, self._outs = inputs, instances, outs

    def all(self, text: str, place: Mapping[str, str], where: str) -> list[str]:
        """The text with everything in its place; several where it names a step that is done several times."""
        names = _REFERENCE.findall(text)
        choices = [self._values(name, place, where) for name in names]
        wide = {len(values) for values in choices if len(values) > 1}
        if len(wide) > 1:
            raise RecipeError(f"{where}: '{text}' names steps that are done {sorted(wide)} times")
        count = wide.pop() if wide else 1
        parts = _REFERENCE.split(text)
        texts = []
        for index in range(count):
            filled = [values[index] if len(values) > 1 else values[0] for values in choices]
            texts.append("".join(filled[i // 2] if i % 2 else part for i, part in enumerate(parts)))
        return texts

    def one(self, text: str, place: Mapping[str, str], where: str) -> str:
        texts = self.all(text, place, where)
        if len(texts) > 1:
            raise RecipeError(f"{where}: '{text}' names a step that is done {len(texts)} times; one is wanted")
        return texts[0]

    def _values(self, name: str, place: Mapping[str, str], where: str) -> list[str]:
        owner, _, key = name.partition(".")
        if owner == "inputs" and key in self._inputs:
            return [self._inputs[key]]
        if name in place:
            return [place[name]]
        if owner == "steps" and key in self._instances:
            same = [
                instance
                for instance in self._instances[key]
                if all(instance.get(axis, value) == value for axis, value in place.items())
            ]
            return [str(self._outs[key, key + ("." + _suffix(instance) if instance else "")]) for instance in same]
        known = [*(f"inputs.{x}" for x in self._inputs), *(f"steps.{x}" for x in self._instances), *place]
        raise RecipeError(f"{where}: nothing is called ${{{name}}}.{nearest(name, known)}")


def _step(step: StepText, place: dict[str, str], names: _Names, outs: Mapping[tuple[str, str], Path]) -> Step:
    kind_class, where = _kind(step), f"steps.{step.name}"
    settings = {
        key: _filled(value, place, names, f"{where}.{key}", takes_list(kind_class, key))
        for key, value in step.settings.items()
    }
    kind = build(kind_class, settings, where)
    own = _id(step, place)
    out = outs[step.name, own]
    found = {path: _maker(path, outs) for _, path in paths(kind)}
    found.update(_loose_paths(kind, found, outs))
    if own in found.values():
        raise RecipeError(f"{where} reads what it makes")
    try:
        kind.actions(str(out))  # settings that contradict each other are told before anything starts
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    return Step(
        id=own,
        name=step.name,
        title=step.title + (f" ({_suffix(place)})" if place else ""),
        kind_name=step.kind,
        kind=kind,
        out=out,
        place=place,
        inputs=tuple(found),
        needs=tuple(dict.fromkeys(maker for maker in found.values() if maker)),
    )


def _filled(value: Any, place: Mapping[str, str], names: _Names, where: str, many: bool) -> Any:
    if isinstance(value, str):
        texts = names.all(value, place, where)
        if many:
            return texts
        if len(texts) > 1:
            raise RecipeError(f"{where}: '{value}' names a step that is done {len(texts)} times; one is wanted")
        return texts[0]
    if isinstance(value, list):
        filled = [_filled(item, place, names, where, many) for item in value]
        return list(itertools.chain.from_iterable(x if isinstance(x, list) else [x] for x in filled))
    if isinstance(value, dict):
        return {key: _filled(item, place, names, f"{where}.{key}", False) for key, item in value.items()}
    return value


def _maker(path: str, outs: Mapping[tuple[str, str], Path]) -> str | None:
    return next((own for (_, own), out in outs.items() if Path(path).is_relative_to(out)), None)


def _loose_paths(kind: Kind, known: Mapping[str, Any], outs: Mapping[tuple[str, str], Path]) -> dict[str, str | None]:
    """Paths in flags and options: what a step makes, or a file that is there."""
    found: dict[str, str | None] = {}
    for bag in ("flags", "options"):
        for setting in getattr(kind, bag, {}).values():
            for value in setting if isinstance(setting, list | tuple) else (setting,):
                if isinstance(value, str) and os.sep in value and value not in known:
                    maker = _maker(value, outs)
                    if maker or Path(value).exists():
                        found[value] = maker
    return found


def _ordered(steps: Sequence[Step]) -> list[Step]:
    done: set[str] = set()
    left = list(steps)
    ordered: list[Step] = []
    while left:
        ready = next((step for step in left if done.issuperset(step.needs)), None)
        if ready is None:
            raise RecipeError(f"steps {', '.join(step.id for step in left)} need each other in a circle")
        left.remove(ready)
        ordered.append(ready)
        done.add(ready.id)
    return ordered
