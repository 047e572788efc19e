"""Emotion recognition as the authors' script reads it out of a text.

The rules are wrong in several ways ("now" counts as a negation because it contains "no"); they are kept,
because published numbers were made with them.  `faba_bench.strict.emotion` is the careful reading.
"""

from __future__ import annotations

import re

from faba_bench.parsing import EmotionParse

#: Class order of the paper; it breaks ties and decides for words that stand in several lists.
CLASSES = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")

_LISTS = """
Happiness: happiness happy smiling smile pleasant content contentment relaxed relaxation cheerful joy
    amusement amused positivity positive lightheartedness joyful friendly warmth bright
Neutral: neutral neutrality calm contemplative concerned thoughtful focused solemn mild
Surprise: surprise surprised startled puzzled astonishment disbelief wonder curiosity curious confusion
    bewilderment skepticism excitement uncertainty
Fear: fear shock anxiety apprehension tension panic alertness focus worry alarm curiosity
    contemplation
Disgust: disgust distaste disgusted discomfort displeasure displeased disapproval disdain contempt
Anger: anger mad irate outraged agitation irritated enraged annoyed incensed serious frustration
    displeased stern
Sadness: sadness crying distress concern discomfort anguish somber
"""

#: The authors' word list of each class.
WORDS: dict[str, frozenset[str]] = {
    name: frozenset(words.split()) for name, words in re.findall(r"^(\w+):(.*(?:\n    .*)*)", _LISTS, re.MULTILINE)
}

_NEGATIONS = ("not", "no", "isn't ", "nothing", "cannot", "won't", "shouldn't", "neither", "nor")
_SENTENCE_END = re.compile(r"(?<!\w\.\w.)(?<![A-Z][a-z]\.)(?<=\.|\?)\s")
_FIRST_SENTENCE = re.compile(r"^(.*?)[.!?]")
_WORD = re.compile(r"\b\w+\b")

# One list of classes per word, in class order: a look-up instead of seven.
_CLASSES_OF: dict[str, tuple[str, ...]] = {
    word: tuple(name for name in CLASSES if word in WORDS[name]) for word in set().union(*WORDS.values())
}


def read_emotion(text: str) -> EmotionParse:
    """The class that the authors' script takes an answer for; None where that script crashes."""
    kept = without_negated_sentences(text)
    match = _FIRST_SENTENCE.match(kept)
    if match is None:
        return EmotionParse(None, "unscored: the first line holds no '.', '!' or '?' (the script crashes)")
    for word in _WORD.findall(match.group().lower()):
        if word in _CLASSES_OF:
            return EmotionParse(_CLASSES_OF[word][0], f"{word!r} in the first sentence")
    votes = dict.fromkeys(CLASSES, 0)
    for word in _WORD.findall(kept[match.end() :].lower()):
        for name in _CLASSES_OF.get(word, ()):
            votes[name] += 1
    winner = max(CLASSES, key=lambda name: votes[name])
    if not votes[winner]:
        return EmotionParse(winner, "no listed word anywhere: the first class by default")
    return EmotionParse(winner, f"{votes[winner]} of {sum(votes.values())} votes after the first sentence")


def without_negated_sentences(text: str) -> str:
    """The text without the sentences that contain a negation's letters; all of it when nothing is left."""
    kept = [
        sentence
        for sentence in _SENTENCE_END.split(text)
        if not any(negation in sentence.lower() for negation in _NEGATIONS)
    ]
    return " ".join(kept) or text
