"""From parsed samples to tables and means; no text is read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_CHUNK = 1 << 16


@dataclass(frozen=True)
class AUCounts:
    """Counts per AU, arrays of shape (..., labels); `n` (..., 1) is the number of samples."""

    true_positives: Floats
    predicted: Floats
    support: Floats
    n: Floats

    @property
    def f1(self) -> Floats:
        """Binary F1 per AU, 0 without a true positive."""
        total = self.predicted + self.support
        safe = np.where(total > 0, total, 1.0)
        return np.where(self.true_positives > 0, 2.0 * self.true_positives / safe, 0.0)

    def in_mean(self, mode: str) -> npt.NDArray[np.bool_]:
        """Which AUs enter the mean: see `au_status`."""
        if mode == "strict":
            return np.asarray(self.support > 0, dtype=np.bool_)
        silent = (self.predicted == 0) & (self.support == 0)
        always = (self.true_positives == self.n) & (self.n > 0)
        return np.asarray(~(silent | always), dtype=np.bool_)

    def macro_f1(self, mode: str) -> Floats:
        """Mean F1 over the AUs that enter it, shape (...), as a fraction; nan when none does."""
        used = self.in_mean(mode)
        count = used.sum(axis=-1)
        total = np.where(used, self.f1, 0.0).sum(axis=-1)
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def au_indicator(rows: Sequence[Sequence[int]], labels: Sequence[int]) -> npt.NDArray[np.bool_]:
    """A boolean matrix (samples, labels): which of the labels each row names."""
    column = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(rows), len(labels)), dtype=bool)
    for row, numbers in enumerate(rows):
        for number in numbers:
            index = column.get(number)
            if index is not None:
                matrix[row, index] = True
    return matrix


def au_status(tp: int, predicted: int, support: int, n: int, mode: str) -> str:
    """ "scored", or why an AU's F1 stays out of the mean.

    Reference mode: "dropped" when no sample has the AU in either column or all have it in both, as the
    authors' code drops it.  Strict mode: "undefined" when the annotations hold no positive.
    """
    if mode == "strict":
        return "scored" if support else "undefined"
    return "dropped" if predicted == support == tp and tp in (0, n) else "scored"


def au_table(
    parsed: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_], labels: Sequence[int], mode: str
) -> dict[str, dict[str, Any]]:
    """Per AU: `f1`, `accuracy`, `precision`, `recall` (fractions or None), counts, `support`, `status`."""
    n = len(parsed)
    table: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(labels):
        guess, truth = parsed[:, index], target[:, index]
        tp = int((guess & truth).sum())
        fp = int(guess.sum()) - tp
        fn = int(truth.sum()) - tp
        status = au_status(tp, tp + fp, tp + fn, n, mode)
        precision = tp / (tp + fp) if tp + fp else None
        recall = tp / (tp + fn) if tp + fn else None
        table[str(label)] = {
            "f1": _f1(precision, recall) if status == "scored" else None,
            "accuracy": (n - fp - fn) / n if n else None,
            "precision": precision,
            "recall": recall,
            "support": tp + fn,
            "predicted": tp + fp,
            "true_positives": tp,
            "false_positives": fp,
            "false_negatives": fn,
            "status": status,
        }
    return table


def emotion_table(
    parsed: Sequence[str | None],
    target: Sequence[str],
    classes: Sequence[str],
    mode: str,
    strangers: Sequence[str] = (),
) -> dict[str, Any]:
    """`per_label`, `confusion` (rows: targets), `accuracy`, `mean_class_accuracy`, `macro_f1`; fractions.

    `strangers` are classes that an answer may give though the protocol lacks them: always wrong, with columns of
    their own.

    In reference mode samples without a class are left out; in strict mode they count as wrong and have a
    column of their own, "unparsed".
    """
    columns = [*classes, *strangers, "unparsed"]
    place = {name: index for index, name in enumerate(columns)}
    counts = np.zeros((len(classes), len(columns)), dtype=np.int64)
    for guess, truth in zip(parsed, target, strict=True):
        if guess is None and mode == "reference":
            continue
        counts[place[truth], place[guess or "unparsed"]] += 1
    per_label: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(classes):
        correct = int(counts[index, index])
        support = int(counts[index].sum())
        predicted = int(counts[:, index].sum())
        recall = correct / support if support else None
        precision = correct / predicted if predicted else None
        per_label[name] = {
            "accuracy": recall,
            "f1": _f1(precision, recall) if support else None,
            "precision": precision,
            "recall": recall,
            "support": support,
            "predicted": predicted,
            "correct": correct,
            "status": "scored" if support else "undefined",
        }
    total = int(counts.sum())
    return {
        "per_label": per_label,
        "confusion": {"rows": list(classes), "columns": columns, "counts": counts.tolist()},
        "accuracy": int(np.trace(counts)) / total if total else None,
        "mean_class_accuracy": mean_or_none([row["recall"] for row in per_label.values()]),
        "macro_f1": mean_or_none([row["f1"] for row in per_label.values()]),
    }


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """numpy's mean (the authors' summation order) of the values that are there; None when none is."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def percent(fraction: float | None) -> float | None:
    """A fraction in percent, None stays None."""
    return None if fraction is None else 100.0 * fraction


def _f1(precision: float | None, recall: float | None) -> float:
    # This order of operations is the one whose last bit agrees with the authors' numbers.
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


class Samples:
    """The samples of one mode as arrays, ready to be weighted: what the bootstrap resamples.

    A unit is what is drawn: a sample, or all samples of a person where `units` (samples,) gives each sample the number
    of its unit, counted from 0. Weights say how often each unit was drawn: an array (resamples, n).
    """

    def __init__(
        self,
        task: str,
        mode: str,
        samples: Sequence[Mapping[str, Any]],
        labels: Sequence[Any],
        units: npt.NDArray[np.int64] | None = None,
        count: int | None = None,
    ) -> None:
        self.task = task
        self.mode = mode
        self.n = len(samples)
        self._size = np.ones(self.n)
        rouge = [sample["rouge_l"] for sample in samples]
        self._has_rouge = np.array([value is not None for value in rouge], dtype=np.float64)
        self._rouge = np.array([value or 0.0 for value in rouge], dtype=np.float64)
        if task == "au":
            guess = au_indicator([sample["parsed"] for sample in samples], labels)
            truth = au_indicator([sample["target"] for sample in samples], labels)
            stacked = np.concatenate([guess & truth, guess, truth], axis=1)
            self._au: npt.NDArray[Any] = stacked  # as booleans: a million samples take 30 MB instead of 240
        else:
            parsed = [sample["parsed"] for sample in samples]
            scored = [mode == "strict" or value is not None for value in parsed]
            self._scored = np.array(scored, dtype=np.float64)
            hits = [sample["parsed"] == sample["target"] for sample in samples]
            self._correct = np.array(hits, dtype=np.float64)
        if units is not None:
            self._gather(units, count)

    def _gather(self, units: npt.NDArray[np.int64], count: int | None) -> None:
        """Sum over the samples of each unit, of `count` units: all that the metrics need is sums."""
        self.n = count if count is not None else int(units.max()) + 1 if len(units) else 0
        for name in ("_size", "_rouge", "_has_rouge", "_au", "_correct", "_scored"):
            values = getattr(self, name, None)
            if values is not None:
                sums = np.zeros((self.n, *values.shape[1:]))
                np.add.at(sums, units, values)
                setattr(self, name, sums)

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """`s_re`, `s_ge`, `s_rege` in percent, each (resamples,); nan where a resample has no value."""
        s_re = self._recognition(weights)
        s_ge = 100.0 * _ratio(weights @ self._rouge, weights @ self._has_rouge)
        return {"s_re": s_re, "s_ge": s_ge, "s_rege": s_re + s_ge}

    def _recognition(self, weights: Floats) -> Floats:
        if self.task == "emotion":
            return 100.0 * _ratio(weights @ self._correct, weights @ self._scored)
        totals = np.zeros((len(weights), self._au.shape[1]))
        for start in range(0, self.n, _CHUNK):
            totals += weights[:, start : start + _CHUNK] @ self._au[start : start + _CHUNK].astype(np.float64)
        hits, predicted, support = np.split(totals, 3, axis=1)
        counts = AUCounts(hits, predicted, support, (weights @ self._size)[:, None])
        return 100.0 * counts.macro_f1(self.mode)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
