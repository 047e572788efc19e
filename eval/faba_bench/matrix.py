"""Results of several test sets side by side: who was trained on what, and tested on what.

``faba-bench score --model NAME --trained-on bp4d gft`` writes both into the result; ``faba-bench table results/*.json``
makes the matrix. A cell is "within" (its set was trained on), "cross" (it was not), or "left out" (all other sets of
the matrix were trained on, and it alone was not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faba_bench.bootstrap import METRICS
from faba_bench.errors import ResultError
from faba_bench.result import MODES, load_result
from faba_bench.tables import latex_table, markdown_table, noise_note, text_table, with_interval

_TITLES = {"s_re": "S_re", "s_ge": "S_ge", "s_rege": "REGE"}


def matrix(paths: Sequence[Path | str], *, mode: str = "strict", metric: str = "s_re") -> dict[str, Any]:
    """The matrix of result files: "columns" (task and protocol), "rows" (model, trained_on, cells), "notes".

    A cell has the score, its interval, "n", "kind" ("within", "cross", "left out", or None where the result does not
    say what was trained on) and its file. Raises `ResultError` for two results of one cell, and for results of one
    column that score other samples or by another version of the protocol.
    """
    if mode not in MODES or metric not in METRICS:
        raise ResultError(f"the mode is one of {', '.join(MODES)} and the metric one of {', '.join(METRICS)}")
    cells: dict[tuple[str, tuple[str, ...] | None], dict[str, Any]] = {}
    columns: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        result = load_result(path)
        column = f"{result['task']} {result['protocol']}"
        _check_same(column, columns.setdefault(column, {**identity(result), "file": str(path)}), result, path)
        trained = result.get("trained_on")
        key = (str(result.get("model") or Path(path).stem), None if trained is None else tuple(sorted(trained)))
        row = cells.setdefault(key, {})
        if column in row:
            raise ResultError(
                f"{row[column]['file']} and {path} are both of {key[0]!r} on {column}: give --model other names"
            )
        body = result["modes"][mode]
        row[column] = {
            metric: body[metric],
            f"{metric}_ci": body[f"{metric}_ci"],
            "n": result["n"],
            "cluster": result.get("cluster"),
            "protocol": result["protocol"],
            "file": str(path),
        }
    sets = {name.split(" ", 1)[1] for name in columns}
    rows = []
    for (model, trained_on), row in cells.items():
        for cell in row.values():
            cell["kind"] = _kind(cell["protocol"], trained_on, sets)
        rows.append({"model": model, "trained_on": None if trained_on is None else list(trained_on), "cells": row})
    notes = [noise_note({"task": name.split(" ", 1)[0], "protocol": name.split(" ", 1)[1]}) for name in columns]
    return {
        "mode": mode,
        "metric": metric,
        "columns": list(columns),
        "rows": rows,
        "notes": [note for note in notes if note],
    }


def render(found: Mapping[str, Any], form: str = "text") -> str:
    """The matrix as "text", "markdown" or "latex"."""
    header = ["model", "trained on", *found["columns"]]
    rows = []
    for row in found["rows"]:
        trained = "?" if row["trained_on"] is None else ", ".join(row["trained_on"]) or "none"
        rows.append([row["model"], trained, *(_cell(row["cells"].get(name), found["metric"]) for name in header[2:])])
    title = f"{_TITLES[found['metric']]}, {found['mode']} mode; rows: trained on, columns: tested on"
    if form == "markdown":
        return "\n\n".join([title, markdown_table(header, rows), *found["notes"]])
    if form == "latex":
        return "\n".join([*(f"% {note}" for note in [title, *found["notes"]]), latex_table(header, rows)])
    return "\n".join([title, "", text_table(header, rows), *found["notes"]])


def _cell(cell: Mapping[str, Any] | None, metric: str) -> str:
    if cell is None:
        return "–"
    return with_interval(cell, metric) + (f" {cell['kind']}" if cell["kind"] else "")


def _kind(protocol: str, trained_on: Sequence[str] | None, sets: set[str]) -> str | None:
    if trained_on is None:
        return None
    if protocol in trained_on:
        return "within"
    return "left out" if len(sets) > 2 and sets - {protocol} <= set(trained_on) else "cross"


def identity(result: Mapping[str, Any]) -> dict[str, Any]:
    """What results of one column must have in common."""
    samples = {str(row["question_id"]): row["target"] for row in result["modes"]["strict"]["samples"]}
    return {"version": result["protocol_version"], "samples": samples, "folds": "folds" in result}


def _check_same(column: str, first: Mapping[str, Any], result: Mapping[str, Any], path: Path | str) -> None:
    own = identity(result)
    for key, what in (
        ("version", "another version of the protocol"),
        ("folds", "folds where the other has none"),
        ("samples", "other samples or other labels"),
    ):
        if own[key] != first[key]:
            raise ResultError(f"{first['file']} and {path} are both of {column}, but score {what}: they do not compare")
