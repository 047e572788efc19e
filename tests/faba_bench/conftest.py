"""Shared inputs: the authors' scorer's own results, and a small hand-made set for each task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# This folder has the package's name: put the package first, or the folder wins as a namespace.
sys.path.insert(0, str(ROOT / "eval"))

GOLDEN = ROOT / "tests" / "data" / "rege" / "reference_scores.json"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return data


@pytest.fixture
def au_annotations() -> list[dict[str, Any]]:
    return [
        {"image": "a.png", "label": "1, 4", "gpt4": "AU1 and AU4 are active.", "id": "x"},
        {"image": "b.png", "label": "12, 25", "gpt4": "A smile: AU12 and AU25.", "id": "y"},
        {"image": "c.png", "label": "4", "gpt4": "Only AU4.", "id": "z"},
    ]


@pytest.fixture
def au_answers() -> list[dict[str, Any]]:
    return [
        {"question_id": "x", "text": "AU1 and AU4 are active."},
        {"question_id": "y", "text": "AU 12 is seen, AU25 is not present."},
        {"question_id": "z", "text": ""},
    ]


@pytest.fixture
def emotion_annotations() -> list[dict[str, Any]]:
    return [
        {"image": "a.png", "label": "Happiness", "gpt4": "She looks happy."},
        {"image": "b.png", "label": "1", "gpt4": "He looks sad."},
        {"image": "c.png", "label": 3, "gpt4": "They look angry."},
    ]


@pytest.fixture
def emotion_answers() -> list[dict[str, Any]]:
    return [
        {"question_id": 0, "text": "The smile shows happiness."},
        {"question_id": "1", "text": "He looks sad."},
        {"question_id": 2, "text": "A chair"},
    ]
