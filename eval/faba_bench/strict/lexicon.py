"""Words that name an emotion, and weaker words that only point to one.

A class's own names decide; cue words are counted only where a text has no name at all.  The cues are the
words of the authors' lists that stand in one class only and still say something alone ("mild", "focus",
"bright", "serious" do not).
"""

from __future__ import annotations

from collections.abc import Collection

#: Emotion nouns: only these can be denied by what follows them ("sadness is not present").
NOUNS: dict[str, str] = {
    "Happiness": "happiness joy joyfulness amusement cheerfulness delight contentment",
    "Sadness": "sadness sorrow grief melancholy unhappiness",
    "Surprise": "surprise astonishment amazement",
    "Anger": "anger rage fury",
    "Neutral": "neutrality",
    "Disgust": "disgust revulsion repulsion",
    "Fear": "fear fright terror fearfulness",
    "Contempt": "contempt scorn",
}

_NAMES: dict[str, str] = {
    "Happiness": "happy happily joyful joyous cheerful delighted glad elated ecstatic amused smile smiles "
    "smiling laugh laughs laughing laughter grin grins grinning",
    "Sadness": "sad sadly unhappy sorrowful melancholic mournful grieving dejected crying tearful heartbroken",
    "Surprise": "surprised surprising astonished amazed startled",
    "Anger": "angry angrily furious enraged irate outraged",
    "Neutral": "neutral expressionless emotionless impassive",
    "Disgust": "disgusted revolted repulsed",
    "Fear": "afraid fearful fearfully scared frightened terrified",
    "Contempt": "contemptuous scornful contemptuously",
}

_CUES: dict[str, str] = {
    "Happiness": "pleasant content relaxed relaxation positivity lightheartedness friendly warmth pleased",
    "Sadness": "anguish somber distress gloomy depressed downcast upset",
    "Surprise": "puzzled disbelief wonder curious confusion bewilderment skepticism excitement shocked",
    "Anger": "mad agitation irritated irritation annoyed annoyance incensed frustration frustrated stern hostile",
    "Neutral": "calm contemplative thoughtful solemn composed",
    "Disgust": "distaste displeasure disapproval disdain contempt aversion",
    "Fear": "anxiety anxious apprehension apprehensive panic worry worried alarm alarmed shock",
    "Contempt": "disdain disdainful sneer smug",
}


def names(classes: Collection[str]) -> dict[str, str]:
    """Word -> class, for words that name one of `classes`; a class that is not known goes by its own name."""
    found = {name.lower(): name for name in classes}
    for table in (NOUNS, _NAMES):
        for name in classes:
            found.update(dict.fromkeys(table.get(name, "").split(), name))
    return found


def nouns(classes: Collection[str]) -> frozenset[str]:
    """The names among `names` that are nouns."""
    words = {word for name in classes for word in NOUNS.get(name, "").split()}
    return frozenset(words | {name.lower() for name in classes if name not in NOUNS})


def cues(classes: Collection[str]) -> dict[str, str]:
    """Word -> class, for words that point to one of `classes` without naming it."""
    taken = names(classes)
    found: dict[str, str] = {}
    for name in classes:
        for word in _CUES.get(name, "").split():
            if word not in taken:
                # A class with a narrower meaning (Contempt) takes a word from a broader one (Disgust).
                found[word] = name
    return found
