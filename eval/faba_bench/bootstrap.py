"""Percentile bootstrap over samples, or over people, seeded.

The test sets have 325 and 403 samples, so differences of a few points are often chance: the intervals say
so.  Resampling draws whole samples with replacement, and all samples of a person at once where the person is known
(`faba_bench.clusters`); macro F1 is recomputed on each resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from faba_bench.aggregate import Floats, Samples
from faba_bench.errors import BenchError, ResultError

METRICS = ("s_re", "s_ge", "s_rege")
_CELLS = 4_000_000


def check_draws(samples: int, seed: int, least: int = 0) -> None:
    """Raise `BenchError` for a number of resamples or a seed that cannot be."""
    if samples < least:
        raise BenchError(f"the number of resamples must be {least} or more, not {samples}")
    if seed < 0:
        raise BenchError(f"the seed must be 0 or more, not {seed}")


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

    Both are output objects of `faba_bench.score` (or `score_folds`) for the same task and protocol; samples
    are matched by question id, and the same draws are applied to both: of people where either result knows them
    ("cluster").  Folds are resampled apart and their differences averaged.  `metric` is ``s_re``, ``s_ge`` or
    ``s_rege``.

    Returns ``{"value", "low", "high"}``.  Raises `ResultError` when ids, targets, task, protocol or the people differ,
    when all samples are of one person, or when the metric has no value in one of them.
    """
    value, drawn = paired_draws(result_a, result_b, mode=mode, metric=metric, samples=samples, seed=seed)
    bounds = interval(drawn)
    if bounds is None:
        raise ResultError(f"{metric} in {mode} mode has no value in any resample")
    return {"value": value, "low": bounds[0], "high": bounds[1]}


def detectable(drawn: Floats) -> float | None:
    """The smallest true difference, in points, that a test set shows with 80% power at the 5% level (two-sided).

    `drawn` are resampled differences: their standard error times 1.960 + 0.842 (normal quantiles). None where the two
    results answer all alike, so that nothing varies.
    """
    present = drawn[~np.isnan(drawn)]
    error = float(np.std(present, ddof=1)) if len(present) > 1 else 0.0
    return (1.9600 + 0.8416) * error if error > 0 else None


def paired_draws(
    result_a: Mapping[str, Any], result_b: Mapping[str, Any], *, mode: str, metric: str, samples: int, seed: int
) -> tuple[float, Floats]:
    """The difference a - b, and the resampled differences (samples,) that the interval is taken from."""
    from faba_bench.clusters import OnePerson, of_results
    from faba_bench.result import as_groups, check_comparable

    if metric not in METRICS:
        raise ResultError(f"unknown metric {metric!r}: it is one of {', '.join(METRICS)}")
    check_draws(samples, seed, least=1)
    check_comparable(result_a, result_b, mode)
    people = of_results(result_a, result_b)
    groups = (
        as_groups(result_a, mode, people=people),
        as_groups(result_b, mode, like=result_a, people=people),
    )
    pairs = list(zip(*groups, strict=True))
    if people and min(pair[0].n for pair in pairs) < 2:
        raise OnePerson("all samples (of a fold) are of one person: there is nothing to resample, and no interval")
    value = float(np.mean([_difference(pair, np.ones((1, pair[0].n)), metric)[0] for pair in pairs]))
    if np.isnan(value):
        raise ResultError(f"{metric} in {mode} mode has no value in one of the results")
    drawn = []
    for number, (first, second) in enumerate(pairs):
        part = resample({"a": first, "b": second}, samples, seed + number)
        drawn.append(part["a"][metric] - part["b"][metric])
    return value, np.mean(drawn, axis=0)


def _difference(pair: tuple[Samples, Samples], weights: Floats, metric: str) -> Floats:
    return pair[0].metrics(weights)[metric] - pair[1].metrics(weights)[metric]


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
