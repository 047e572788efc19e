"""Percentile bootstrap over samples, seeded.

The test sets have 325 and 403 samples, so differences of a few points are often chance: the intervals say
so.  Resampling draws whole samples with replacement; macro F1 is recomputed on each resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from faba_bench.aggregate import Floats, Samples
from faba_bench.errors import ResultError

METRICS = ("s_re", "s_ge", "s_rege")
_CELLS = 4_000_000


def draw_weights(n: int, samples: int, seed: int) -> Iterator[Floats]:
    """Yield blocks (resamples, n) of how often each of `n` samples was drawn; `samples` rows in all.

    Blocks hold at most four million numbers, whatever `n` is.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // max(n, 1))
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        block = np.empty((count, n), dtype=np.float64)
        for row in range(count):
            block[row] = np.bincount(generator.integers(0, n, size=n), minlength=n)
        yield block


def intervals(modes: Mapping[str, Samples], samples: int, seed: int) -> dict[str, dict[str, list[float] | None]]:
    """95% intervals per mode and metric, in percent; None for `samples` = 0 or without any value.

    All modes and metrics are computed on the same resamples.
    """
    drawn = resample(modes, samples, seed)
    return {mode: {name: interval(drawn[mode][name]) for name in METRICS} for mode in modes}


def interval(values: Floats, level: float = 0.95) -> list[float] | None:
    """The percentile interval of resampled values; nan (a resample without a value) is left out."""
    present = values[~np.isnan(values)]
    if not len(present):
        return None
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(present, [tail, 100.0 - tail])
    return [float(low), float(high)]


def paired_bootstrap(
    result_a: Mapping[str, Any],
    result_b: Mapping[str, Any],
    *,
    mode: str = "reference",
    metric: str = "s_re",
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Difference a - b of two results in percentage points, with its 95% interval.

    Both are output objects of `faba_bench.score` for the same task and protocol; samples are matched by
    question id, and the same draws are applied to both.  `metric` is ``s_re``, ``s_ge`` or ``s_rege``.

    Returns ``{"value", "low", "high"}``.  Raises `ResultError` when ids, targets, task or protocol differ,
    or when the metric has no value in one of them.
    """
    from faba_bench.result import as_samples, check_comparable

    if metric not in METRICS:
        raise ResultError(f"unknown metric {metric!r}: it is one of {', '.join(METRICS)}")
    check_comparable(result_a, result_b, mode)
    pair = {"a": as_samples(result_a, mode), "b": as_samples(result_b, mode, like=result_a)}
    every_once = np.ones((1, pair["a"].n))
    value = float((pair["a"].metrics(every_once)[metric] - pair["b"].metrics(every_once)[metric])[0])
    if np.isnan(value):
        raise ResultError(f"{metric} in {mode} mode has no value in one of the results")
    drawn = resample(pair, samples, seed)
    bounds = interval(drawn["a"][metric] - drawn["b"][metric]) or [float("nan"), float("nan")]
    return {"value": value, "low": bounds[0], "high": bounds[1]}


def resample(modes: Mapping[str, Samples], samples: int, seed: int) -> dict[str, dict[str, Floats]]:
    """Each mode's metrics on the same resamples: mode -> metric -> (samples,), in percent."""
    sizes = {arrays.n for arrays in modes.values()}
    if len(sizes) != 1:
        raise ResultError(f"cannot resample together: the sample counts differ, {sorted(sizes)}")
    parts: dict[str, dict[str, list[Floats]]] = {mode: {name: [] for name in METRICS} for mode in modes}
    for weights in draw_weights(sizes.pop(), samples, seed):
        for mode, arrays in modes.items():
            for name, values in arrays.metrics(weights).items():
                parts[mode][name].append(values)
    return {mode: {name: _joined(values) for name, values in by_name.items()} for mode, by_name in parts.items()}


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0)
