"""Fairness: every measure for each group of people, and the largest gap between two groups.

Groups are the values of a field of the records, such as "gender" or "age_group". All groups are measured on the same
resamples, of people where they are known, so a person in two groups counts in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faba_bench.aggregate import Floats, Samples
from faba_bench.bootstrap import METRICS, draw_weights, interval
from faba_bench.errors import InputProblems, quote_ids
from faba_bench.records import Record

LEAST_SAMPLES = 30
LEAST_PEOPLE = 10
MOST_GROUPS = 30
Body = Callable[[str, Sequence[int]], Mapping[str, Any]]


def measure(
    fields: Sequence[str],
    records: Sequence[Record],
    first: int,
    modes: Mapping[str, Mapping[str, Any]],
    body: Body,
    *,
    task: str,
    labels: Sequence[Any],
    units: npt.NDArray[np.int64] | None,
    draws: int,
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """The section "groups" of a result, and warnings.

    `fields` are the records' fields from the place `first` on; `body` gives a mode's scores of some samples. Per field:
    "lacking" (records without it), "values" (per group "n", "n_clusters", "small", and "modes": scores, intervals,
    per-label values) and "gaps" (per mode and metric the two groups farthest apart, small ones left out, the difference
    in points and its interval).
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    for place, field in enumerate(fields, first):
        members: dict[str, list[int]] = {}
        for index, record in enumerate(records):
            value = record.fields[place]
            if value is not None:
                members.setdefault(value, []).append(index)
        _check(field, members, len(records))
        lacking = len(records) - sum(map(len, members.values()))
        section = {
            "lacking": lacking,
            "values": {value: _group(rows, modes, body, units) for value, rows in sorted(members.items())},
        }
        _resample(section, members, modes, task, labels, units, len(records), draws, seed)
        found[field] = section
        notes += _notes(field, section, len(records))
    return found, notes


def _check(field: str, members: Mapping[str, Sequence[int]], n: int) -> None:
    if not members:
        raise InputProblems("annotations", [f"no record has {field!r}"], "give --group a field of the records")
    if len(members) > MOST_GROUPS:
        raise InputProblems(
            "annotations",
            [f"{field!r} has {len(members)} values, more than {MOST_GROUPS}: {quote_ids(sorted(members))}"],
            "groups are few: make classes of it first, such as decades of age",
        )


def _group(
    rows: Sequence[int], modes: Mapping[str, Any], body: Body, units: npt.NDArray[np.int64] | None
) -> dict[str, Any]:
    people = None if units is None else len(set(units[list(rows)].tolist()))
    small = len(rows) < LEAST_SAMPLES or (people is not None and people < LEAST_PEOPLE)
    kept = ("n_scored", "n_unparsed", *METRICS, "macro_f1", "mean_accuracy", "accuracy", "mean_class_accuracy")
    bodies = {}
    for mode in modes:
        whole = body(mode, rows)
        bodies[mode] = {key: whole[key] for key in kept if key in whole}
        bodies[mode]["per_label"] = {
            label: {key: row[key] for key in ("f1", "accuracy", "precision", "recall", "support", "status")}
            for label, row in whole["per_label"].items()
        }
    return {"n": len(rows), "n_clusters": people, "small": small, "modes": bodies}


def _resample(
    section: dict[str, Any],
    members: Mapping[str, Sequence[int]],
    modes: Mapping[str, Mapping[str, Any]],
    task: str,
    labels: Sequence[Any],
    units: npt.NDArray[np.int64] | None,
    n: int,
    draws: int,
    seed: int,
) -> None:
    """Add intervals of each group, and the gaps, from the same draws for all groups."""
    whole = np.arange(n) if units is None else units
    count = int(whole.max()) + 1
    drawn: dict[tuple[str, str], dict[str, list[Floats]]] = {}
    arrays = {
        (value, mode): Samples(
            task, mode, [modes[mode]["samples"][row] for row in rows], labels, whole[list(rows)], count
        )
        for value, rows in members.items()
        for mode in modes
    }
    for weights in draw_weights(count, draws, seed):
        for key, samples in arrays.items():
            for metric, values in samples.metrics(weights).items():
                drawn.setdefault(key, {name: [] for name in METRICS})[metric].append(values)
    joined = {key: {name: np.concatenate(parts) for name, parts in found.items()} for key, found in drawn.items()}
    section["gaps"] = {}
    for mode in modes:
        for value, group in section["values"].items():
            alone = group["n_clusters"] == 1
            for metric in METRICS:
                draws_of = joined.get((value, mode), {}).get(metric)
                group["modes"][mode][f"{metric}_ci"] = None if draws_of is None or alone else interval(draws_of)
        section["gaps"][mode] = {metric: _gap(section, mode, metric, joined) for metric in METRICS}


def _gap(
    section: Mapping[str, Any], mode: str, metric: str, joined: Mapping[tuple[str, str], Mapping[str, Floats]]
) -> dict[str, Any] | None:
    scores = {
        value: group["modes"][mode][metric]
        for value, group in section["values"].items()
        if not group["small"] and group["modes"][mode][metric] is not None
    }
    if len(scores) < 2:
        return None
    high, low = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    bounds = None
    if joined:
        bounds = interval(joined[high, mode][metric] - joined[low, mode][metric])
    return {"highest": high, "lowest": low, "value": scores[high] - scores[low], "ci": bounds}


def _notes(field: str, section: Mapping[str, Any], n: int) -> list[str]:
    notes = []
    if section["lacking"]:
        notes.append(f"group {field!r}: {section['lacking']} of {n} records lack it and are in no group")
    small = [value for value, group in section["values"].items() if group["small"]]
    if small:
        notes.append(
            f"group {field!r}: too small to compare (fewer than {LEAST_SAMPLES} samples or {LEAST_PEOPLE} people), "
            f"left out of the gaps: {quote_ids(small)}"
        )
    return notes
