"""Lists of "label: value": one on each line or several on one, with the value behind the label or before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from faba_bench.strict.values import NO_MARKS, YES_MARKS, Value, match_value

_NOUN = (
    r"(?:(?:is|are|was|were)\s+)?(?:coded|scored|rated|graded|marked)(?=\s+(?:as|at)\s+(?:an?\s+)?[\d.])|(?:(?:is|are)\s+)?(?:intensity|level|score|presence|present|active|activation|activated|detected|visible|status|state|value|"
    r"probability|strength|observed|shown|expression|emotion)"
)
_LEAD = re.compile(
    rf"[\"'*_`)\]]*(?:_(?P<source>[crCR])\b|\s+\(?(?P<source2>[crCR])\)?(?=\s*[:=]))?[\"'*_`)]*"
    rf"(?:\s*[(\[](?!\s*[\d.]+\s*%?\s*[)\]]\s*\|)\s*[^()\[\]\n]{{1,60}}[)\]](?=\s*(?:[:=|?]|->|→|-\s|[–—])))?"
    rf"(?:\s*(?P<noun>{_NOUN})\b)?[\"'*_`]*"
    r"(?:\s*(?P<strong>\.{2,}:?|\.(?=\s+(?:absent|present|yes|no|active|inactive|visible)\s*[.;]?\s*$)|/(?=\s)|:{1,2}=?|={1,2}>?|-+>|→|⇒|\?+|\||\t|(?<=\s)-{1,2}(?=\s)|\s?[–—]|~|@|,(?=\s*\d?\.\d+\s*\))|(?<=\s)(?:at|is|gets|scores|scored|reaches|as)(?=\s+(?:an?\s+)?[\d.]))|\s*(?P<bracket>[(\[{]|<(?=[^<>\n]{1,30}>))|(?P<cjk>\s*[はが]?)(?=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])|"
    r"(?P<mark>\s*)(?=[^\w\s,.;])|(?P<space>\s+))",
    re.IGNORECASE,
)
_BOX = re.compile(r"\s*:?\s*[\[(]\s*(?P<yes>[xX✓✔√])?\s*[\])](?=\s*(?:$|[,;|]|[\[(]|AU))")
_IN_BRACKET = re.compile(
    r"\s*(?:an?\s+(?=\d))?(?:(?:intensity|level|score|value|presence|state|status|grade|(?:A|ans|answer)(?=\s*:))\s*(?:of|is|=|:)?\s*)?",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"\s*(?:(?:confidence|probability|prob\.?|likelihood|certainty)\s*(?:of|is|=|:)?(?=\s*[\d.]))?", re.IGNORECASE
)
_SUFFIX = re.compile(
    r"\s*(?:[-_]\s*(?P<sign>[+-])(?=\s*(?:[,;]|$))|(?P<tight>(?<!\s)[+-])(?=\s*(?:[,;.)]|\s*$|\s+\x01))|"
    r"(?P<loose>\+{1,3}|-{1,2})(?=\s*(?:[,;.)]|\s*$)))"
)
_MARKS_BEFORE = re.compile(
    rf"(?:(?P<yes>[\[(]\s*[xX✓✔√•●*]\s*[\])]|[{re.escape(YES_MARKS)}√])|(?P<no>[\[(]\s*[\])]|[{re.escape(NO_MARKS)}])|(?P<box>☒))\s*[\"'*_(:]*\s*\Z"
)
_NUMBER_BEFORE = re.compile(
    r"(?<![\w.])(?P<number>\d{1,3}(?:[.,]\d+)?|\.\d+)\s*(?:(?P<percent>%|percent\b)|(?:/|out\s+of)\s*(?P<scale>\d{1,3})|(?<=\.\d)|(?<=\.\d\d)|(?<=\.\d\d\d)|(?<=\.\d{4}))\s*(?:of\s+|for\s+|on\s+)?\Z",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(
    r"(?P<no>没有|沒有|不存在|未见|未见到|无|無|未检测到|看不到)\s*\Z|(?<!是否)(?P<yes>存在|可见|检测到|有)\s*\Z"
)
_BULLET = re.compile(
    r"\s*(?:(?:[-*•·>#+▪◦‣–—]+|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+|#+\s*|\d{1,2}[.)]\s*)*(?:is\s+|are\s+|the\s+)?[\"'(\[{]*",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"\s*[)\]}\"'*_,;.|/!]*\s*(?:\(?\d{1,2}[.)]\s*)?\Z")
_EXPLAINS = re.compile(
    r"\s*[)\]}\"'*_]*\s*(?:[,;.(\[:!|/]|-{1,2}\s|[–—]|because\b|as\b|since\b|with\b|at\b|but\b|and\b|due\b|\n)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.;]\s+|\n")


class Pair(NamedTuple):
    """One label with its value; `start`..`end` is what both take of the line."""

    labels: tuple[Any, ...]
    value: Value
    source: str
    start: int
    end: int
    strong: bool


def line_pairs(
    line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]], numbers_before: bool = False
) -> list[Pair | None]:
    """For each label of a line its pair, or None."""
    if not spans:
        return []
    first = spans[0][0]
    before = line[max(0, first - 40) : first]
    marked = _MARKS_BEFORE.search(before)
    if marked and first <= 40 and not _is_bullet(before, marked):
        found = _marked_before(line, spans)
        if any(found):
            return found
    if _WORD_BEFORE.search(before):
        return _worded_before(line, spans)
    if numbers_before and _NUMBER_BEFORE.search(before):
        return _numbered_before(line, spans)
    pairs: list[Pair | None] = []
    for index, (start, end, labels) in enumerate(spans):
        until = spans[index + 1][0] if index + 1 < len(spans) else len(line)
        pairs.append(_behind(line, start, end, until, labels))
    return _shared(line, spans, pairs)


def _shared(
    line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]], pairs: list[Pair | None]
) -> list[Pair | None]:
    """The pairs, with the value of a bracket for each label of the list before it: "AU4, AU5 and AU7 (no)"."""
    if None not in pairs or not any(pair and pair.value.state for pair in pairs):
        return pairs
    for index in range(len(pairs) - 2, -1, -1):
        own, behind = pairs[index], pairs[index + 1]
        if own is not None or behind is None or not behind.strong or behind.value.number is not None:
            continue
        if _LISTED.fullmatch(line, spans[index][1], spans[index + 1][0]):
            pairs[index] = behind._replace(labels=spans[index][2], start=spans[index][0])
    return pairs


_LISTED = re.compile(r"\s*(?:,|/|&|\+|,?\s*(?:and|or)\b)\s*")


def leads(line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]]) -> bool:
    """Whether a line begins with its first label, bullets and counters apart."""
    match = _BULLET.match(line)
    return bool(spans) and (match is None or match.end() >= spans[0][0])


def before_rest(
    line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]], pairs: Sequence[Pair | None]
) -> list[Pair]:
    """The pairs of a line's first sentence, where it is nothing but pairs; else the first, which the rest explains."""
    first = pairs[0]
    if first is None:
        return []
    match = _SENTENCE.search(line, first.end)
    end = match.start() if match else len(line)
    own = [pair for (start, _, _), pair in zip(spans, pairs, strict=True) if start < end]
    return [pair for pair in own if pair] if all(own) else [first]


def rest_of(line: str, pair: Pair) -> str:
    """What a line says behind a pair's own sentence."""
    match = _SENTENCE.search(line, pair.end)
    return line[match.end() :] if match else ""


def _is_bullet(before: str, marked: re.Match[str]) -> bool:
    """ "- AU4" is a list, "-AU4" a denial; "– AU4" likewise."""
    sign = marked.group().strip(" \"'*_(:")
    return sign in ("-", "–", "—", "+", "×", "●", "•", "○") and marked.group()[-1:].isspace()


def _behind(line: str, start: int, end: int, until: int, labels: tuple[Any, ...]) -> Pair | None:
    suffix = _SUFFIX.match(line[:until] + ("\x01" if until < len(line) else ""), end)
    if suffix:
        sign = suffix["sign"] or suffix["tight"] or suffix["loose"]
        strength = 0.0 if sign[0] == "-" else 1.0 if suffix["loose"] is None else 0.4 + 0.2 * len(sign)
        return Pair(labels, Value(sign[0] == "+", strength=strength), "", start, suffix.end(), True)
    box = _BOX.match(line, end, until)
    if box:
        return Pair(labels, Value(bool(box["yes"]), strength=float(bool(box["yes"]))), "", start, box.end(), True)
    lead = _LEAD.match(line, end, until)
    if not lead:
        return None
    source = (lead["source"] or lead["source2"] or "").lower()
    position = lead.end()
    strong = lead["strong"] is not None
    if lead["bracket"] is not None:
        position = _IN_BRACKET.match(line, position, until).end()  # type: ignore[union-attr]
    if strong:
        position = _CONFIDENCE.match(line, position, until).end()  # type: ignore[union-attr]
        position = _IN_BRACKET.match(line, position, until).end()  # type: ignore[union-attr]
    value = match_value(line, position, until)
    if value is None:
        return None
    tail = line[value.end : until]
    if lead["bracket"] is not None:
        close = re.match(r"\s*[)\]}>]", tail)
        if not close and not re.match(r"\s*[,;]", tail):
            return None
        rest = tail[close.end() :] if close else tail
        outer = re.match(r"\s*(?::|=|->|→|\||\s[-–—]\s)\s*", rest)
        if close and outer:
            second = match_value(line, value.end + close.end() + outer.end(), until)
            if second:
                return Pair(labels, second, source, start, second.end, True)
        if value.state and value.number is None and value.strength is None:
            return None
        return Pair(
            labels, value, source, start, value.end, bool(_CLOSES.match(rest)) or _EXPLAINS.match(rest) is not None
        )
    if strong:
        if not tail or _EXPLAINS.match(tail) or _CLOSES.match(tail) or value.number is not None:
            return Pair(labels, value, source, start, value.end, True)
        return None
    if lead["cjk"] is not None or lead["mark"] is not None:
        return Pair(labels, value, source, start, value.end, False)
    # Only a space between: "AU4 0", "AU4 absent".
    if lead["space"] is not None and (_CLOSES.match(tail) or re.match(r"\s*[,;.]", tail)):
        worded = value.number is None
        return (
            Pair(labels, value, source, start, value.end, False)
            if not worded or (until < len(line) and _CLOSES.match(tail)) or not re.search(r"\w\s+\w", line[value.end :])
            else None
        )
    return None


def _marked_before(line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]]) -> list[Pair | None]:
    pairs: list[Pair | None] = []
    position = 0
    for start, end, labels in spans:
        match = _MARKS_BEFORE.search(line, max(position, start - 40), start)
        if (match and match.end() == start) or (match and not line[match.end() : start].strip(" \"'*_(")):
            yes = bool(match["yes"] or match["box"])
            pairs.append(Pair(labels, Value(yes, strength=float(yes)), "", match.start(), end, True))
        else:
            pairs.append(None)
        position = end
    return pairs


def _worded_before(line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]]) -> list[Pair | None]:
    pairs: list[Pair | None] = []
    position = 0
    last: bool | None = None
    for start, end, labels in spans:
        match = _WORD_BEFORE.search(line, max(position, start - 40), start)
        if match:
            last = bool(match["yes"])
        elif re.search(r"[^\s,、和及与,]", line[position:start]):
            last = None
        pairs.append(Pair(labels, Value(last), "", start, end, False) if last is not None else None)
        position = end
    return pairs


def _numbered_before(line: str, spans: Sequence[tuple[int, int, tuple[Any, ...]]]) -> list[Pair | None]:
    pairs: list[Pair | None] = []
    position = 0
    for start, end, labels in spans:
        match = _NUMBER_BEFORE.search(line, max(position, start - 40), start)
        if match:
            number = float(match["number"].replace(",", "."))
            scale = float(match["scale"]) if match["scale"] else None
            value = Value(number > 0, number, bool(match["percent"]), scale)
            pairs.append(Pair(labels, value, "", match.start(), end, False))
        else:
            pairs.append(None)
        position = end
    return pairs
