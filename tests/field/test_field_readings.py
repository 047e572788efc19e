"""Strict mode reads answers as a FACS coder does: `answers.json`, and texts of the same styles in `readings/`.

A line of a readings file is the right reading, a tab, and the text: AU numbers (nothing: no unit is active), a class,
or "null" for a text that cannot be told.
"""

# ruff: noqa: E501  (texts read better on one line)
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import faba_bench
import pytest
from faba_bench.strict.au import read_aus
from faba_bench.strict.emotion import read_emotion
from faba_bench.thoughts import strip_thoughts

EVAL = Path(faba_bench.__file__).resolve().parents[1]
FIELD = Path(__file__).resolve().parents[1] / "data" / "field"
CLASSES = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")
VOCABULARY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 23, 24, 25, 26, 27, 43)


def reading(task: str, text: str) -> list[int] | str | None:
    text = strip_thoughts(text).text
    if task == "emotion":
        return read_emotion(text, CLASSES).value
    found = read_aus(text, VOCABULARY)
    return sorted(found.value) if found.parsed else None


class Case(NamedTuple):
    """One text: the file and line that it stands in, its task and how it is read rightly."""

    place: str
    task: str
    text: str
    right: list[int] | str | None


def cases() -> Iterator[Case]:
    for name, items in json.loads((FIELD / "answers.json").read_text(encoding="utf-8")).items():
        for number, item in enumerate(items, 1):
            right = item["right"]
            yield Case(
                f"answers.{name}:{number}",
                name.partition("_")[0],
                item["text"],
                sorted(right) if isinstance(right, list) else right,
            )
    for path in sorted((FIELD / "readings").glob("*_*.tsv")):
        task = path.name.partition("_")[0]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            place = f"{path.stem}:{number}"
            label, _, raw = line.partition("\t")
            text = (
                raw.replace("\\n", "\n").replace("\\t", "\t").replace("\\u2019", "\u2019").replace("\\u2014", "\u2014")
            )
            text = text.replace("\\\\", "\\")
            if label == "null":
                yield Case(place, task, text, None)
            else:
                units = [int(digits) for digits in label.split(",") if digits] if task == "au" else []
                yield Case(place, task, text, label if task == "emotion" else units)


#: Texts that are still read otherwise, each with its reason: one that is read right must leave the list.
UNREAD = {
    "AU1 as well as AU15; AU4 as little as AU17.": "a rare turn of phrase",
    "Jaw drop. Lips part follows from it, but I only code AU26 as the lips are out of view.": "a choice among what was named",
    "As to whether it's AU12 or AU14: it's both.": "what was left open, taken up by a word",
    "On a closer look it's AU12; from a distance it looked like AU20.": "a tense that takes back",
    "AU12, AU25 - and perhaps AU6? No, the cheeks are flat.": "a question about the last of a list",
    "Not surprise. Surprise is over in an instant and looks less tense. This is fear.": "what is so in general",
    "Most people would call this surprise. So do I.": "who agrees with a supposition",
    "The more I look, the less it seems like surprise and the more it seems like fear.": "the more, the less",
    "Mouth: pulled back laterally, as AU20 would do. It's not raised at the corners as AU12 would do.": "what a comparison claims",
    "AU4 and AU24 are easy to spot. Harder to spot, and in my opinion not there, is AU17.": "a predicate before its subject",
    "I'd classify the open mouth as AU27; AU26 is too weak a description.": "a denial by a noun phrase",
    "There are two AUs that could explain the mouth, AU12 and AU14. The upward direction is in favour of AU12.": "a later sentence decides",
    "In case you are wondering about AU9: no, the wrinkles come from AU4.": "an answer to what was not asked",
    "Nothing about this face is happy, sad or angry.": "whether all that is left is neutral",
    "AU7? Possibly, since the eye aperture is a bit smaller than usual. AU4? Definitely. AU23? No.": "a hedged answer",
    "AU20 pulls the lips sideways. AU12 pulls them up. Here they go sideways, so the former applies.": "two sentences",
    "The AUs that I'd assign: 4, 5, 7, 24. The AUs that I wouldn't: 9, 10, 25.": "numbers behind a clause",
    "If I were strict, I'd code only AU12. Being lenient, I add AU6.": "what a condition claims all the same",
    "I'd be surprised if this were anything but anger.": "a denial of a denial in a condition",
    "1. Disgust\n2. Anger\n3. Sadness": "a list that need not be a ranking",
    "Units: 18": "a number behind a word for units that is not read",
    "Happiness beats surprise here.": "a verb of comparison that is not known",
    "AU10: 1/1\nAU9: 0/1": "0/1 is also how an unfilled form looks",
}


@pytest.mark.parametrize(
    ("task", "text", "right"),
    [
        pytest.param(
            *case[1:],
            id=case.place,
            marks=[pytest.mark.xfail(strict=True, reason=UNREAD[case.text])] if case.text in UNREAD else [],
        )
        for case in cases()
    ],
)
def test_reading(task: str, text: str, right: list[int] | str | None) -> None:
    assert reading(task, text) == right


def test_reading_depends_on_nothing_but_the_text() -> None:
    """Another hash seed, another process and another order of the texts give the same readings."""
    here = [reading(case.task, case.text) for case in cases()]
    program = (
        f"import json, sys; sys.path[:0] = {[str(Path(__file__).parent), str(EVAL)]!r}\n"
        "from test_field_readings import cases, reading\n"
        "found = [reading(case.task, case.text) for case in reversed(list(cases()))]\n"
        "print(json.dumps(found[::-1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(there.stdout) == here
