"""Tasks with numbers on a scale: `au_intensity` (0 to 5) and `va` (valence and arousal, -1 to 1).

Measures per label and their mean: ICC(3,1) (Shrout & Fleiss 1979), Pearson's correlation (PCC), the concordance
correlation (CCC; Lin 1989) and the mean absolute error (MAE). All follow from sums, so people can be resampled quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faba_bench import bootstrap as resampling
from faba_bench import clusters
from faba_bench.aggregate import Floats
from faba_bench.errors import BenchError, InputProblems, quote_ids, short
from faba_bench.protocol import ScaleTask, load_protocol
from faba_bench.records import Record, iterate_answers, load_annotations
from faba_bench.result import SCHEMA_VERSION
from faba_bench.scale_reader import ScaleParse, read_scale

METRICS = ("icc", "pcc", "ccc", "mae")


def score_scale(
    task: str,
    protocol: str,
    annotations: Sequence[Mapping[str, Any]] | Path | str,
    answers: Iterable[Mapping[str, Any]] | Path | str,
    *,
    seed: int = 0,
    bootstrap: int = 1000,
    allow_missing: bool = False,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Score answers with numbers; see `faba_bench.score`, which calls this for the tasks of a scale.

    An action unit that an answer does not name has intensity 0 there. A label without a readable value counts as 0, the
    middle of "not at all" or of both ends, and is counted in "unread" with a warning.

    Returns an output object with "kind": "scale", "per_label" ("n", "unread", the four measures and their "_ci"), their
    means "icc", "pcc", "ccc", "mae" with "_ci", and "samples" ("parsed", "target", "ambiguous").
    """
    resampling.check_draws(bootstrap, seed)
    rules_of = load_protocol(protocol)
    rules = rules_of.require(task)
    if not isinstance(rules, ScaleTask):
        raise BenchError(f"{task!r} is no task of a scale")
    records = load_annotations(annotations, task, rules_of, fields=clusters.fields(cluster))
    people = clusters.of_records(records, cluster, rules_of)
    parsed, warnings = _read(records, answers, rules, task, allow_missing)
    guess, truth, unread = _arrays(records, parsed, rules, task)
    draws = 0 if people.is_single else bootstrap
    rows, means = measure(guess, truth, rules.labels, people.units, draws, seed)
    for column, row in enumerate(rows.values()):
        row["unread"] = int(unread[:, column].sum())
    gone = np.flatnonzero(unread.sum(axis=1))
    lost = [records[index].question_id for index in gone]
    if lost:
        warnings.append(f"{len(lost)} answers lack a readable value for a label, which counts as 0: {quote_ids(lost)}")
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "scale",
        "task": task,
        "protocol": rules_of.name,
        "protocol_version": rules_of.version,
        "n": len(records),
        "seed": seed,
        "bootstrap": bootstrap,
        "cluster": people.field,
        "n_clusters": people.count if people.field else None,
        "warnings": [*people.warnings, *warnings],
        "per_label": rows,
        **means,
        "samples": [
            {
                "question_id": record.question_id,
                "parsed": item.values,
                "target": record.target,
                "ambiguous": list(item.ambiguous),
                **({"cluster": person} if people.field else {}),
            }
            for record, item, person in zip(records, parsed, people.values, strict=True)
        ],
    }


def measure(
    guess: Floats,
    truth: Floats,
    labels: Sequence[str],
    units: npt.NDArray[np.int64] | None,
    draws: int,
    seed: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Per label and over labels: the four measures and their intervals. `truth` is NaN where nothing was coded."""
    sums = _sums(guess, truth, units)
    values = _from_sums(sums.sum(axis=0)[None])
    drawn: dict[str, list[Floats]] = {name: [] for name in METRICS}
    for weights in resampling.draw_weights(len(sums), draws, seed):
        for name, part in _from_sums(np.tensordot(weights, sums, axes=(1, 0))).items():
            drawn[name].append(part)
    joined = {name: np.concatenate(parts) if parts else np.empty((0, len(labels))) for name, parts in drawn.items()}
    rows: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(labels):
        rows[label] = {"n": int((~np.isnan(truth[:, column])).sum())}
        for name in METRICS:
            rows[label][name] = _number(values[name][0, column])
            rows[label][f"{name}_ci"] = resampling.interval(joined[name][:, column])
    means: dict[str, Any] = {}
    for name in METRICS:
        used = ~np.isnan(values[name][0])
        means[name] = _number(values[name][0][used].mean()) if used.any() else None
        means[f"{name}_ci"] = resampling.interval(joined[name][:, used].mean(axis=1)) if used.any() else None
    return rows, means


def _sums(guess: Floats, truth: Floats, units: npt.NDArray[np.int64] | None) -> Floats:
    """(units, labels, 7): how many, x, y, x^2, y^2, xy and |x - y|, summed over the samples of each unit."""
    known = ~np.isnan(truth)
    x, y = np.where(known, guess, 0.0), np.where(known, truth, 0.0)
    stacked = np.stack([known.astype(np.float64), x, y, x * x, y * y, x * y, np.abs(x - y)], axis=-1)
    if units is None:
        return stacked
    sums = np.zeros((int(units.max()) + 1, *stacked.shape[1:]))
    np.add.at(sums, units, stacked)
    return sums


def _from_sums(sums: Floats) -> dict[str, Floats]:
    """The measures (..., labels) of sums (..., labels, 7); NaN where they have no value."""
    n, x, y, xx, yy, xy, distance = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = x / n, y / n
        var_x = np.maximum(xx / n - mean_x**2, 0.0)
        var_y = np.maximum(yy / n - mean_y**2, 0.0)
        var_x, var_y = (np.where(var < 1e-12, 0.0, var) for var in (var_x, var_y))
        shared = np.where((var_x == 0) | (var_y == 0), 0.0, xy / n - mean_x * mean_y)
        return {
            "icc": np.where(var_x + var_y > 0, 2 * shared / (var_x + var_y), np.nan),
            "pcc": np.where((var_x > 0) & (var_y > 0), shared / np.sqrt(var_x * var_y), np.nan),
            "ccc": np.where(var_x + var_y > 0, 2 * shared / (var_x + var_y + (mean_x - mean_y) ** 2), np.nan),
            "mae": np.where(n > 0, distance / n, np.nan),
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _read(
    records: Sequence[Record], answers: Any, rules: ScaleTask, task: str, allow_missing: bool
) -> tuple[list[ScaleParse], list[str]]:
    position = {str(record.question_id): index for index, record in enumerate(records)}
    parsed: list[ScaleParse | None] = [None] * len(records)
    problems: list[str] = []
    for place, key, text in iterate_answers(answers, problems):
        index = position.get(key)
        if index is None:
            problems.append(f"{place}: unknown question id {short(key)}, no annotation has it")
        elif parsed[index] is not None:
            problems.append(f"{place}: duplicate question id {short(key)}")
        else:
            parsed[index] = read_scale(text, rules.labels, rules.low, rules.high)
    missing = [record.question_id for record, item in zip(records, parsed, strict=True) if item is None]
    if missing and not allow_missing:
        problems.append(f"{len(missing)} records have no answer, question ids missing: {quote_ids(missing, 100)}")
    if problems:
        raise InputProblems("answers", problems)
    notes = [f"{len(missing)} records without an answer, scored as empty: {quote_ids(missing)}"] if missing else []
    return [item or ScaleParse({}, ()) for item in parsed], notes


def _arrays(
    records: Sequence[Record], parsed: Sequence[ScaleParse], rules: ScaleTask, task: str
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    shape = (len(records), len(rules.labels))
    guess, truth, unread = np.zeros(shape), np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    for index, (record, item) in enumerate(zip(records, parsed, strict=True)):
        target: Any = record.target
        for column, label in enumerate(rules.labels):
            truth[index, column] = target.get(label, np.nan)
            # An answer that gives some action units a value has left the others out because they are not there.
            silent = task == "au_intensity" and bool(item.values) and label not in item.ambiguous
            if label in item.values:
                guess[index, column] = item.values[label]
            elif label in target:
                unread[index, column] = not silent
    return guess, truth, unread


def rows_of(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a result: the means, then each label."""
    from faba_bench.tables import number

    def cells(row: Mapping[str, Any]) -> list[str]:
        shown = []
        for name in METRICS:
            bounds = row.get(f"{name}_ci")
            text = number(row[name], 3)
            shown.append(f"{text} [{number(bounds[0], 3)}, {number(bounds[1], 3)}]" if bounds else text)
        return shown

    rows = [["mean", str(result["n"]), "", *cells(result)]]
    for label, row in result["per_label"].items():
        shown = f"AU{label}" if result["task"] == "au_intensity" else label
        rows.append([shown, str(row["n"]), str(row["unread"]), *cells(row)])
    return ["label", "samples", "unread", "ICC(3,1)", "PCC", "CCC", "MAE"], rows


def summary(result: Mapping[str, Any]) -> str:
    """What ``faba-bench score`` prints."""
    from faba_bench.tables import drawn, text_table

    head = f"FABA-Bench, task {result['task']}, protocol {result['protocol']}, {result['n']} samples"
    note = f"95% intervals over {drawn(result)}"
    return "\n".join(
        [head, "", text_table(*rows_of(result)), note, *(f"warning: {text}" for text in result["warnings"])]
    )
