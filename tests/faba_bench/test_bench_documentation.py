"""What docs/benchmark.md says of answers is what the scorer does."""

from __future__ import annotations

import re
from pathlib import Path

import faba_bench
import pytest
from faba_bench.reference import au as reference_au
from faba_bench.reference import emotion as reference_emotion
from faba_bench.strict import au as strict_au
from faba_bench.strict import emotion as strict_emotion

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
EMOTIONS = faba_bench.load_protocol("faba").emotion.classes
AUS = faba_bench.load_protocol("faba").au.vocabulary


def rows(header: str) -> list[list[str]]:
    """The cells of the table that begins with this header."""
    lines = PAGE[PAGE.index(header) :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def numbers(cell: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"[0-9]+", cell)]


@pytest.mark.parametrize(("answer", "reference", "strict", "why"), rows("| answer | reference | strict | why |"))
def test_the_table_of_the_two_modes(answer: str, reference: str, strict: str, why: str) -> None:
    if strict in EMOTIONS:
        assert (reference_emotion.read_emotion(answer).value or "unscored") == reference
        assert strict_emotion.read_emotion(answer, EMOTIONS).value == strict
    else:
        assert list(reference_au.read_aus(answer, AUS).value) == numbers(reference)
        assert sorted(strict_au.read_aus(answer, AUS).value) == numbers(strict)


def test_the_worked_example() -> None:
    table = rows("| record | label | reference text | answer |")
    annotations = [{"label": label, "gpt4": text} for _, label, text, *_ in table]
    answers = [{"question_id": row[0], "text": "" if row[3] == "(empty)" else row[3]} for row in table]
    modes = faba_bench.score("au", "faba", annotations, answers, bootstrap=0)["modes"]
    for mode, column in (("reference", 4), ("strict", 5)):
        assert [sample["parsed"] for sample in modes[mode]["samples"]] == [numbers(row[column]) for row in table]
    text = PAGE[PAGE.index("Both modes: AU1 has F1 1") :].split("\n\n", 1)[0].replace("\n", " ")
    assert f"S_re is (1 + 0.667 + 0 + 1) / 4 = {modes['strict']['s_re']:.2f} in both" in text
    assert modes["reference"]["s_re"] == pytest.approx(modes["strict"]["s_re"])
    for mode in ("reference", "strict"):
        assert f"S_ge is {modes[mode]['s_ge']:.2f} and REGE {modes[mode]['s_rege']:.2f}" in text
    assert [f"{sample['rouge_l'] or 0:.3f}" for sample in modes["reference"]["samples"]] == ["1.000", "0.167", "0.000"]
    assert f"{modes['strict']['samples'][1]['rouge_l']:.3f}" == "0.154" and "1.000, 0.154 and 0" in text
