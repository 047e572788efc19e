"""What each mode reads out of an answer: one reader of texts for a mode and the rules of a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from faba_bench.protocol import AUTask, EmotionTask
from faba_bench.thoughts import strip_thoughts

UNFINISHED = "thoughts that never end: no answer"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one mode read out of one answer."""

    value: Any
    unparsed: bool
    evidence: str
    rouge_l: float | None
    had_thoughts: bool = False
    ambiguous: bool = False


Reader = Callable[[str, str | None], Parsed]


def reader_of(mode: str, rules: AUTask | EmotionTask) -> Reader:
    if mode == "reference":
        return _reference_au(rules) if isinstance(rules, AUTask) else _reference_emotion()
    return _strict_au(rules) if isinstance(rules, AUTask) else _strict_emotion(rules)


def _reference_au(rules: AUTask) -> Reader:
    from faba_bench.reference.au import read_aus
    from faba_bench.reference.rouge import rouge_l_reference

    vocabulary = frozenset(rules.vocabulary)
    shared: dict[tuple[int, ...], list[int]] = {}

    def read(text: str, reference: str | None) -> Parsed:
        found = read_aus(text, vocabulary)
        rouge = None if reference is None else rouge_l_reference(text, reference)
        return Parsed(_shared(found.value, shared), False, found.evidence, rouge)

    return read


def _reference_emotion() -> Reader:
    from faba_bench.reference.emotion import read_emotion
    from faba_bench.reference.rouge import rouge_l_reference

    def read(text: str, reference: str | None) -> Parsed:
        found = read_emotion(text)
        rouge = None if reference is None else rouge_l_reference(text, reference)
        return Parsed(found.value, found.value is None, found.evidence, rouge)

    return read


def _strict_au(rules: AUTask) -> Reader:
    from faba_bench.strict.au import read_aus
    from faba_bench.strict.rouge import has_rouge, rouge_l_strict

    vocabulary = frozenset(rules.vocabulary)
    shared: dict[tuple[int, ...], list[int]] = {}

    def read(text: str, reference: str | None) -> Parsed:
        answer = strip_thoughts(text)
        found = read_aus(answer.text, vocabulary)
        rouge = None if reference is None or not has_rouge(reference) else rouge_l_strict(answer.text, reference)
        evidence = UNFINISHED if answer.unfinished else found.evidence
        value = _shared(found.value, shared)
        return Parsed(value, not found.parsed, evidence, rouge, answer.had_thoughts, bool(found.ambiguous))

    return read


def _shared(value: Iterable[int], known: dict[tuple[int, ...], list[int]]) -> list[int]:
    """`value` as a list, one for all equal ones: nobody changes them in place."""
    numbers = tuple(value)
    return known.setdefault(numbers, list(numbers))


def _strict_emotion(rules: EmotionTask) -> Reader:
    from faba_bench.strict.emotion import read_emotion
    from faba_bench.strict.rouge import has_rouge, rouge_l_strict

    def read(text: str, reference: str | None) -> Parsed:
        answer = strip_thoughts(text)
        found = read_emotion(answer.text, rules.classes)
        rouge = None if reference is None or not has_rouge(reference) else rouge_l_strict(answer.text, reference)
        evidence = UNFINISHED if answer.unfinished else found.evidence
        return Parsed(found.value, found.value is None, evidence, rouge, answer.had_thoughts, bool(found.ambiguous))

    return read
