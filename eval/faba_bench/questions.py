"""The paper's questions: FABA-Instruct's, and what the authors' evaluation asks."""

from __future__ import annotations

QUESTIONS: dict[str, str] = {
    "au": "What AUs are conveyed by this face?",
    "emotion": "What emotions are conveyed by this face?",
}
"""Task to question; the image token stands behind it, on a line of its own."""
