"""Names and numbers of the two tasks: action units (AUs), emotion classes, questions.

AU names are those of the Facial Action Coding System (Ekman, Friesen & Hager, 2002). Which numbers a
dataset's protocol knows is FABA-Bench's to say; ``au_protocol`` asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faba_bench.aus import AU_NAMES

from llava_faba.errors import RecordError

if TYPE_CHECKING:
    from faba_bench.protocol import AUTask

__all__ = ["AU_NAMES", "CONTEMPT", "EMOTIONS", "IMAGE_TOKEN", "TASKS", "au_phrase", "au_protocol"]

EMOTIONS: tuple[str, ...] = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")
"""The classes in the index order of the evaluation files."""

CONTEMPT = "Contempt"
"""AffectNet's eighth class; FABA-Bench has no such class, so only 8-class AffectNet data names it."""

TASKS: tuple[str, ...] = ("au", "emotion")

IMAGE_TOKEN = "<image>"


def au_protocol(name: str) -> AUTask:
    """The AU numbers of a dataset: ``vocabulary`` (may be named) and ``scored`` (enter the mean).

    Raises RecordError for a protocol without action units.
    """
    from faba_bench.protocol import load_protocol

    rules = load_protocol(name).au
    if rules is None:
        raise RecordError(f"the protocol '{name}' scores no action units; give one that does, or none")
    return rules


def au_phrase(number: int) -> str:
    """``AU4 - Brow lowerer``; a number without a known name stays bare."""
    name = AU_NAMES.get(number)
    return f"AU{number} - {name}" if name else f"AU{number}"
