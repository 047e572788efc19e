"""What is said about a face: questions, short answers in FABA-Instruct's manner, captions and a glossary.

Every function takes a ``numpy.random.Generator`` and says the same thing for the same one.
"""

from __future__ import annotations

from faba_bench.questions import QUESTIONS

EMOTIONS: tuple[str, ...] = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")
"""FABA-Bench's classes, in index order."""

AU_QUESTION, EMOTION_QUESTION = QUESTIONS["au"], QUESTIONS["emotion"]
"""One wording per task; the image token comes behind it, on a line of its own."""
