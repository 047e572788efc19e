"""Names and numbers of the two tasks: action units (AUs), emotion classes, questions.

AU names are those of the Facial Action Coding System (Ekman, Friesen & Hager, 2002). Which numbers a
dataset's protocol knows is FABA-Bench's to say; ``au_protocol`` asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llava_faba.errors import RecordError

if TYPE_CHECKING:
    from faba_bench.protocol import AUTask

AU_NAMES: dict[int, str] = {
    1: "Inner brow raiser",
    2: "Outer brow raiser",
    4: "Brow lowerer",
    5: "Upper lid raiser",
    6: "Cheek raiser",
    7: "Lid tightener",
    8: "Lips toward each other",
    9: "Nose wrinkler",
    10: "Upper lip raiser",
    11: "Nasolabial deepener",
    12: "Lip corner puller",
    13: "Sharp lip puller",
    14: "Dimpler",
    15: "Lip corner depressor",
    16: "Lower lip depressor",
    17: "Chin raiser",
    18: "Lip pucker",
    19: "Tongue show",
    20: "Lip stretcher",
    21: "Neck tightener",
    22: "Lip funneler",
    23: "Lip tightener",
    24: "Lip pressor",
    25: "Lips part",
    26: "Jaw drop",
    27: "Mouth stretch",
    28: "Lip suck",
    29: "Jaw thrust",
    30: "Jaw sideways",
    31: "Jaw clencher",
    32: "Lip bite",
    33: "Cheek blow",
    34: "Cheek puff",
    35: "Cheek suck",
    36: "Tongue bulge",
    37: "Lip wipe",
    38: "Nostril dilator",
    39: "Nostril compressor",
    41: "Lid droop",
    42: "Slit",
    43: "Eyes closed",
    44: "Squint",
    45: "Blink",
    46: "Wink",
}

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
