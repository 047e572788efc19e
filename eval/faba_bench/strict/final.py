"""The part of an answer that says that it is the answer: ``<answer>``, "Final answer:"."""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re

_TAG = re.compile(
    r"<\s*(?P<name>answer|final_answer|final|response|output|solution)\s*>(?P<body>.*?)(?:<\s*/\s*(?P=name)\s*>|\Z)",
    re.I | re.S,
)
_LINE = re.compile(
    r"(?:\A|\n|[.!?]\s)[#> \t]{0,8}(?:the\s+|my\s+|so\s+(?:the\s+|my\s+)?)*final\s+(?:answer|verdict|coding|decision|result|label|prediction)\s*(?:is|:|=|-)+\s*(?P<body>\S.*)",
    re.I | re.S,
)
_MARKUP = re.compile(r"<\s*/?\s*(?:answer|final_answer|response|output|solution)\s*>", re.IGNORECASE)


def final_answer(text: str) -> str:
    """What stands inside the last ``<answer>`` tag or behind the last "Final answer:", else the whole text."""
    lowered = text.lower()
    if "answer" in lowered or "final" in lowered or "<" in text:
        tags = [match["body"] for match in _TAG.finditer(text) if match["body"].strip()]
        if tags:
            return tags[-1]
        found = None
        position = 0
        while match := _LINE.search(text, position):
            found = match
            position = match.start("body")
        if found:
            return found["body"]
        return _MARKUP.sub(" ", text)
    return text
