"""Words that name an emotion, and weaker words that only point to one.

A class's own names decide; where a text has none, what a face does ("smiling", "crying"); where it has none of these, cue
words.  The cues are the words of the authors' lists that stand in one class only and still say something alone ("mild",
"focus", "bright", "serious" do not).
"""

# ruff: noqa: E501  (patterns and word lists read better on one line)
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
    "Happiness": "happy happily delights amuses happier happiest joyful joyous joyfully cheerful cheerfully delighted glad elated ecstatic amused "
    "overjoyed gleeful jubilant heureux heureuse joie glücklich freude feliz felicidad alegría felice gioia "
    "счастье радость 高兴 快乐 开心 幸福 喜悦 高興 快樂 嬉しい 喜び 幸せ 행복 기쁨 😀 😃 😄 😁 😊 🙂 😂 😆",
    "Sadness": "sad saddens sadder sadly unhappy unhappily sorrowful melancholic mournful grieving dejected tearful heartbroken despondent "
    "miserable triste tristesse traurig traurigkeit trauer tristeza tristezza грусть печаль "
    "悲伤 伤心 难过 悲傷 悲しい 悲しみ 슬픔 😢 😭 😞 ☹ 🙁",
    "Surprise": "surprised surprises astonishes amazes startles surprising astonished amazed startled stunned überrascht überraschung sorpresa sorprendido surpris "
    "удивление 惊讶 吃惊 驚訝 驚き 驚いた 놀람 😮 😲 😯",
    "Anger": "angry angers infuriates enrages angrily angrier furious furiously enraged irate outraged livid wrathful colère wütend wut enojo ira enfado rabbia "
    "гнев злость 愤怒 生气 憤怒 生氣 怒り 분노 😠 😡 🤬",
    "Neutral": "neutral neutrally expressionless emotionless impassive neutre neutralität neutralidad neutrale нейтральное "
    "нейтрально 中性 中立 平静 无表情 ニュートラル 無表情 중립 😐 😶",
    "Disgust": "disgusted disgusts repulses disgusting revolted repulsed grossed dégoût ekel asco disgusto nojo отвращение 厌恶 恶心 厭惡 嫌悪 혐오 🤢 🤮",
    "Fear": "afraid scares scare frightens frighten terrifies fears feared fearing fearful fearfully scared frightened terrified frightful peur angst miedo paura medo страх "
    "恐惧 害怕 恐懼 恐怖 恐れ 두려움 공포 😨 😱 😰",
    "Contempt": "contemptuous scornful contemptuously disdainful mépris verachtung desprecio 蔑视 轻蔑",
}

#: What a face does: weaker than a name, stronger than a cue.
_SIGNS: dict[str, str] = {
    "Happiness": "smile smiles smiling laugh laughs laughing laughter grin grins grinning beaming",
    "Sadness": "crying cries weeping weeps sobbing sobs",
}

_CUES: dict[str, str] = {
    "Happiness": "pleasant content relaxed relaxation positivity lightheartedness friendly warmth pleased",
    "Sadness": "anguish somber distress gloomy depressed downcast upset",
    "Surprise": "puzzled disbelief wonder curious confusion bewilderment skepticism excitement shocked",
    "Anger": "mad agitation irritated irritation annoyed annoyance incensed frustration frustrated stern hostile",
    "Neutral": "blank deadpan calm contemplative thoughtful solemn composed",
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


def signs(classes: Collection[str]) -> dict[str, str]:
    """Word -> class, for what a face does."""
    taken = names(classes)
    return {word: name for name in classes for word in _SIGNS.get(name, "").split() if word not in taken}


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
