"""Emotion recognition, read carefully: structure first, then prose; and no guessing."""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from faba_bench.parsing import EmotionParse
from faba_bench.strict import lexicon
from faba_bench.strict.emotionprose import Voice, decide, read_prose
from faba_bench.strict.final import final_answer
from faba_bench.strict.forms import structure_of
from faba_bench.strict.nested import joined
from faba_bench.strict.normal import normal
from faba_bench.strict.pairs import leads, line_pairs
from faba_bench.strict.refusal import without_refusals
from faba_bench.strict.structure import Entry, Structure

WORD = re.compile(r"[^\W\d_]+|[\u2600-\u27bf\U0001f300-\U0001faff]")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_FLUFF = re.compile(
    r"(?i)\b(?:is|are|does|the|a|an|person|subject|face|man|woman|he|she|they|it|this|look|looks|feel|feels|feeling|show|shows|emotion|"
    r"emotions|expression|score|probability|level|intensity|confidence|of|prob|class|label|being|in|image|appear|appears|to|be|"
    r"percentage|any|there|value|presence|present)\b|[^\w]|[\d_]"
)
_RANKED = re.compile(r"\s*[)\]]?\s*(?:>{1,2}|≫|→)\s*[(\[]?\s*")
_FIELD = re.compile(
    r"(?im)^[ \t\-*•#>\"']{0,12}(?P<rank>primary|dominant|main|predicted|overall|final|most\s+likely|top|detected|perceived|facial|predominant|"
    r"identified|recognized|recognised|conveyed|displayed|estimated)?[ \t_]{0,3}(?:facial[ \t_]{1,3})?(?P<key>emotions?|expressions?|answer|label|prediction|class|"
    r"verdict|category|conclusion|classification|result|mood|feeling|émotion|emotion|emoción|emozione|情绪|情感|表情|感情|感情|감정|эмоция)"
    r"(?:[ \t]{1,3}(?:conveyed|expressed|shown|detected|displayed|label|class|category|is))?[ \t\"']{0,4}(?:[:=]|(?<=[ \t])[-–—][ \t]|->|→)(?P<body>[^\n]+)"
)
#: "Primary: Neutral", "top1=disgust": a rank alone, where no field has the word "emotion".
_RANK_FIELD = re.compile(
    r"(?im)(?:^|[,;|]|\A)[ \t\-*•#>\"']{0,12}(?P<rank>(?:primary|dominant|main|predominant|final|top(?:[- ]?1)?|most\s+likely|first|1st|#1|rank\s?1|no\.?\s?1|best(?:\s+guess|\s+match)?|strongest|overall)"
    r"(?:\s+(?:choice|guess|candidate|pick))?)(?P<key>)[ \t\"']{0,4}[:=](?P<body>[^\n,;|]+?)(?=$|[\n,;|]|\.\s|\s+(?:secondary|second|2nd|top[- ]?2|rank\s?2|runner))"
)
_FIRST_RANKS = frozenset(("primary", "dominant", "main", "predominant", "final", "top", "most likely", "overall"))


class EmotionLabels:
    """Labels of the emotion task, for the readers of structure."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.names = lexicon.names(classes)
        self.signs = lexicon.signs(classes)
        self.cues = lexicon.cues(classes)
        self.kinds = {
            **dict.fromkeys(self.cues, "cue"),
            **dict.fromkeys(self.signs, "sign"),
            **dict.fromkeys(self.names, "name"),
        }
        self.foreign = tuple(word for word in self.names if _CJK.match(word))
        self.find = lru_cache(maxsize=8)(self._find)  # one text is looked at by several readers

    def _find(self, text: str) -> list[tuple[int, int, str, str]]:
        """(start, end, word, kind) of all names, signs and cues in a text, in order."""
        kinds = self.kinds
        found: list[tuple[int, int, str, str]] = []
        for match in WORD.finditer(text):
            word = match.group().lower()
            kind = kinds.get(word)
            if kind is not None:
                found.append((match.start(), match.end(), word, kind))
            elif not word.isascii() and _CJK.match(word):
                found += [
                    (match.start() + at, match.start() + at + len(name), name, "name")
                    for name in self.foreign
                    if (at := word.find(name)) >= 0
                ]
        return found

    def class_of(self, word: str) -> str:
        """The class that a word names or points to."""
        return self.names.get(word) or self.signs.get(word) or self.cues[word]

    def cell(self, text: str, bare: bool = False) -> tuple[Any, ...] | None:
        """The classes of a cell that holds nothing else."""
        if not text or len(text) > 80:
            return None
        found = [item for item in self.find(text.replace("_", " ")) if item[3] == "name"]
        if not found or re.search(r"(?i)\b(?:not|no|n't|without)\b", text):
            return None
        rest = list(text)
        for start, end, _, _ in found:
            rest[start:end] = " " * (end - start)
        if _FLUFF.sub(" ", "".join(rest)).strip():
            return None
        named = tuple(dict.fromkeys(self.class_of(word) for _, _, word, _ in found))
        return named if len(named) == 1 else None

    def spans(self, text: str) -> Sequence[tuple[int, int, tuple[Any, ...]]]:
        """Places of class names."""
        return [(start, end, (self.class_of(word),)) for start, end, word, kind in self.find(text) if kind == "name"]


@lru_cache(maxsize=16)
def _labels(classes: tuple[str, ...]) -> EmotionLabels:
    return EmotionLabels(classes)


def read_emotion(text: str, classes: Sequence[str]) -> EmotionParse:
    """The class that a text names, or None when it names none or cannot be told: nothing is guessed.

    Lists, tables, JSON and other "label: value" answers are read by their structure: the highest score wins, a label with
    a negative or zero value is absent, and a structure that leaves several classes or none is `ambiguous`.  In prose,
    words are whole words; those that their clause denies do not count.  Class names decide: those in a verdict ("the
    emotion is ...", "overall ...") before those in other statements before those in asides ("although ...", "a hint of
    ..."); among equals the most frequent class; a draw is None.  A text without a name is decided by what the face does
    ("smiling"), or else by cue words.  A text that is nothing but a class index is that class.
    """
    return _read(text, tuple(classes))


@lru_cache(maxsize=2048)  # equal answers are read once: models repeat themselves
def _read(text: str, classes: tuple[str, ...]) -> EmotionParse:
    bare = text.strip().rstrip(".")
    if len(bare) <= 2 and bare.isascii() and bare.isdigit() and int(bare) < len(classes):
        return EmotionParse(classes[int(bare)], f"class index {bare}")
    indexed = _INDEXED.match(text)
    if indexed and int(indexed["index"]) < len(classes):
        return EmotionParse(classes[int(indexed["index"])], f"class index {indexed['index']}")
    labels = _labels(classes)
    text = final_answer(normal(text))
    text, refused = without_refusals(text)
    option = _option(text, labels)
    if option is not None:
        return option
    text = joined(text, labels)
    structure = _structure(text, labels)
    if structure is not None:
        return _decide_structure(structure, labels)
    field = _field(text, labels)
    if field is not None:
        return field
    voices: list[Voice] = []
    denied = read_prose(text, labels, voices)
    found = decide(voices)
    if found is not None:
        return EmotionParse(found[0], found[1])
    if voices:
        return EmotionParse(None, "cannot tell " + " from ".join(dict.fromkeys(voice.name for voice in voices)))
    if refused:
        return EmotionParse(None, "refuses")
    return EmotionParse(None, f"denies {', '.join(denied[:5])}" if denied else "names no emotion")


def _structure(text: str, labels: EmotionLabels) -> Structure | None:
    return structure_of(text, labels) or _pair_list(text, labels)


def _pair_list(text: str, labels: EmotionLabels) -> Structure | None:
    """A list of classes with their values, or a ranking; None where a text is anything else."""
    spans = labels.spans(text)
    if not spans:
        return None
    if len(spans) > 1 and all(
        _RANKED.fullmatch(text, first[1], second[0]) for first, second in itertools.pairwise(spans)
    ):
        structure = Structure()
        structure.texts = [spans[0][2][0]]
        return structure
    structure = Structure()
    whole = loose = 0
    open_ended = False
    for line in text.split("\n"):
        inside = labels.spans(line)
        if not inside:
            continue
        pairs = line_pairs(line, inside, numbers_before=True)
        first = pairs[0]
        if all(pair is not None for pair in pairs) or (first is not None and first.strong and leads(line, inside)):
            whole += 1
            for pair in pairs:
                if pair is not None:
                    structure.add(pair.labels, pair.value)
            open_ended = open_ended or None in pairs
        else:
            loose += 1
    named = {label for entry in structure.entries for label in entry.labels}
    everything = {label for _, _, found in spans for label in found}
    if open_ended and not any(entry.value.state for entry in structure.entries):
        return None
    if len(named) >= 2 and whole > loose:
        return structure
    if len(named) == 1 and named == everything and whole and not loose and structure.entries[0].value.state:
        return structure
    return None


def _decide_structure(structure: Structure, labels: EmotionLabels) -> EmotionParse:
    if structure.ambiguous:
        return EmotionParse(None, structure.ambiguous, structure.ambiguous)
    first = structure.answers[:1]
    rivals = (
        {labels.cell(text) or (text,) for depth, rank, text in structure.answers if (depth, rank) == first[0][:2]}
        if first
        else ()
    )
    if len(rivals) > 1 and not structure.entries:
        reason = "several answers: " + ", ".join(sorted(str(rival[0]) for rival in rivals))
        return EmotionParse(None, reason, reason)
    for piece in structure.texts[:1]:
        named = labels.cell(piece)
        found = (
            EmotionParse(named[0], "the answer's field")
            if named
            else _index(piece, labels) or read_emotion(piece, labels.classes)
        )
        if found.value is not None or not structure.entries:
            return found
    chosen, reason = _highest(structure.entries)
    if chosen is None:
        return EmotionParse(None, reason, reason)
    return EmotionParse(chosen, reason)


def _index(piece: str, labels: EmotionLabels) -> EmotionParse | None:
    bare = piece.strip()
    if len(bare) <= 2 and bare.isdigit() and int(bare) < len(labels.classes):
        return EmotionParse(labels.classes[int(bare)], f"class index {bare}")
    return None


def _highest(entries: Sequence[Entry]) -> tuple[str | None, str]:
    scores: dict[str, float] = {}
    numeric = any(entry.value.number is not None for entry in entries)
    scales = {entry.value.scale for entry in entries if entry.value.scale}
    common = scales.pop() if len(scales) == 1 else None  # "sadness at 7 out of 10, fear at 2"
    for entry in entries:
        value = entry.value
        for name in entry.labels:
            if value.state is None:
                continue
            if value.number is not None:
                scale = value.scale or (None if value.percent else common)
                score = value.number / scale if scale else value.number
                score = max(score, 0.0)
            else:
                score = 0.0 if not value.state else (value.strength if value.strength is not None else 0.6)
                score = score if not numeric else score * 1e-3
            if name in scores and scores[name] != score and entry.source != "list" and value.number is None:
                return None, f"{name} is given twice with different values"
            scores[name] = max(scores.get(name, 0.0), score)
    if not scores:
        return None, "no value can be told"
    best = max(scores.values())
    winners = [name for name, score in scores.items() if score == best]
    if best <= 0:
        return None, "every class is absent"
    if len(winners) > 1:
        return None, "several classes are given as present: " + ", ".join(winners)
    return winners[0], "the only class present" if sum(s > 0 for s in scores.values()) == 1 else "the highest score"


_INDEXED = re.compile(
    r"(?i)\W*(?:(?:final|predicted)\s+)?(?:class|label|index|category|answer|prediction|emotion)(?:[\s_]*(?:id|index|number|no\.?))?\s*(?:[:=#]|is|->|→)*\s*(?P<index>\d)\W*\Z"
)
_OPTION = re.compile(r"(?<!\w)\(?(?P<letter>[A-Ha-h]|\d)[).:]\s*(?P<name>[^\W\d_]+)")
_CHOICE = re.compile(
    r"(?i)\b(?:answer|choice|option|verdict|choose|pick|select(?:ed|ion)?)\b(?:\s+(?:is|option|choice|answer))*\s*[:=]?\s*[(\[\"']?(?P<letter>[A-H]|\d)\b[)\].\"']*\s*(?:\Z|\n|[.,;])"
)


def _option(text: str, labels: EmotionLabels) -> EmotionParse | None:
    """ "(A) Happiness (B) Fear ... Answer: B": the class that the chosen letter stands for."""
    choice = _CHOICE.search(text)
    if not choice:
        return None
    options = {
        match["letter"].lower(): labels.class_of(match["name"].lower())
        for match in _OPTION.finditer(text)
        if match["name"].lower() in labels.names
    }
    chosen = options.get(choice["letter"].lower()) if len(options) > 1 else None
    return EmotionParse(chosen, f"option {choice['letter']}") if chosen else None


def _field(text: str, labels: EmotionLabels) -> EmotionParse | None:
    """The class behind "Emotion:" or "Primary emotion:", where it stands alone or first."""
    fields = list(_FIELD.finditer(text)) or list(_RANK_FIELD.finditer(text))
    if not fields:
        return None
    fields.sort(key=lambda match: (match["rank"] or "").lower() not in _FIRST_RANKS)
    for match in fields:
        body = re.split(r"[;|]", match["body"], maxsplit=1)[0]
        if not labels.spans(body):
            continue
        named = labels.cell(re.sub(r"\([^()]*\)|\d+(?:\.\d+)?\s*%?", " ", body).strip(" .,;-"))
        if named:
            return EmotionParse(named[0], f"behind {match['key'] or match['rank']!r}")
        voices: list[Voice] = []
        read_prose(body, labels, voices)
        found = decide([voice for voice in voices if voice.kind == "name"])
        if found is not None:
            return EmotionParse(found[0], f"behind {match['key'] or match['rank']!r}")
    return None
