"""What a cell, a field or the end of a line says of its label: present, absent, a number, or unclear."""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from faba_bench.strict.folded import folded

_WAYS = r"(?:clearly|visibly|really|currently|noticeably|strongly|apparently|at\s+all|very|fully|being)\s+"
_SEEN = (
    r"present|active|activated|visible|detected|observed|seen|shown|evident|apparent|engaged|involved|there|displayed|"
    r"expressed|noticeable|perceptible|discernible|found|noted|coded|observable|detectable|triggered|on|identified|used|"
    r"occurring|applicable|marked|raised|lowered|in\s+play|contracted|noticed|exhibited|recognized|recognised|selected"
)
_ABSENT = (
    rf"(?:is\s+|are\s+)?(?:not|isn't|aren't|never|hardly|barely|scarcely|un-?)\s*(?:{_WAYS})?(?:{_SEEN})(?:\s+(?:here|in\s+(?:this|the)\s+\w+))?|"
    r"no\s+(?:clear\s+|visible\s+|significant\s+|obvious\s+)?(?:activity|activation|movement|sign|signs|evidence|change|action|contraction|intensity|trace)(?:\s+(?:visible|seen|detected|observed))?|"
    r"absent|absence|inactive|missing|lacking|reject(?:ed)?|declined|dismissed|undetected|unobserved|invisible|unlikely|(?:very|highly)\s+unlikely|le(?:ss|ast)\s+likely|ruled\s+out|excluded|"
    r"neutral|relaxed|at\s+rest|resting|negative|off|false|none|nothing|no|nope|n|f|zero|nil|null|nan|"
    r"not\s+(?:at\s+all|applicable|active\s+at\s+all)|trace\s+absent|deactivated|inactivated|disengaged|unmoved|"
    # other languages
    r"不存在|没有|沒有|未见|未見|未激活|未出现|未检测到|不活跃|不明显|无|無|否|不是|不|缺失|缺席|ない|なし|無し|いいえ|見られない|存在しない|非活性|"
    r"없음|없다|아니오|아니요|비활성|nein|nicht\s+(?:vorhanden|aktiv|sichtbar)|inaktiv|kein|keine|abwesend|fehlt|fehlend|non|absente?|inactif|inactive|ausente|inactivo|inativo|"
    r"n[ãa]o|assente|inattivo|нет|отсутствует|неактив\w*|لا|غير\s+موجود|غائب|nee|afwezig|nej|nie|hay[ıi]r|yok|नहीं|nu|ne|όχι"
)
_PRESENT = (
    rf"(?:is\s+|are\s+)?(?:{_WAYS})?(?:{_SEEN})(?:\s+(?:here|in\s+(?:this|the)\s+\w+))?|yes|yep|y|true|t|positive|confirmed|certain|definite|"
    r"accept(?:ed)?|affirmed|scored|likely|(?:very|highly|quite|most|more)\s+likely|probable|probably|strong(?:ly)?|moderate(?:ly)?|medium|mild(?:ly)?|slight(?:ly)?|weak(?:ly)?|low|high|(?:very|quite|extremely)\s+(?:strong|weak|low|high|slight|mild)|"
    r"trace|pronounced|severe|extreme|max(?:imum)?|subtle|faint|clear(?:ly)?|intense|full|partial|minor|major|significant|light|heavy|"
    r"(?:mild|slight|weak|low|medium|moderate)\s+to\s+(?:moderate|strong|high|medium)|(?:slightly|strongly|clearly|moderately|weakly|very|faintly|mildly)\s+(?:present|active|visible|activated|raised|lowered)|"
    r"存在|有|是|出现|出現|激活|活跃|明显|可见|検出|見られる|あり|ある|はい|存在する|活性|있음|있다|예|네|활성|ja|vorhanden|aktiv|sichtbar|anwesend|stark|schwach|oui|présente?|actif|"
    r"active|s[íi]|presente|activo|ativo|sim|attivo|да|присутствует|активн\w*|نعم|موجود|tak|evet|var|हाँ|da|ναι|aanwezig"
)
_UNCLEAR = (
    r"unclear|uncertain|unsure|unknown|maybe|possibl[ey]|perhaps|ambiguous|indeterminate|indeterminable|undetermined|cannot\s+tell|can't\s+tell|"
    r"not\s+(?:sure|clear|certain)|not\s+enough\s+information|yes\s*/\s*no|no\s*/\s*yes|0\s*/\s*1(?!\d)|1\s*/\s*0(?!\d)|"
    r"50\s*/\s*50|true\s*/\s*false|present\s*/\s*absent|yes\s+(?:or|and)\s+no|absent\s*/\s*present|borderline|inconclusive|hard\s+to\s+tell|\?|"
    r"不确定|不清楚|不明|неясно|unklar|incertain|incierto"
)
#: What a coder could not look at: neither coded nor denied.
_UNSEEN = (
    r"n/?a|(?:(?:is|are)\s+)?(?:(?:partly|partially|fully|completely)\s+)?(?:occluded|obscured|hidden|covered|out\s+of\s+(?:view|frame|shot)|unscor(?:e)?able|uncodable|not\s+(?:codable|codeable|scorable|scoreable|assessable|determinable|assessed|coded|rated|scored|evaluated|available)|"
    r"unassessable|(?:cannot|can't|could\s+not|couldn't)\s+be\s+(?:assessed|coded|scored|judged|rated|evaluated|determined|seen\s+due\b[^\n,;]*)|被遮挡|遮挡|无法判断|无法评估)"
)
YES_MARKS = "✓✔✅☑🗹🟢🟩👍⭕●◉■+"
NO_MARKS = "✗✘❌✕✖×☐⬜🚫👎⛔🔴🟥❎○◯□⨯☓🅇-–—"
_MARK = re.compile(
    rf"(?P<yes>\[\s*[xX✓✔√]\s*\]|[{re.escape(YES_MARKS)}√])|(?P<no>\[\s*[-–✗✘]?\s*\]|[{re.escape(NO_MARKS)}])|(?P<box>☒)"
)
_END = r"(?=\s*(?:$|[.,;:!|)\]}(\[/\n\"'<>&±\x01]|-{1,2}(?:\s|$)|[–—]|because\b|as\b|since\b|with\b|at\b|but\b|and\b|due\b|\d))"
_CJK_END = r"(?=\s*(?:$|\W)|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])"
_LETTER = r"(?P<letter>[a-e])(?:-level)?"
_NUMBER = (
    r"(?P<number>[-+]?(?:\d{1,6}(?:[.,]\d{1,12})?|\.\d{1,12})(?:e[-+]?\d{1,3})?)\s*(?P<percent>%|percent\b|per\s+cent\b|\u066a)?"
    r"(?:\s*(?:/|out\s+of|of)\s*(?P<scale>\d{1,3}(?:\.0)?))?(?:\s*(?P<unit>points?|pts?|stars?))?(?![\w.]*\d)"
)
_VALUE = re.compile(
    rf"\s*[\"'*_]*(?:(?P<unseen>{_UNSEEN}{_END})|(?P<unclear>(?:{_UNCLEAR}){_END}|\?(?=\s*$))|{_NUMBER}{_END}|(?P<absent>(?:{_ABSENT})(?:{_END}))|(?P<present>(?:{_PRESENT})(?:{_END}))|"
    rf"{_LETTER}{_END})[\"'*_]*",
)
#: Ranks of words of strength, for emotions: the highest one wins.
STRENGTH = {
    "trace": 0.1, "minor": 0.2, "faint": 0.2, "subtle": 0.2, "slight": 0.25, "slightly": 0.25, "weak": 0.3, "weakly": 0.3,
    "low": 0.3, "mild": 0.3, "mildly": 0.3, "light": 0.3, "partial": 0.4, "medium": 0.5, "moderate": 0.5, "moderately": 0.5,
    "clear": 0.75, "pronounced": 0.8, "significant": 0.8, "high": 0.8, "strong": 0.8, "strongly": 0.8, "major": 0.8,
    "heavy": 0.85, "intense": 0.9, "severe": 0.9, "full": 0.95, "extreme": 0.95, "max": 1.0, "maximum": 1.0,
    "unlikely": 0.0, "likely": 0.7, "probable": 0.7, "very high": 0.9, "very strong": 0.9, "very low": 0.1, "very weak": 0.1,
    "very likely": 0.9, "most likely": 0.95, "more likely": 0.8, "highly likely": 0.9, "extremely high": 0.97, "extremely low": 0.05, "quite high": 0.8,
}  # fmt: skip


class Value(NamedTuple):
    """`state` True, False or None (unclear, or `unseen`: not coded); `number` with its `percent` and `scale` where there is one."""

    state: bool | None
    number: float | None = None
    percent: bool = False
    scale: float | None = None
    strength: float | None = None
    end: int = 0
    unseen: bool = False


def match_value(text: str, start: int = 0, end: int | None = None) -> Value | None:
    """The value that stands at `start` of a text, when one does."""
    end = len(text) if end is None else end
    position = start
    while position < end and text[position] in " \t\"'":
        position += 1
    mark = _MARK.match(text, position, end)
    if _EMPTY.match(text, start, end):
        return Value(False, strength=0.0, end=position)
    if mark and not _NUMERIC.match(text, position, end):
        behind = match_value(text, mark.end(), end) if _WORDED.match(text, mark.end(), end) else None
        if behind is not None and behind.state is not None and behind.number is None:
            return behind  # "❌ No", "✅ Present": the word says what the mark means
        return Value(bool(mark["yes"]), strength=1.0 if mark["yes"] else 0.0, end=mark.end())
    match = _VALUE.match(folded(text), start, end)
    if not match:
        return None
    if match["unseen"]:
        return Value(None, end=match.end(), unseen=True)
    if match["unclear"]:
        return Value(None, end=match.end())
    if match["number"]:
        number = float(match["number"].replace(",", "."))
        if match["scale"] and float(match["scale"]) == 100:
            return Value(number > 0, number, True, end=match.end())
        return Value(
            number > 0,
            number,
            bool(match["percent"]),
            float(match["scale"]) if match["scale"] else None,
            end=match.end(),
        )
    if match["absent"]:
        return Value(False, strength=0.0, end=match.end())
    if match["letter"]:
        return Value(True, strength=(" abcde".index(match["letter"].lower())) / 5, end=match.end())
    return Value(True, strength=STRENGTH.get(" ".join(match["present"].lower().split()), 0.6), end=match.end())


_EMPTY = re.compile(r"\s*(?:\"\"|'')\s*(?=$|[,;}\n])")
_WORDED = re.compile(r"\s*[^\W\d_]")
_NUMERIC = re.compile(r"[-+]\s?(?:\d|\.\d)")


def cell_value(cell: str) -> Value | None:
    """The value of a whole cell; None when the cell is prose or empty."""
    text = cell.strip().strip(".")
    if not text:
        return None
    value = match_value(text)
    if value is None:
        return None
    rest = text[value.end :].strip(" .,;:)(]['\"-–—")
    if (
        rest
        and value.number is not None
        and not re.match(r"(?i)intensity|/|\(|level|[a-e]\b|present|absent|not|of\b|out\b", rest)
    ):
        return None if len(rest.split()) > 3 else value
    return value


def json_value(value: object) -> Value | None:
    """The value of a JSON field that is no container."""
    if value is None:
        return Value(False, strength=0.0)
    if isinstance(value, bool):
        return Value(value, strength=float(value))
    if isinstance(value, int | float):
        return Value(value > 0, float(value)) if value == value else Value(None)
    return cell_value(value) if isinstance(value, str) else None


def decide(values: Iterable[Value], intensities: bool = False) -> list[bool | None]:
    """Present or absent for each value of one answer.

    Above zero is present, except where all numbers look like probabilities: percents, or fractions up to 1 that are
    not all whole, where half is needed.  `intensities` says that they are none.
    """
    values = list(values)
    numbers = [value.number for value in values if value.number is not None and not value.percent and not value.scale]
    fractions = bool(numbers) and all(0 <= n <= 1 for n in numbers) and any(n not in (0, 1) for n in numbers)
    decided: list[bool | None] = []
    for value in values:
        if value.number is None or value.state is None:
            decided.append(value.state)
        elif value.percent:
            decided.append(value.number >= 50)
        elif fractions and not intensities and not value.scale:
            decided.append(value.number >= 0.5)
        else:
            decided.append(value.number > 0)
    return decided
