"""Figures are counted right, from labels and from answers, and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_faba.datatools.plots import plot
from llava_faba.datatools.stats import describe, to_text
from llava_faba.errors import RecordError


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def au_file(tmp_path: Path) -> Path:
    return write(
        tmp_path / "eval_au_anno.json",
        [
            {"image": "a", "label": "1, 4", "gpt4": "one two three", "subject": "s1"},
            {"image": "b", "label": "1, 4, 12", "gpt4": "one two three four five", "subject": "s1"},
            {"image": "b", "label": "12", "gpt4": "one", "subject": "s2"},
            {"image": "c", "label": "", "gpt4": "one two three"},
        ],
    )


def test_au_figures(au_file: Path) -> None:
    figures = describe(au_file)
    assert (figures.kind, figures.task) == ("evaluation", "au")
    assert (figures.samples, figures.images, figures.subjects) == (4, 3, 2)
    assert figures.word_figures() == {"mean": 3.0, "median": 3.0, "min": 1.0, "max": 5.0}
    assert dict(figures.aus) == {1: 2, 4: 2, 12: 2}
    assert figures.no_aus == 1
    assert dict(figures.aus_per_sample) == {2: 1, 3: 1, 1: 1, 0: 1}
    numbers, matrix = figures.co_occurrence()
    assert numbers == [1, 4, 12]
    assert matrix == [[2, 2, 1], [2, 2, 1], [1, 1, 2]]
    text = to_text([figures])
    assert "AU4 Brow lowerer" in text
    assert "most frequent pairs: AU1+AU4 2" in text


def test_labels_are_read_from_answers_where_there_are_none(tmp_path: Path) -> None:
    def record(answer: str) -> dict[str, Any]:
        return {
            "image": "x",
            "source": "AffectNet",
            "conversations": [
                {"from": "human", "value": "What AUs are conveyed by this face?\n<image>"},
                {"from": "gpt", "value": answer},
            ],
        }

    path = write(
        tmp_path / "train.json",
        [
            record("1. AU4 - Brow Lowerer: drawn together.\n2. AU9 - Nose Wrinkler. AU12 is not present."),
            record("No action units are conveyed by this face."),
            record("A tree."),
        ],
    )
    figures = describe(path)
    assert dict(figures.aus) == {4: 1, 9: 1}
    assert (figures.no_aus, figures.unread, figures.without_label) == (1, 1, 3)
    assert dict(figures.sources) == {"AffectNet": 3}


def test_emotion_figures(tmp_path: Path) -> None:
    path = write(
        tmp_path / "eval_emotion_anno.json",
        [
            {"image": "a", "label": "Fear", "gpt4": "x"},
            {"image": "b", "label": 0},
            {"image": "c", "label": "Happiness"},
            {"image": "d", "label": "Glee"},
        ],
    )
    figures = describe(path)
    assert dict(figures.emotions) == {"Happiness": 2, "Fear": 1}
    assert figures.unread == 1
    assert figures.to_json()["emotions"] == {"Happiness": 2, "Fear": 1}
    assert "66.7%" in to_text([figures])


def test_golden_training_records(golden: Path) -> None:
    figures = describe(golden / "data" / "train.json")
    assert figures.samples == 8
    assert figures.aus[25] == 8


def test_plots_are_pictures_with_content(au_file: Path, tmp_path: Path) -> None:
    paths = plot(describe(au_file), tmp_path / "plots", "eval")
    assert [path.name for path in paths] == ["eval-words.png", "eval-labels.png", "eval-co-occurrence.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.width > 500
            low, high = image.convert("L").getextrema()
            assert high - low > 200
            assert len(image.convert("RGB").getcolors(1 << 20)) > 50


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"x\.json"):
        describe(tmp_path / "x.json")
