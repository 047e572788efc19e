"""The output object: reading it back, checking it, turning its samples into arrays.

`SCHEMA_VERSION` counts up when a key changes its meaning or goes; new keys do not count.
The JSON schema is `result.schema.json` beside this file.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from faba_bench.aggregate import Samples
from faba_bench.clusters import units
from faba_bench.errors import ResultError, quote_ids
from faba_bench.files.atomic import write_json
from faba_bench.files.jsonfiles import read_json
from faba_bench.files.paths import regular_file
from faba_bench.files.schema import first_fault

SCHEMA_VERSION = 1
MODES = ("reference", "strict")


class _Unreadable(Exception):
    pass


def load_result(path: Path | str) -> dict[str, Any]:
    """Read a result file that ``faba-bench score --output`` wrote.

    Raises `ResultError` naming the file and what is wrong with it.
    """
    try:
        regular_file(path, error=_Unreadable)
    except _Unreadable as error:
        raise ResultError(f"cannot read {error}") from error
    try:
        data = read_json(path, error=_Unreadable)
    except _Unreadable as error:
        raise ResultError(f"not a JSON result: {error}") from error
    check_result(data, str(path))
    return dict(data)


def check_result(data: Any, where: str) -> None:
    """Raise `ResultError` unless `data` is a result object of this schema."""
    if isinstance(data, Mapping) and data.get("kind") == "scale":
        raise ResultError(
            f"{where}: a result of the task {data.get('task')!r}, which has numbers and no S_re to compare"
        )
    if not isinstance(data, Mapping) or "modes" not in data or "task" not in data:
        raise ResultError(f"{where}: not a result of faba-bench score (no 'task' or no 'modes')")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ResultError(f"{where}: schema_version {version!r}, this release reads {SCHEMA_VERSION}")
    for mode in MODES:
        body = data["modes"].get(mode) if isinstance(data["modes"], Mapping) else None
        for key in ("s_re", "s_ge", "s_rege", "per_label", "samples"):
            if not isinstance(body, Mapping) or key not in body:
                raise ResultError(f"{where}: modes.{mode}.{key} is missing")
    fault = first_fault(data, _schema())
    if fault is not None:
        raise ResultError(f"{where}: {fault}; make the result again with 'faba-bench score'")
    _check_samples(data, where)


def _check_samples(data: Mapping[str, Any], where: str) -> None:
    """What a schema cannot say: labels and samples belong together."""
    for mode, body in data["modes"].items():
        labels = list(body["per_label"])
        if data["task"] == "au" and not all(label.isascii() and label.isdigit() for label in labels):
            raise ResultError(f"{where}: modes.{mode}.per_label names something that is no AU number")
        kind = list if data["task"] == "au" else str
        seen: set[str] = set()
        for row in body["samples"]:
            key = str(row["question_id"])
            if not isinstance(row["target"], kind):
                raise ResultError(f"{where}: modes.{mode}.samples: the target of {key[:80]!r} is not one of the task")
            if key in seen:
                raise ResultError(f"{where}: modes.{mode}.samples: {key[:80]!r} is there twice")
            seen.add(key)


@functools.cache
def _schema() -> dict[str, Any]:
    text = resources.files("faba_bench").joinpath("result.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def write_result(result: Mapping[str, Any], path: Path | str) -> None:
    """Write a result as JSON (UTF-8, one key a line, samples one a line)."""
    write_json(path, result)


def as_groups(
    result: Mapping[str, Any],
    mode: str,
    like: Mapping[str, Any] | None = None,
    people: Mapping[str, str | None] | None = None,
) -> list[Samples]:
    """The samples of a mode as arrays, one for each fold (one in all where there are no folds).

    They are in the order of `like`'s samples when given. `people` (question id to person) makes a person's samples one
    unit; see `faba_bench.clusters.of_results`.
    """
    body = result["modes"][mode]
    by_id = {str(row["question_id"]): row for row in body["samples"]}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in (like or result)["modes"][mode]["samples"]:
        groups.setdefault(str(row.get("fold", "")), []).append(by_id[str(row["question_id"])])
    task = str(result["task"])
    labels = [int(label) for label in body["per_label"]] if task == "au" else list(body["per_label"])
    return [
        Samples(
            task,
            mode,
            rows,
            labels,
            units([people[str(row["question_id"])] for row in rows]) if people else None,
        )
        for rows in groups.values()
    ]


def check_comparable(first: Mapping[str, Any], second: Mapping[str, Any], mode: str = "reference") -> None:
    """Raise `ResultError` unless both results score the same samples by the same protocol."""
    if mode not in MODES:
        raise ResultError(f"unknown mode {mode!r}: it is one of {', '.join(MODES)}")
    if ("folds" in first) != ("folds" in second):
        raise ResultError("one result is an average of folds and the other is not")
    for key in ("task", "protocol"):
        if first[key] != second[key]:
            raise ResultError(f"the results differ in {key}: {first[key]!r} and {second[key]!r}")
    _check_rules(first, second)
    ours = {str(row["question_id"]): row["target"] for row in first["modes"][mode]["samples"]}
    theirs = {str(row["question_id"]): row["target"] for row in second["modes"][mode]["samples"]}
    only_ours = [key for key in ours if key not in theirs]
    only_theirs = [key for key in theirs if key not in ours]
    if only_ours or only_theirs:
        parts = []
        if only_ours:
            parts.append(f"only in the first: {quote_ids(only_ours)}")
        if only_theirs:
            parts.append(f"only in the second: {quote_ids(only_theirs)}")
        raise ResultError("the results score different question ids; " + "; ".join(parts))
    changed = [key for key in ours if ours[key] != theirs[key]]
    if changed:
        raise ResultError(f"the results have different targets for question ids {quote_ids(changed)}")


def _check_rules(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Raise `ResultError` for two versions of a protocol, or other scored labels."""
    versions = [result.get("protocol_version") for result in (first, second)]
    if versions[0] != versions[1]:
        raise ResultError(
            f"the results are of two versions of the protocol, {versions[0]} and {versions[1]}: score again"
        )
    labels = [list(result["modes"]["strict"]["per_label"]) for result in (first, second)]
    if labels[0] != labels[1]:
        raise ResultError(f"the results score other labels: {', '.join(labels[0])} and {', '.join(labels[1])}")
