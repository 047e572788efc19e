"""Probabilities per label: how well they rank, and whether they mean what they say.

Answers may carry ``"scores": {"AU12": 0.93, ...}`` or ``{"Happiness": 0.7, ...}``, each in [0, 1]. scikit-learn
computes ROC-AUC, average precision and the Brier score; the expected calibration error is over ten equal
bins (Guo et al. 2017).
"""

from __future__ import annotations

import math
import re
import warnings as python_warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faba_bench.aggregate import Floats
from faba_bench.bootstrap import draw_weights, interval
from faba_bench.errors import BenchError, short
from faba_bench.protocol import AUTask, EmotionTask

BINS = 10
DRAWS = 200
"""Resamples at most: an area under a curve costs a sort for each label and resample."""
_LIMIT = 200_000_000
METRICS = ("roc_auc", "pr_auc", "brier", "ece")
_AU_KEY = re.compile(r"(?:AU[ _]?)?0*([1-9][0-9]?)", re.IGNORECASE)


class LabelScores:
    """The scores of all answers as an array (samples, labels), NaN where an answer has none."""

    def __init__(self, rules: AUTask | EmotionTask, n: int) -> None:
        self.rules = rules
        self.labels: tuple[Any, ...] = rules.scored if isinstance(rules, AUTask) else rules.classes
        self.values = np.full((0, len(self.labels)), np.nan, dtype=np.float32)
        self._n = n

    def add(self, index: int, scores: object, place: str, problems: list[str]) -> None:
        """Take the scores of sample `index`; what is wrong with them goes to `problems`."""
        if scores is None:
            return
        if not isinstance(scores, Mapping):
            problems.append(f"{place}: 'scores' must be an object of label and number, not {short(scores)}")
            return
        if not len(self.values):
            self.values = np.full((self._n, len(self.labels)), np.nan, dtype=np.float32)
        seen: set[Any] = set()
        for key, value in scores.items():
            label = self._label(key)
            if label is None:
                problems.append(f"{place}: 'scores' names {short(key)}, which is no label of the protocol")
            elif label in seen:
                problems.append(f"{place}: 'scores' names {short(key)} twice")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                problems.append(f"{place}: the score of {short(key)} must be a number from 0 to 1, not {short(value)}")
            else:
                seen.add(label)
                if label in self.labels:
                    self.values[index, self.labels.index(label)] = value

    def _label(self, key: object) -> Any:
        text = str(key).strip()
        if isinstance(self.rules, AUTask):
            match = _AU_KEY.fullmatch(text)
            return int(match[1]) if match and int(match[1]) in self.rules.vocabulary else None
        names = {name.lower(): name for name in self.rules.classes}
        return names.get(text.lower()) or self.rules.aliases.get(text.lower())


def measure(
    scores: LabelScores,
    targets: Sequence[Any],
    *,
    units: npt.NDArray[np.int64] | None = None,
    draws: int = 0,
    seed: int = 0,
) -> tuple[dict[str, Any] | None, list[str]]:
    """The section "label_scores" of a result, None where no answer has scores, and warnings.

    Per label over the samples that have its score: "n", "support", "mean_score", and "roc_auc", "pr_auc", "brier",
    "ece" (fractions; None without both kinds of samples). The means are over labels; "_ci" are their 95% intervals from
    at most `DRAWS` resamples of samples or of `units`. "reliability" pools all labels.
    """
    if not len(scores.values):
        return None, []
    known = ~np.isnan(scores.values)
    truth = _truth(scores, targets)
    rows = {
        str(label): _label_row(truth[known[:, column], column], scores.values[known[:, column], column])
        for column, label in enumerate(scores.labels)
    }
    used = [column for column, row in enumerate(rows.values()) if row["roc_auc"] is not None]
    found: dict[str, Any] = {"n": int(known.any(axis=1).sum()), "per_label": rows}
    for name in METRICS:
        values = [row[name] for row in rows.values() if row["roc_auc"] is not None]
        found[name] = float(np.mean(values)) if values else None
    notes = _notes(scores, known, rows)
    limits, note = _intervals(truth, scores.values, known, used, units, min(draws, DRAWS), seed)
    found |= {f"{name}_ci": limits[name] for name in METRICS}
    found["reliability"] = reliability(truth[known], scores.values[known])
    return found, [*notes, *([note] if note else [])]


def reliability(truth: npt.NDArray[np.bool_], values: npt.NDArray[np.float32]) -> dict[str, list[Any]]:
    """Per bin of ten that holds a score: "mean_score", "share_true" (scikit-learn's calibration_curve), "count"."""
    curve = _sklearn().calibration.calibration_curve
    share, mean = curve(truth, values, n_bins=BINS) if len(values) else ([], [])
    counts = np.bincount(_bin(values), minlength=BINS)
    return {
        "mean_score": [float(value) for value in mean],
        "share_true": [float(value) for value in share],
        "count": [int(count) for count in counts if count],
    }


def ece(truth: npt.NDArray[np.bool_], values: npt.NDArray[Any], weights: Floats | None = None) -> float:
    """Expected calibration error: the mean distance of share and mean score per bin, by how many scores it holds."""
    weights = np.ones(len(values)) if weights is None else weights
    place = _bin(values)
    gaps = np.bincount(place, weights * (truth.astype(np.float64) - values.astype(np.float64)), minlength=BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _bin(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Each score's bin, as scikit-learn's calibration_curve has it: up to and with its upper end."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return np.asarray(np.searchsorted(edges[1:-1], values), dtype=np.int64)


def _truth(scores: LabelScores, targets: Sequence[Any]) -> npt.NDArray[np.bool_]:
    truth = np.zeros(scores.values.shape, dtype=np.bool_)
    place = {label: column for column, label in enumerate(scores.labels)}
    for index, target in enumerate(targets):
        for label in [target] if isinstance(target, str) else target:
            if label in place:
                truth[index, place[label]] = True
    return truth


def _label_row(truth: npt.NDArray[np.bool_], values: npt.NDArray[np.float32]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "n": len(values),
        "support": int(truth.sum()),
        "mean_score": float(values.mean()) if len(values) else None,
    }
    if not 0 < row["support"] < row["n"]:
        return row | dict.fromkeys(METRICS)
    return row | _four(truth, values)


def _four(truth: npt.NDArray[np.bool_], values: npt.NDArray[np.float32], weights: Floats | None = None) -> Any:
    metrics = _sklearn().metrics
    return {
        "roc_auc": float(metrics.roc_auc_score(truth, values, sample_weight=weights)),
        "pr_auc": float(metrics.average_precision_score(truth, values, sample_weight=weights)),
        "brier": float(metrics.brier_score_loss(truth, values, sample_weight=weights)),
        "ece": ece(truth, values, weights),
    }


def _intervals(
    truth: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    used: Sequence[int],
    units: npt.NDArray[np.int64] | None,
    draws: int,
    seed: int,
) -> tuple[dict[str, list[float] | None], str]:
    nothing: dict[str, list[float] | None] = dict.fromkeys(METRICS)
    n = len(values) if units is None else int(units.max()) + 1
    if not draws or not used or n < 2:
        return nothing, ""
    if draws * values.size > _LIMIT:
        return nothing, f"label scores: no intervals, {values.size} scores are too many to resample"
    means: dict[str, list[float]] = {name: [] for name in METRICS}
    for block in draw_weights(n, draws, seed):
        for row in block:
            weights = row if units is None else row[units]
            for name, value in _mean(truth, values, known, used, weights).items():
                means[name].append(value)
    return {name: interval(np.array(numbers)) for name, numbers in means.items()}, ""


def _mean(
    truth: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    used: Sequence[int],
    weights: Floats,
) -> dict[str, float]:
    """The four means of one resample, over the labels that it holds both kinds of samples of; NaN without one."""
    rows = []
    for column in used:
        drawn = known[:, column] & (weights > 0)
        positive = truth[drawn, column]
        if 0 < positive.sum() < len(positive):
            rows.append(_four(positive, values[drawn, column], weights[drawn]))
    return {name: float(np.mean([row[name] for row in rows])) if rows else math.nan for name in METRICS}


def _notes(scores: LabelScores, known: npt.NDArray[np.bool_], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    notes = []
    lacking = int((~known.any(axis=1)).sum())
    if lacking:
        notes.append(f"label scores: {lacking} of {len(known)} answers have none; the measures are of the others")
    some = [label for label, row in rows.items() if row["n"] < known.any(axis=1).sum()]
    if some:
        notes.append(f"label scores: some answers that have scores have none for {', '.join(some)}")
    single = [label for label, row in rows.items() if row["n"] and row["roc_auc"] is None]
    if single:
        notes.append(f"label scores: {', '.join(single)} always or never true, so without ROC-AUC and out of the means")
    if isinstance(scores.rules, EmotionTask):
        whole = known.all(axis=1)
        off = int((np.abs(scores.values[whole].sum(axis=1) - 1.0) > 0.02).sum())
        if off:
            notes.append(
                f"label scores: those of {off} answers do not add up to 1, though the classes exclude each other"
            )
    return notes


def _sklearn() -> Any:
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            import sklearn.calibration
            import sklearn.metrics
    except ImportError as error:
        raise BenchError(
            "the answers hold scores per label, which scikit-learn measures: pip install 'llava-faba[science]', or "
            "leave them out with --no-label-scores"
        ) from error
    return sklearn
