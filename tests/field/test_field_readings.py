"""Strict mode reads answers as a FACS coder does: `answers.json`, and texts of the same styles in `readings/`.

A line of a readings file is the right reading, a tab, and the text: AU numbers (nothing: no unit is active), a class,
or "null" for a text that cannot be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faba_bench.strict.au import read_aus
from faba_bench.strict.emotion import read_emotion
from faba_bench.thoughts import strip_thoughts

FIELD = Path(__file__).resolve().parents[1] / "data" / "field"
CLASSES = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")
VOCABULARY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 23, 24, 25, 26, 27, 43)


def reading(task: str, text: str) -> list[int] | str | None:
    text = strip_thoughts(text).text
    if task == "emotion":
        return read_emotion(text, CLASSES).value
    found = read_aus(text, VOCABULARY)
    return sorted(found.value) if found.parsed else None


def cases() -> Iterator[tuple[str, str, list[int] | str | None]]:
    for name, items in json.loads((FIELD / "answers.json").read_text(encoding="utf-8")).items():
        for item in items:
            right = item["right"]
            yield name.partition("_")[0], item["text"], sorted(right) if isinstance(right, list) else right
    for path in sorted((FIELD / "readings").glob("*_*.tsv")):
        task = path.name.partition("_")[0]
        for line in path.read_text(encoding="utf-8").splitlines():
            label, _, raw = line.partition("\t")
            text = (
                raw.replace("\\n", "\n").replace("\\t", "\t").replace("\\u2019", "\u2019").replace("\\u2014", "\u2014")
            )
            text = text.replace("\\\\", "\\")
            if label == "null":
                yield task, text, None
            else:
                yield task, text, label if task == "emotion" else [int(number) for number in label.split(",") if number]


#: Texts that are still read otherwise, each with its reason: one that is read right must leave the list.
UNREAD = {
    "AU7? Possibly, since the eye aperture is a bit smaller than usual. AU4? Definitely. AU23? No.": "a hedged answer",
    "Units: 18": "a number behind a word for units that is not read",
    "Happiness beats surprise here.": "a verb of comparison that is not known",
    "AU10: 1/1\nAU9: 0/1": "0/1 is also how an unfilled form looks",
}


@pytest.mark.parametrize(
    ("task", "text", "right"),
    [
        pytest.param(*case, marks=pytest.mark.xfail(strict=True, reason=UNREAD[case[1]])) if case[1] in UNREAD else case
        for case in cases()
    ],
)
def test_reading(task: str, text: str, right: list[int] | str | None) -> None:
    assert reading(task, text) == right
