"""k-fold protocols (BP4D, DISFA): each fold is scored apart, then the folds' scores are averaged.

That is what the literature reports.  It is not the score of the pooled samples: F1 is not linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faba_bench import bootstrap as resampling
from faba_bench.clusters import of_results
from faba_bench.errors import BenchError, InputProblems, quote_ids
from faba_bench.label_scores import METRICS
from faba_bench.protocol import load_protocol
from faba_bench.records import Files, load_annotations
from faba_bench.result import MODES, SCHEMA_VERSION, as_groups
from faba_bench.scoring import score

ANNOTATIONS = ("annotations.json", "eval_{task}_anno.json")
ANSWERS = "answers.jsonl"


def score_folds(
    task: str,
    protocol: str,
    folders: Sequence[Path | str],
    *,
    seed: int = 0,
    bootstrap: int = 1000,
    allow_missing: bool = False,
    cluster: str | None = None,
    label_scores: bool = True,
) -> dict[str, Any]:
    """Score folders that each hold ``answers.jsonl`` and ``annotations.json``, and average.

    Instead of ``annotations.json`` a folder may hold ``eval_au_anno.json`` or ``eval_emotion_anno.json``, which
    is what ``llava-faba data convert`` writes into each fold's folder.

    Returns an output object like `faba_bench.score`'s, plus "folds" (name, n, and the three scores per
    mode).  Scores are the mean of the folds' scores; intervals resample inside each fold; per-label values
    are the mean over the folds where the label has one; samples are all folds' samples with a "fold".

    Raises `InputProblems` when an image, or a subject where records have "subject", is in two folds.
    """
    rules = load_protocol(protocol)
    files = fold_files(task, folders)
    names = [item.fold for item in files]
    _check_exclusive(task, protocol, files)
    parts = [
        score(
            task,
            protocol,
            item.annotations,
            item.answers,
            seed=seed,
            bootstrap=0,
            allow_missing=allow_missing,
            cluster=cluster,
            label_scores=label_scores,
        )
        for item in files
    ]
    fields = {part["cluster"] for part in parts}
    if len(fields) > 1:
        without = [name for name, part in zip(names, parts, strict=True) if part["cluster"] is None]
        raise BenchError(
            f"some folds name the person of their records and others do not: {', '.join(without)}; add 'subject' "
            "there, or resample samples with --cluster none"
        )
    modes = {mode: _average(mode, parts, names) for mode in MODES}
    for mode, body in modes.items():
        body |= _intervals(mode, parts, bootstrap, seed)
    warnings = [f"{name}: {text}" for name, part in zip(names, parts, strict=True) for text in part["warnings"]]
    if rules.folds and rules.folds != len(parts):
        warnings.insert(0, f"the literature averages {rules.folds} folds of {rules.title}, these are {len(parts)}")
    return {
        "schema_version": SCHEMA_VERSION,
        "task": task,
        "protocol": rules.name,
        "protocol_version": rules.version,
        "n": sum(part["n"] for part in parts),
        "seed": seed,
        "bootstrap": bootstrap,
        "cluster": parts[0]["cluster"],
        "n_clusters": sum(part["n_clusters"] for part in parts) if parts[0]["cluster"] else None,
        "n_with_thoughts": sum(part["n_with_thoughts"] for part in parts),
        "n_cut": sum(part["n_cut"] for part in parts),
        "answered_by": sorted({digest for part in parts for digest in part["answered_by"]}),
        "warnings": warnings,
        "folds": [_fold(name, part) for name, part in zip(names, parts, strict=True)],
        "label_scores": average_label_scores([part["label_scores"] for part in parts]),
        "modes": modes,
    }


def fold_files(task: str, folders: Sequence[Path | str]) -> list[Files]:
    """The inputs of each fold, which goes by its folder's name.

    Raises `BenchError` for fewer than two different folders and for one without annotations.
    """
    paths = [Path(folder) for folder in folders]
    names = [path.name or str(path) for path in paths]
    if len(set(names)) != len(names):
        names = [str(path) for path in paths]
    if len(paths) < 2 or len(set(names)) != len(names):
        raise BenchError(f"folds need at least two different folders, not {', '.join(map(str, paths))}")
    return [Files(_annotations_in(path, task), path / ANSWERS, name) for path, name in zip(paths, names, strict=True)]


def _annotations_in(folder: Path, task: str) -> Path:
    names = [name.format(task=task) for name in ANNOTATIONS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BenchError(f"{folder}: this folder of a fold holds neither {' nor '.join(names)}")


def _check_exclusive(task: str, protocol: str, files: Sequence[Files]) -> None:
    problems: list[str] = []
    for what in ("subject", "image"):
        owner: dict[str, str] = {}
        shared: dict[tuple[str, str], list[str]] = {}
        for item in files:
            records = load_annotations(item.annotations, task, load_protocol(protocol))
            for value in {getattr(record, what) for record in records} - {None}:
                if owner.setdefault(value, item.fold) != item.fold:
                    shared.setdefault((owner[value], item.fold), []).append(value)
        problems += [
            f"{what} {quote_ids(sorted(values))} in the folds {first!r} and {second!r}"
            for (first, second), values in shared.items()
        ]
    if problems:
        raise InputProblems("folds", problems, "folds must not share subjects or images")


def _average(mode: str, parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    bodies = [part["modes"][mode] for part in parts]
    body: dict[str, Any] = {key: sum(item[key] for item in bodies) for key in ("n_scored", "n_unparsed")}
    for key in ("s_re", "s_ge", "s_rege", "accuracy", "mean_class_accuracy", "macro_f1", "mean_accuracy"):
        if key in bodies[0]:
            values = [item[key] for item in bodies]
            body[key] = None if None in values else float(np.mean(values))
    body["per_label"] = {
        label: _average_label([item["per_label"][label] for item in bodies]) for label in bodies[0]["per_label"]
    }
    if "confusion" in bodies[0]:
        counts = np.sum([item["confusion"]["counts"] for item in bodies], axis=0)
        body["confusion"] = {**bodies[0]["confusion"], "counts": counts.tolist()}
    body["samples"] = [
        {**sample, "question_id": f"{name}/{sample['question_id']}", "fold": name}
        for name, item in zip(names, bodies, strict=True)
        for sample in item["samples"]
    ]
    return body


def average_label_scores(parts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The means over the folds, None unless each has scores; intervals and reliability are each fold's own."""
    if not all(parts):
        return None
    found: dict[str, Any] = {"n": sum(part["n"] for part in parts if part)}
    for name in METRICS:
        values = [part[name] for part in parts if part]
        found[name] = None if None in values else float(np.mean(values))
    return found


def _average_label(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    scored = [row for row in rows if row["status"] == "scored"]
    for key in rows[0]:
        if key == "status":
            merged[key] = "scored" if scored else rows[0][key]
        elif key in ("f1", "accuracy", "precision", "recall"):
            values = [row[key] for row in rows if row[key] is not None]
            merged[key] = float(np.mean(values)) if values else None
        else:
            merged[key] = sum(row[key] for row in rows)
    return merged


def _intervals(mode: str, parts: Sequence[Mapping[str, Any]], samples: int, seed: int) -> dict[str, Any]:
    arrays = [as_groups(part, mode, people=of_results(part))[0] for part in parts]
    if parts[0]["cluster"] and min(part.n for part in arrays) < 2:
        samples = 0  # a fold of one person: nothing to draw from, and a warning of that fold
    drawn = [resampling.resample({"fold": part}, samples, seed + number)["fold"] for number, part in enumerate(arrays)]
    return {
        f"{metric}_ci": resampling.interval(np.mean([values[metric] for values in drawn], axis=0))
        for metric in resampling.METRICS
    }


def _fold(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("n_scored", "n_unparsed", "s_re", "s_ge", "s_rege")
    modes = {mode: {key: part["modes"][mode][key] for key in keys} for mode in MODES}
    return {"name": name, "n": part["n"], "modes": modes}
