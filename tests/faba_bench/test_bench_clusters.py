"""Intervals by person: what they draw, how well they cover, and what is said where nobody knows the people."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import faba_bench
import jsonschema
import numpy as np
import pytest
from faba_bench.aggregate import Samples
from faba_bench.bootstrap import detectable, interval, resample
from faba_bench.cli import main
from faba_bench.clusters import units
from faba_bench.compare import compare, render
from faba_bench.errors import InputProblems, ResultError
from faba_bench.folds import score_folds

SCHEMA = json.loads((Path(faba_bench.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))


def crowd(people: int, frames: int, seed: int, spread: float = 0.2) -> tuple[Samples, Samples, np.ndarray]:
    """The same right and wrong answers as single samples and as people; whose each is. True accuracy is 0.5."""
    generator = np.random.default_rng(seed)
    shape = 0.5 * (0.25 / spread**2 - 1)
    chance = generator.beta(shape, shape, size=people)  # mean 0.5, standard deviation `spread`
    right = generator.random((people, frames)) < chance[:, None]
    rows = [{"parsed": "Fear" if hit else "Anger", "target": "Fear", "rouge_l": None} for hit in right.ravel()]
    owner = np.repeat(np.arange(people), frames)
    classes = ["Fear", "Anger"]
    return Samples("emotion", "strict", rows, classes), Samples("emotion", "strict", rows, classes, owner), right


def bounds(samples: Samples, draws: int = 300, seed: int = 0) -> tuple[float, float]:
    low, high = interval(resample({"m": samples}, draws, seed)["m"]["s_re"]) or (0.0, 0.0)
    return low, high


def test_41_people_of_1000_frames_have_an_interval_several_times_as_wide_as_frames_say() -> None:
    frames, people, right = crowd(41, 1000, seed=1)
    narrow, wide = bounds(frames), bounds(people)
    ratio = (wide[1] - wide[0]) / (narrow[1] - narrow[0])
    assert ratio > 6
    # Independently: the cluster-robust (sandwich) standard error of a mean.
    error = np.sqrt(((right.sum(axis=1) - 1000 * right.mean()) ** 2).sum()) / right.size
    assert wide[1] - wide[0] == pytest.approx(100 * 2 * 1.96 * error, rel=0.15)


def test_intervals_by_person_cover_the_truth_and_those_by_frame_do_not() -> None:
    covered = {"frames": 0, "people": 0}
    trials = 200
    for trial in range(trials):
        frames, people, _ = crowd(41, 25, seed=trial)
        for name, samples in (("frames", frames), ("people", people)):
            low, high = bounds(samples, draws=200, seed=trial)
            covered[name] += low <= 50.0 <= high
    assert 0.90 <= covered["people"] / trials <= 0.98
    assert covered["frames"] / trials < 0.70


def test_intervals_equal_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    _, people, right = crowd(30, 20, seed=5)
    ours = bounds(people, draws=4000)
    theirs = stats.bootstrap(
        (100 * right.mean(axis=1),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.6)


def records(people: int = 20, frames: int = 6, field: str = "subject") -> list[dict[str, Any]]:
    return [
        {"label": "Fear", "gpt4": "He looks afraid.", "id": f"{p}-{f}", field: p, "image": f"{p}/{f:04d}.png"}
        for p in range(people)
        for f in range(frames)
    ]


def answers(annotations: list[dict[str, Any]], right: int, field: str = "subject") -> list[dict[str, Any]]:
    """People below `right` are always answered rightly, others never."""
    return [{"question_id": r["id"], "text": "Fear." if int(r[field]) < right else "Anger."} for r in annotations]


def scored(right: int = 10, **options: Any) -> dict[str, Any]:
    annotations = records()
    return faba_bench.score("emotion", "faba", annotations, answers(annotations, right), bootstrap=200, **options)


def test_subject_is_used_where_it_is_there() -> None:
    result, alone = scored(), scored(cluster="none")
    jsonschema.validate(result, SCHEMA)
    jsonschema.validate(alone, SCHEMA)
    assert (result["cluster"], result["n_clusters"]) == ("subject", 20)
    assert (alone["cluster"], alone["n_clusters"]) == (None, None)
    widths = [np.diff(part["modes"]["strict"]["s_re_ci"])[0] for part in (result, alone)]
    assert widths[0] > 2 * widths[1]
    assert result["modes"]["strict"]["samples"][7]["cluster"] == "1"
    assert not result["warnings"] and not any("subject" in text for text in alone["warnings"])


def test_another_field_can_be_named_and_must_be_everywhere() -> None:
    annotations = records(field="video")
    result = faba_bench.score("emotion", "faba", annotations, answers(annotations, 10, "video"), cluster="video")
    assert (result["cluster"], result["n_clusters"]) == ("video", 20)
    del annotations[3]["video"]
    with pytest.raises(InputProblems, match="1 of 120 records have no 'video': '0-3'"):
        faba_bench.score("emotion", "faba", annotations, [], cluster="video")


def test_7_and_text_7_and_spaces_are_one_person_and_blank_is_nobody() -> None:
    values = [7, "7", " 7 ", 7.0, "", None, float("nan")]
    annotations = [{**record, "subject": value} for record, value in zip(records(), values, strict=False)]
    result = faba_bench.score(
        "emotion", "faba", annotations, [{"question_id": r["id"], "text": "Fear."} for r in annotations], bootstrap=10
    )
    assert result["n_clusters"] == 4
    assert any("3 of 7 records have no subject" in text for text in result["warnings"])
    with pytest.raises(InputProblems, match="'subject' must be a text or a number"):
        faba_bench.score("emotion", "faba", [{**records()[0], "subject": ["a"]}], [])


def test_units_are_dense() -> None:
    assert units(["b", None, "a", "b", None]).tolist() == [0, 1, 2, 0, 3]


def test_one_person_has_no_interval_and_few_have_a_warning() -> None:
    annotations = records(people=1)
    result = faba_bench.score("emotion", "faba", annotations, answers(annotations, 1), bootstrap=50)
    assert result["modes"]["strict"]["s_re_ci"] is None
    assert any("no interval can be had" in text for text in result["warnings"])
    with pytest.raises(ResultError, match="one person"):
        faba_bench.paired_bootstrap(result, result)
    assert "[no interval]" in render(compare({"a": result, "b": result}, samples=5))
    few = records(people=5)
    texts = faba_bench.score("emotion", "faba", few, answers(few, 1), bootstrap=50)["warnings"]
    assert any("draw 5 values of 'subject'" in text for text in texts)


@pytest.mark.parametrize(
    ("protocol", "images", "warns"),
    [
        ("faba", [f"SN{s:03d}/{f:05d}.png" for s in range(3) for f in range(9)], True),
        ("faba", [f"P{s}_T{t}_{f}.jpg" for s in range(3) for t in range(2) for f in range(9)], True),
        ("faba", [f"frame_{f:04d}.jpg" for f in range(20)], True),
        ("faba", [f"test_{f:04d}_aligned.jpg" for f in range(20)], False),
        ("faba", [f"{f}.png" for f in range(20)], False),
        ("faba", [f"fear/{f}.png" for f in range(9)], False),
        ("faba", [f"images/{f * 7919:x}.png" for f in range(20)], False),
    ],
)
def test_video_frames_without_people_are_told(protocol: str, images: list[str], warns: bool) -> None:
    annotations = [{"label": "Fear", "gpt4": "Afraid.", "image": image} for image in images]
    found = faba_bench.score(
        "emotion", protocol, annotations, [{"question_id": i, "text": "Fear."} for i in range(len(images))], bootstrap=0
    )
    assert any("frames of videos" in text for text in found["warnings"]) is warns


def test_sets_known_to_be_videos_are_told_whatever_their_names() -> None:
    annotations = [{"label": "1", "image": "a.png"}, {"label": "2", "image": "b.png"}]
    result = faba_bench.score("au", "disfa", annotations, [{"question_id": i, "text": "AU1"} for i in (0, 1)])
    assert any("DISFA is made of frames of videos" in text for text in result["warnings"])


def test_pairs_are_drawn_by_person_also_with_a_result_of_before() -> None:
    first, second = scored(12), scored(8)
    old = {key: value for key, value in copy.deepcopy(second).items() if key not in ("cluster", "n_clusters")}
    for body in old["modes"].values():
        for sample in body["samples"]:
            del sample["cluster"]
    found = faba_bench.paired_bootstrap(first, second, mode="strict", samples=300)
    assert faba_bench.paired_bootstrap(first, old, mode="strict", samples=300) == found
    lone = scored(12, cluster="none"), scored(8, cluster="none")
    by_frame = faba_bench.paired_bootstrap(*lone, mode="strict", samples=300)
    assert found["high"] - found["low"] > 2 * (by_frame["high"] - by_frame["low"])
    assert found["value"] == by_frame["value"]


def test_people_that_differ_are_an_error() -> None:
    first, second = scored(), scored()
    second["modes"]["strict"]["samples"][4]["cluster"] = "somebody"
    with pytest.raises(ResultError, match="different people for question ids '0-4'"):
        faba_bench.paired_bootstrap(first, second)
    second["cluster"] = "video"
    with pytest.raises(ResultError, match="'subject' and the other by 'video'"):
        faba_bench.paired_bootstrap(first, second)


def test_compare_says_what_it_drew_and_the_smallest_difference() -> None:
    text = render(compare({"a": scored(12), "b": scored(8)}, samples=200))
    assert "over the same values of 'subject'" in text
    assert "Smallest difference of b to a that this test set could show" in text


def test_detectable_is_what_a_power_analysis_gives() -> None:
    drawn = np.random.default_rng(0).normal(3.0, 2.0, size=20_000)
    # statistics.NormalDist: quantiles of 0.975 and 0.8
    from statistics import NormalDist

    expected = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) * 2.0
    assert detectable(drawn) == pytest.approx(expected, rel=0.02)
    assert detectable(np.zeros(50)) is None


def fold(folder: Path, people: list[str], subjects: bool = True) -> Path:
    folder.mkdir()
    rows = [
        {"label": "1", "image": f"{person}/{i}.png", **({"subject": person} if subjects else {})}
        for person in people
        for i in range(4)
    ]
    (folder / "annotations.json").write_text(json.dumps(rows))
    lines = [{"question_id": i, "text": "AU1" if i % 8 < 4 else "AU2"} for i in range(len(rows))]
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_folds_draw_people_inside_each_fold(tmp_path: Path) -> None:
    folders = [fold(tmp_path / f"f{k}", [f"{k}{name}" for name in "abcdef"]) for k in range(3)]
    result = score_folds("au", "disfa", folders, bootstrap=200)
    jsonschema.validate(result, SCHEMA)
    assert (result["cluster"], result["n_clusters"]) == ("subject", 18)
    alone = score_folds("au", "disfa", folders, bootstrap=200, cluster="none")
    widths = [np.diff(part["modes"]["strict"]["s_re_ci"])[0] for part in (result, alone)]
    assert widths[0] > 1.5 * widths[1]


def test_folds_with_and_without_people_do_not_mix_and_one_person_has_no_interval(tmp_path: Path) -> None:
    many = [fold(tmp_path / f"f{k}", [f"{k}{name}" for name in "ab"]) for k in range(2)]
    with pytest.raises(faba_bench.BenchError, match="others do not: unnamed"):
        score_folds("au", "disfa", [*many, fold(tmp_path / "unnamed", ["x", "y"], subjects=False)])
    lone = score_folds("au", "disfa", [*many, fold(tmp_path / "single", ["z"])], bootstrap=20)
    assert lone["modes"]["strict"]["s_re_ci"] is None


def test_the_command_takes_a_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = records(field="video")
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    lines = answers(annotations, 10, "video")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["score", "--task", "emotion", "--protocol", "faba", "--annotations", str(tmp_path / "a.json")]
    command += ["--answers", str(tmp_path / "b.jsonl"), "--bootstrap", "20", "--json"]
    assert main([*command, "--cluster", "video"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == "video"
    assert main([*command, "--cluster", "nothing"]) == 2
    assert "have no 'nothing'" in capsys.readouterr().err
