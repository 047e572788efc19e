"""Intervals."""

from __future__ import annotations

import random
from typing import Any

import faba_bench
import numpy as np
import pytest
from faba_bench.bootstrap import draw_weights
from faba_bench.errors import ResultError


def result(accuracy: float, n: int = 200, seed: int = 0, ids: str = "q") -> dict[str, Any]:
    generator = random.Random(seed)
    annotations = [{"label": "Fear", "gpt4": "He looks afraid.", "id": f"{ids}{i}"} for i in range(n)]
    answers = [
        {"question_id": f"{ids}{i}", "text": "Fear." if generator.random() < accuracy else "Joy."} for i in range(n)
    ]
    return faba_bench.score("emotion", "faba", annotations, answers, bootstrap=300)


def test_draws_are_seeded_and_bounded() -> None:
    blocks = list(draw_weights(1_500_000, 4, seed=3))
    assert [len(block) for block in blocks] == [2, 2]
    small = np.concatenate(list(draw_weights(50, 7, seed=3)))
    assert np.array_equal(small, np.concatenate(list(draw_weights(50, 7, seed=3))))
    assert not np.array_equal(small, np.concatenate(list(draw_weights(50, 7, seed=4))))
    assert (small.sum(axis=1) == 50).all()


def test_interval_holds_the_value_and_has_the_binomial_width() -> None:
    body = result(0.7)["modes"]["strict"]
    low, high = body["s_re_ci"]
    share = body["s_re"] / 100
    assert low < body["s_re"] < high
    assert high - low == pytest.approx(100 * 2 * 1.96 * (share * (1 - share) / 200) ** 0.5, rel=0.15)


def test_paired_difference_of_equal_results_is_zero() -> None:
    first = result(0.7)
    assert faba_bench.paired_bootstrap(first, first, samples=100) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_paired_difference_finds_a_real_one_and_matches_by_id_not_order() -> None:
    first, second = result(0.9, seed=1), result(0.5, seed=2)
    found = faba_bench.paired_bootstrap(first, second, mode="strict", metric="s_re", samples=500)
    expected = first["modes"]["strict"]["s_re"] - second["modes"]["strict"]["s_re"]
    assert found["value"] == pytest.approx(expected)
    assert 0 < found["low"] < found["value"] < found["high"]
    second["modes"]["strict"]["samples"].reverse()
    assert faba_bench.paired_bootstrap(first, second, mode="strict", metric="s_re", samples=500) == found


def test_pairing_makes_the_interval_narrower() -> None:
    first = result(0.5, seed=1)
    better = result(0.5, seed=1)
    for sample in better["modes"]["strict"]["samples"][:10]:
        sample["parsed"] = "Fear"
    low_high = faba_bench.paired_bootstrap(better, first, mode="strict", samples=500)
    body = first["modes"]["strict"]
    assert low_high["high"] - low_high["low"] < (body["s_re_ci"][1] - body["s_re_ci"][0]) / 2


@pytest.mark.parametrize("metric", ["s_re", "s_ge", "s_rege"])
def test_every_metric_has_a_difference_for_aus(metric: str, au_annotations: Any, au_answers: Any) -> None:
    first = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=10)
    swapped = [{**answer, "text": "AU4."} for answer in au_answers]
    second = faba_bench.score("au", "faba", au_annotations, swapped, bootstrap=10)
    for mode in ("reference", "strict"):
        found = faba_bench.paired_bootstrap(first, second, mode=mode, metric=metric, samples=50)
        bodies = first["modes"][mode], second["modes"][mode]
        assert found["value"] == pytest.approx(bodies[0][metric] - bodies[1][metric])


def test_different_ids_modes_metrics_and_targets_are_errors() -> None:
    first = result(0.5, n=5)
    with pytest.raises(ResultError, match="only in the first: 'q0'"):
        faba_bench.paired_bootstrap(first, result(0.5, n=5, ids="p"))
    with pytest.raises(ResultError, match="unknown mode"):
        faba_bench.paired_bootstrap(first, first, mode="lenient")
    with pytest.raises(ResultError, match="unknown metric"):
        faba_bench.paired_bootstrap(first, first, metric="f1")
    changed = result(0.5, n=5)
    changed["modes"]["reference"]["samples"][2]["target"] = "Anger"
    with pytest.raises(ResultError, match="different targets for question ids 'q2'"):
        faba_bench.paired_bootstrap(first, changed)
