"""Values that are drawn rather than written: stars and bars, two boxes to choose from, XML elements."""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

import re

_FULL, _EMPTY = "●★■▮█🟩🟢⬛♥⚫🔵", "○☆□▯░⬜⚪♡"
_BAR = re.compile(rf"(?P<full>[{_FULL}]*)[⯨◐½]?(?P<empty>[{_EMPTY}]*)")
_BAR_START = re.compile(rf"[{_FULL}{_EMPTY}]{{3,20}}")
_MEASURED = re.compile(rf"[{_FULL}{_EMPTY}]+(?=\s*[(:]?\s*\d)")
_BOX_YES, _BOX_NO = r"[☒☑✅✔✓]|\[[xX✓]\]|\([xX✓]\)", r"[☐□⬜]|\[ ?\]|\( ?\)"
_CHOICE_WORD = r"(?:present|absent|yes|no|active|inactive|true|false|visible|not\s+(?:present|active|visible)|none|observed|not\s+observed|detected|not\s+detected)"
_CHOICE = re.compile(
    rf"(?:{_BOX_YES}|{_BOX_NO})\s*{_CHOICE_WORD}\b[ \t,/|]*(?:(?:{_BOX_YES}|{_BOX_NO})\s*{_CHOICE_WORD}\b[ \t,/|]*)+",
    re.IGNORECASE,
)
_CHOICE_BEHIND = re.compile(
    rf"(?<=[\s:|]){_CHOICE_WORD}\s*(?:{_BOX_YES}|{_BOX_NO})[ \t,/|]*{_CHOICE_WORD}\s*(?:{_BOX_YES}|{_BOX_NO})",
    re.IGNORECASE,
)
_CHOSEN = re.compile(rf"(?:(?P<yes>{_BOX_YES})|(?:{_BOX_NO}))\s*(?P<word>{_CHOICE_WORD})", re.IGNORECASE)
_CHOSEN_BEHIND = re.compile(rf"(?P<word>{_CHOICE_WORD})\s*(?:(?P<yes>{_BOX_YES})|(?:{_BOX_NO}))", re.IGNORECASE)
_ELEMENT = re.compile(
    r"<\s*(?P<tag>[A-Za-z]\w*)(?P<attributes>(?:\s+[\w-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*)\s*(?:/\s*>|>(?P<body>[^<>]{0,200})<\s*/\s*(?P=tag)\s*>)"
)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')")
_HTML_TAGS = frozenset(
    "p div ul ol li b i em strong span u code pre html body section table tr td th thead tbody br h1 h2 h3 h4 h5 h6 a answer final "
    "final_answer response output solution think img font".split()
)
_IDENTITY = ("id", "number", "code", "name", "unit", "label", "au", "class", "key", "type")
_STATE = (
    "present",
    "value",
    "state",
    "status",
    "score",
    "intensity",
    "active",
    "detected",
    "presence",
    "probability",
    "confidence",
)


def drawn(text: str) -> str:
    """The text with bars as "3/5" and of two boxes the word that is ticked."""
    text = _BAR_START.sub(_as_number, _MEASURED.sub("", text))
    if _CHOICE.search(text):
        text = _CHOICE.sub(lambda match: _ticked(match, _CHOSEN), text)
    if _CHOICE_BEHIND.search(text):
        text = _CHOICE_BEHIND.sub(lambda match: _ticked(match, _CHOSEN_BEHIND), text)
    return text


def _as_number(match: re.Match[str]) -> str:
    bar = match.group()
    whole = _BAR.fullmatch(bar)
    return f" {len(whole['full'])}/{len(bar)}" if whole else bar


def _ticked(match: re.Match[str], pattern: re.Pattern[str]) -> str:
    source = match.group()
    words = [chosen["word"] for chosen in pattern.finditer(source) if chosen["yes"]]
    return words[0] + " " if len(words) == 1 else source


def elements(text: str) -> str:
    """XML elements that name a label as "label: value" lines: ``<AU4>0</AU4>``, ``<au id="4" present="no"/>``."""
    return _ELEMENT.sub(_element, text)


def _element(match: re.Match[str]) -> str:
    tag = match["tag"]
    if tag.lower() in _HTML_TAGS:
        return match.group()
    attributes = {name.lower(): (one or other) for name, one, other in _ATTRIBUTE.findall(match["attributes"] or "")}
    body = (match["body"] or "").strip()
    name = next((attributes[key] for key in _IDENTITY if attributes.get(key)), "")
    value = body or next((attributes[key] for key in _STATE if key in attributes), "")
    if name:
        label = f"AU{name}" if name.isdigit() and tag.lower().rstrip("s") in ("au", "unit", "action_unit") else name
        return f"\n{label}: {value}\n" if value else f"\n{label}\n"
    return f"\n{tag}: {value}\n" if value else match.group()
