"""Which answers are good enough to train on, and why the others are not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faba_bench.chat.replies import finish_reason as normal_finish

from llava_faba.datatools import answers
from llava_faba.records import annotation as records
from llava_faba.records.vocabulary import AU_NAMES

WORDS = {"au": (12, 400), "emotion": (8, 150)}
"""Fewest and most words by default. FABA-Instruct's answers have about 207 and 50 words on average."""

_REFUSAL = re.compile(
    r"\b(?:I(?:['’]m| am) (?:sorry|unable|not able)|"
    r"I (?:can ?not|can['’]t|won['’]t|do not|don['’]t) "
    r"(?:help|assist|identify|analy[sz]e|determine|provide|comply|see|view|recogni[sz]e)|"
    r"unable to (?:help|assist|analy[sz]e|identify|view)|as an AI|against (?:my|the) (?:policy|guidelines)|"
    r"no (?:image|picture|face) (?:was|is|has been) (?:provided|attached|visible|shown))\b",
    re.IGNORECASE,
)
_ENDS_WELL = re.compile(r"[.!?][\"'”’)\]*_]*\s*\Z")


@dataclass(frozen=True)
class Limits:
    """Word counts, and the agreement with given labels (F1 for AUs, 0 or 1 for emotion) that an answer
    needs.
    """

    min_words: int
    max_words: int
    min_agreement: float = 0.5

    @classmethod
    def of(cls, task: str, low: int | None, high: int | None, agreement: float) -> Limits:
        return cls(WORDS[task][0] if low is None else low, WORDS[task][1] if high is None else high, agreement)


@dataclass(frozen=True)
class Verdict:
    """Reasons against an answer (none: it is accepted), its label as read, and its agreement with a given
    one.
    """

    reasons: tuple[str, ...]
    label: str | None
    agreement: float | None


def judge(task: str, text: str, finish_reason: str, given: object, limits: Limits) -> Verdict:
    """Judge one answer; ``given`` is the image's label, or None when there is none."""
    reasons = []
    words = len(text.split())
    if words < limits.min_words:
        reasons.append(f"too short: {words} words, at least {limits.min_words}")
    if words > limits.max_words:
        reasons.append(f"too long: {words} words, at most {limits.max_words}")
    if _REFUSAL.search(text):
        reasons.append("refusal")
    if not text:
        return Verdict(("no answer: nothing, or thoughts only",), None, None)
    finish = normal_finish(finish_reason)
    if finish == "content_filter":
        reasons.append("cut by a content filter")
    if finish == "error":
        reasons.append("ended by an error of the server")
    if finish == "length" or not _ENDS_WELL.search(text):
        reasons.append("unfinished: it ran into the token limit or ends inside a sentence")
    if task == "au":
        label, agreement, own = _judge_aus(text, given)
    else:
        label, agreement, own = _judge_emotion(text, given)
    reasons += own
    if agreement is not None and agreement < limits.min_agreement:
        reasons.append(f"disagrees with the label '{given}': agreement {agreement:.2f}")
    return Verdict(tuple(reasons), label, agreement)


def _judge_aus(text: str, given: object) -> tuple[str | None, float | None, list[str]]:
    numbered = {int(number) for number in re.findall(r"\bAU\s*0*(\d{1,3})\b", text)}
    strangers = sorted(numbered - set(AU_NAMES))
    reading = answers.read_aus(text)
    reasons = []
    if strangers:
        reasons.append(f"unknown AU: {', '.join(map(str, strangers))}")
    if not reading.says_something:
        return None, None, [*reasons, "names no action unit"]
    if reading.denied:
        reasons.append(f"mentions AUs that are not active: {', '.join(map(str, sorted(reading.denied)))}")
    agreement = None
    if given is not None:
        wanted = set(records.parse_au_label(given))
        common = len(wanted & reading.stated)
        total = len(wanted) + len(reading.stated)
        agreement = 2 * common / total if total else 1.0
    return records.au_label(reading.stated), agreement, reasons


def _judge_emotion(text: str, given: object) -> tuple[str | None, float | None, list[str]]:
    name = answers.read_emotion(text)
    if name is None:
        return None, None, ["names no emotion"]
    return name, None if given is None else float(name == records.parse_emotion_label(given)), []
