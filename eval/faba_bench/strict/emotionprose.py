"""Prose about emotions: which classes a text claims, and how firmly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from faba_bench.strict import frames, words
from faba_bench.strict.clauses import Clause, sentences
from faba_bench.strict.elsewhere import OTHER, PAST, TAKEN_BACK, may_be_elsewhere
from faba_bench.strict.folded import folded
from faba_bench.strict.headings import denies_itself, heading_sign
from faba_bench.strict.scope import read_sentence
from faba_bench.strict.tokens import Token, tokenise

if TYPE_CHECKING:
    from faba_bench.strict.emotion import EmotionLabels


class Voice(NamedTuple):
    """One word that speaks for a class: how firmly (`weight`), and whether it is a name, a sign or a cue."""

    word: str
    name: str
    weight: float
    kind: str


_STRONG = re.compile(
    r"\b(?:overall|in\s+conclusion|to\s+conclude|in\s+short|in\s+sum|in\s+summary|all\s+in\s+all|summing\s+up|therefore|thus|hence|predominantly|"
    r"primarily|mainly|mostly|most\s+of\s+all|above\s+all|chiefly|largely|essentially|"
    r"(?:primary|dominant|main|predominant|overall|prevailing|dominating|strongest|leading)|dominates?|prevails?|outweighs?|wins|takes?\s+the\s+lead|comes\s+first|"
    r"(?:most|more|far\s+more|much\s+more)\s+(?:likely|plausible|probable|fitting|convincing|appropriate|apparent|accurate)|best|better|"
    r"(?:i'd|i\s+would|i'll|i\s+will)\s+(?:say|go|call|choose|pick|opt|label|classify|describe)|i\s+(?:believe|think|conclude|lean|choose|pick)|lean(?:s|ing)?\s+towards?|"
    r"favou?rs?|answer|verdict|conclude[ds]?|on\s+closer\s+(?:inspection|look)|in\s+fact|actually|in\s+reality|really|truly|true|leaves|"
    r"stronger|decisive|unmistakabl[ye]|points?\s+to(?:wards?)?)\b"
)
_VERDICT = re.compile(
    r"\b(?:emotions?\s+(?:\w+\s+){0,6}?(?:is|are|appears?|seems?)|expression\s+(?:is|of|appears|seems|conveys|suggests|indicates|shows)|"
    r"so\b|which\s+makes)\b"
)
_ASIDE = re.compile(
    r"\b(?:(?:hint|touch|trace|bit|tinge|element|undertone|note|dash|flicker|shade|suggestion|degree|amount|possibility|chance|suspicion|risk)s?\s+of|mixed\s+(?:with|in)|tinged\s+with|"
    r"mistaken\s+for|misread\s+as|confused\s+with|might\s+also|may\s+also|could\s+also|possibly|almost|slightly|somewhat|second(?:ary|arily)|second\s+(?:emotion|choice|candidate|guess|place)|"
    r"second\s+most|at\s+first|initially|first\s+glance|first\s+sight|first\s+impression|some|bordering\s+on|verging\s+on|"
    r"superficially|a\s+little|to\s+a\s+lesser\s+(?:extent|degree)|alternatively|also|as\s+well\s+as|along\s+with|(?:accompanied|followed)\s+by|"
    r"typical(?:ly)?\s+(?:in|of|for)\s+\w+\s+too|fit\s+\w+\s+too|hard\s+to|difficult\s+to|not\s+easy\s+to|tell\s+\w+\s+from|often|usually|either|seldom)\b|n't\s+(?:just|merely|only|simply)\b|\b(?:weak|mild|faint|minor|subtle)\s+\Z"
)
_HEDGE = re.compile(
    r"\b(?:might|may|could|perhaps|maybe|possible|one\s+(?:might|could|may)|you\s+(?:might|could|may)|expect(?:ed)?|"
    r"can\s+(?:also\s+)?(?:suggest|indicate|signal|be|look|seem|mean|accompany|occur|point))\b"
)
_CONCESSIONS = frozenset(
    (
        "although",
        "though",
        "even though",
        "while",
        "whereas",
        "despite",
        "in spite of",
        "albeit",
        "whilst",
        "when",
        "where",
        "until",
        "before",
    )
)
_BODY = re.compile(
    r"\b(?:lips?|mouth|brows?|eyebrows?|eyes?|cheeks?|jaw|forehead|nose|chin|eyelids?|gaze|corners|posture|head|body|position|background|tone|colou?rs?)\b"
)
_HARMLESS = re.compile(
    r"(?<=,\s)that\s+is(?=,)|"
    r"(?:\A|(?<=[.!?\n]\s)|(?<=\n))no(?=,)|"
    r"\b(?=[nwcuihaodb])(?:not\s+(?:only|just|merely|solely|simply|least)|no\s+doubt|without\s+(?:a\s+|any\s+)?(?:doubt|question)|no\s+less|no\s+mistaking|no\s+(?:reason|need|cause)\s+to\s+\w+\s+anything\s+(?:other\s+than|but|except)|no\s+question|be\s+(?:very\s+)?surprised\s+if\s+(?:\w+\s+){1,2}(?:were|was|is)(?:n't|\s+not)|be\s+(?:very\s+)?surprised\s+(?:if|that|to)|"
    r"nothing\s+(?:but|other\s+than|short\s+of|less\s+than)|none\s+other\s+than|no\s+one\s+but|no\s+other\s+than|no\s+wonder|"
    r"can(?:not|'t|\s+not)\s+(?:help\s+)?but|could(?:n't|\s+not)\s+be\s+(?=\w+er\b|more\b|any\s+more)|never\s+been\s+(?=\w+er\b)|"
    r"can(?:not|'t)\s+(?:hide|conceal|suppress|contain|hold\s+back|disguise|mask)|undoubtedly|doubtlessly|doubtless|undeniabl[ye]|unmistakabl[ye]|can(?:not|'t)\s+be\s+(?:denied|overlooked|missed|mistaken)|"
    r"(?:is|are)\s+(?:hard|impossible|difficult)\s+to\s+(?:miss|overlook|deny))\b"
)


def harmless(text: str) -> str:
    """The text with "not only" and other negations that deny nothing blanked out."""
    spans = [match.span() for match in _HARMLESS.finditer(folded(text))]
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def read_prose(text: str, labels: EmotionLabels, voices: list[Voice]) -> list[str]:
    """Add what a text claims to `voices`; returns the words that it denies."""
    original, text = text, harmless(text)
    found = labels.find(text)
    denied: dict[str, None] = {}
    if not found:
        return []
    marks = [(start, end, (word, kind)) for start, end, word, kind in found]
    previous = 1
    carried = 1
    position = index = 0
    for line in text.split("\n"):
        end = position + len(line)
        own: list[tuple[int, int, tuple[str, str]]] = []
        while index < len(marks) and marks[index][0] < end:
            own.append(marks[index])
            index += 1
        if own or carried < 0:
            before = len(voices)
            previous, carried = _line(text, position, end, own, labels, voices, denied, previous, carried)
            _weaken(voices, before, original, own)
        elif re.search(r"(?i)\b(?:absent|not\s+\w+|no|excluded|ruled\s+out)\b[^.]*:\s*$", line):
            carried = -1
        position = end + 1
    return list(denied)


_NOT_MERELY = re.compile(r"\bnot\s+(?:just|merely|simply)\s+(?:\w+\s+)?\Z")


def _weaken(voices: list[Voice], first: int, text: str, marks: Sequence[tuple[int, int, tuple[str, str]]]) -> None:
    """ "She is not merely surprised; she is afraid": the first word is less than the second."""
    weaker = {word for start, _, (word, _) in marks if _NOT_MERELY.search(folded(text)[max(0, start - 30) : start])}
    for index in range(first, len(voices)):
        if voices[index].word in weaker:
            voices[index] = voices[index]._replace(weight=1.0)


def _line(
    text: str,
    start: int,
    end: int,
    marks: Sequence[tuple[int, int, tuple[str, str]]],
    labels: EmotionLabels,
    voices: list[Voice],
    denied: dict[str, None],
    previous: int,
    carried: int,
) -> tuple[int, int]:
    tokens = tokenise(text, marks, start, end)
    if carried < 0 and (not marks or any(token.kind in ("verb", "copula") for token in tokens)):
        carried = 1
    asked: list[Token] = []
    for sentence, ended in sentences(tokens, text):
        if asked and sentence[0].text in words.YES | words.NO:
            names = {labels.class_of(token.payload[0]) for token in asked if token.payload[1] == "name"}
            if sentence[0].text in words.YES and len(names) == 1:
                voices.append(Voice(asked[0].payload[0], names.pop(), 3.0, "name"))
            asked = []
            if len(sentence) == 1:
                continue
        if not any(token.kind == "m" for token in sentence):
            continue
        if ended == "?":
            asked = [token for token in sentence if token.kind == "m"]
            denied.update((token.payload[0], None) for token in sentence if token.kind == "m")
            continue
        sign = carried
        colon = next((i for i, token in enumerate(sentence) if token.text == ":"), -1)
        heads = 0 < colon <= 6 and not any(token.kind in ("m", "copula", "modal", "verb") for token in sentence[:colon])
        if heads and heading_sign(sentence[:colon]) < 0:
            sentence = sentence[colon + 1 :]
            sign = 1 if denies_itself(sentence) else -1
        outcome = read_sentence(sentence, text, sign, previous)
        previous = outcome.last_sign
        frames: dict[int, _Frame] = {}
        compared = _comparison(sentence)
        for said in outcome.said:
            word, kind = said.token.payload
            against = compared.get(said.token.start, 1)
            verdict = -1 if against < 0 and said.sign < 0 else said.sign * against
            if verdict < 0 and word == "neutral" and _sums_up(outcome.clauses, said.clause):
                verdict = 1
            if verdict < 0:
                denied[word] = None
            elif verdict > 0:
                frame = frames.get(said.clause)
                if frame is None:
                    frame = frames[said.clause] = _frame(outcome.clauses, said.clause, text)
                weight = 0.5 if frame.past else _weight(frame, text, said.token)
                if kind == "name" and word == "neutral" and frame.bodily:
                    kind = "cue"
                voices.append(Voice(word, labels.class_of(word), weight, kind))
    return previous, carried


def _sums_up(clauses_: Sequence[Clause], number: int) -> bool:
    """ "The face shows no strong feelings: neutral": no denial, but what the denial amounts to."""
    clause = clauses_[number]
    alone = all(token.kind in ("m", "word") for token in clause.tokens) and len(clause.tokens) <= 3
    return alone and clause.opened in (":", "-", "–", "—", "i.e.") and number > 0 and not clauses_[number - 1].has_mark


def _concedes(clause: Clause) -> bool:
    if clause.opened == "whereas" and any(token.text in ("this", "here") for token in clause.tokens[:3]):
        return False  # "An angry face has lowered brows, whereas this one ..."
    return clause.opened in _CONCESSIONS or clause.tokens[0].text in _CONCESSIONS


_COMPARING = frozenset(("way", "turned", "turns", "replaced", "from", "than", "over"))


def _comparison(sentence: Sequence[Token]) -> dict[int, int]:
    """Marks that a comparison speaks against: behind "than" and "over", and between "less" and "than"."""
    found: dict[int, int] = {}
    for index, token in enumerate(sentence):
        if token.text not in _COMPARING:
            continue
        if _gives_way(sentence, index):
            found.update((item.start, 0) for item in sentence[max(0, index - 8) : index] if item.kind == "m")
        if token.text == "from" and any(item.text == "to" for item in sentence[index + 2 : index + 4]):
            found.update((item.start, 0) for item in sentence[index + 1 : index + 2] if item.kind == "m")
        if token.text == "than" or (
            token.text == "over" and any(item.kind == "m" for item in sentence[max(0, index - 3) : index])
        ):
            less = any(item.text == "less" for item in sentence[max(0, index - 6) : index])
            between = next((i for i in range(index - 1, -1, -1) if sentence[i].text == "less"), index)
            if less and token.text == "than" and not any(item.kind == "m" for item in sentence[between:index]):
                found.update((item.start, -1) for item in sentence[max(0, between - 8) : between] if item.kind == "m")
            pronoun = False
            for item in sentence[index + 1 : index + 5]:
                if item.kind == "p" or item.kind == "contrast" or (item.kind == "copula" and pronoun is False):
                    break
                pronoun = item.kind == "pronoun"
                if item.kind == "m":
                    found[item.start] = 1 if less else -1
    return found


_GIVING = frozenset(("way", "turned", "turns", "replaced"))


def _gives_way(sentence: Sequence[Token], index: int) -> bool:
    """ "Happiness has given way to anger", "turned into", "was replaced by"."""
    if sentence[index].text not in _GIVING:
        return False
    pair = (sentence[index].text, sentence[index + 1].text if index + 1 < len(sentence) else "")
    if pair == ("way", "to"):
        return index > 0 and sentence[index - 1].text in ("given", "gives", "gave", "giving", "make", "makes", "made")
    return pair in (("turned", "into"), ("turns", "into"), ("replaced", "by"))


def _of_a_thing(clause: Clause) -> bool:
    """ "... afraid of the dog, which seems happy": the relative clause speaks of something else."""
    last = clause.tokens[-1]
    thing = last.kind == "word" and last.text not in words.PEOPLE and not _BODY.search(last.text)
    return thing and last.text not in ("expression", "smile", "emotion", "picture", "image", "look") and clause.has_mark


class _Frame(NamedTuple):
    """What a clause as a whole says of the claims in it."""

    weight: float
    past: bool
    bodily: bool
    start: int


def _frame(clauses_: Sequence[Clause], number: int, text: str) -> _Frame:
    clause = clauses_[number]
    start = clause.tokens[0].start
    source = folded(text)[start : clause.tokens[-1].end]
    body = _BODY.search(source) is not None
    bodily = body and "face" not in source and "expression" not in source
    away = may_be_elsewhere(clause)
    past = away and (PAST.search(source) is not None or TAKEN_BACK.search(source) is not None)
    if away and OTHER.search(source):
        return _Frame(0.5, past, bodily, start)
    if clause.opened == "which" and number and _of_a_thing(clauses_[number - 1]):
        return _Frame(1.0, past, bodily, start)
    if _concedes(clause) or (clause.opened in ("which", "that", "as") and number and _concedes(clauses_[number - 1])):
        return _Frame(1.0, past, bodily, start)
    if _HEDGE.search(source) or frames.is_habitual(clause):
        return _Frame(1.5, past, bodily, start)
    weight = 3.0
    if _STRONG.search(source):
        weight = 5.0
    elif _VERDICT.search(source) or clause.opened in ("so", "therefore", "thus", "hence"):
        weight = 4.0
    if clause.opened in (
        "but",
        "yet",
        "however",
        "but rather",
        "but instead",
        "and yet",
        "nevertheless",
        "nonetheless",
    ):
        weight += 0.5
    if weight == 3.0 and body:
        weight = 2.75  # "the eyes show fear" says less than "he is happy"
    return _Frame(weight, past, bodily, start)


def _weight(frame: _Frame, text: str, token: Token) -> float:
    if frame.weight > 1 and (
        _ASIDE.search(folded(text)[max(frame.start, token.start - 40) : token.start])
        or _LESS.match(folded(text), token.end)
    ):
        return 1.0
    return frame.weight


_LESS = re.compile(
    r"\s*[(\[]\s*(?:secondary|second|2nd|minor|weaker|less)\b|\s*(?:undertones?|overtones?|nuances?|tinges?)\b|\s*(?:at\s+first\b|in\s+the\s+beginning|initially)|\s*(?:is|being|was|would\s+be)?\s*(?:the\s+|my\s+|a\s+(?=distant|close))?(?:(?:distant|close)\s+second|(?:comes?|takes?|ranks?|in)\s+(?:a\s+)?(?:distant\s+|close\s+)?(?:second|third|last)|second|secondary|less|mixed\s+in|also\s+(?:visible|present))\b"
)


def decide(voices: Sequence[Voice]) -> tuple[str, str] | None:
    """The class that the voices speak for and why; None for a draw or without voices."""
    for kind in ("name", "sign", "cue"):
        speaking = [voice for voice in voices if voice.kind == kind]
        if speaking:
            break
    else:
        return None
    best = max(voice.weight for voice in speaking)
    leading = [voice for voice in speaking if voice.weight == best]
    votes: dict[str, int] = {}
    for voice in leading:
        votes[voice.name] = votes.get(voice.name, 0) + 1
    ordered = sorted(votes.values(), reverse=True)
    winner = max(votes, key=lambda name: votes[name])
    if len(ordered) > 1 and ordered[0] == ordered[1]:
        tied = {name for name, count in votes.items() if count == ordered[0]}
        total = {name: sum(voice.weight for voice in voices if voice.name == name) for name in tied}
        ranked = sorted(total.values(), reverse=True)
        if ranked[0] == ranked[1]:
            return None
        winner = max(total, key=lambda name: total[name])
    means = "the verdict" if best >= 4 else "a statement" if best > 2 else "an aside"
    first = next(voice.word for voice in leading if voice.name == winner)
    return winner, f"{kind} {first!r} in {means}, {votes[winner]} of {len(leading)} votes"
