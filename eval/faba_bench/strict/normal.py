"""One spelling for what can be written in several: widths, quotes, dashes, entities, emphasis."""

from __future__ import annotations

import html
import re

from faba_bench.strict.signs import drawn, elements

_TABLE: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_TABLE |= str.maketrans(
    {
        "\u3000": " ", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2028": "\n", "\u2029": "\n", "\u0085": "\n",
        "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "", "\ufe0f": "", "\ufe0e": "", "\u00ad": "",
        "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'", "`": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2212": "-", "\ufe63": "-",
        "\u3001": ", ", "\uff0c": ", ", "\u060c": ", ", "\ufe50": ", ", "\ufe51": ", ",
        "\u3002": ". ", "\uff61": ". ", "\u06d4": ". ", "\u0964": ". ",
        "\uff1b": "; ", "\u061b": "; ", "\ufe54": "; ",
        "\uff1a": ": ", "\ufe55": ": ", "\ufe13": ": ", "\ufe30": ": ", "\u2236": ": ", "\ua789": ": ", "\u0589": ": ",
        "\uff1f": "? ", "\u061f": "? ", "\u037e": "? ", "\uff01": "! ",
        "\uff08": " (", "\uff09": ") ", "\u3010": " [", "\u3011": "] ", "\u300c": '"', "\u300d": '"',
        "\u2026": "...", "\u301c": "~",
    }
)  # fmt: skip
_EMPHASIS = re.compile(r"\*\*+|__+|(?<![\w*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w*])|~~")
_BOXED = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
#: Google Vision's fields: "joyLikelihood: VERY_LIKELY".
_LIKELIHOOD = re.compile(r"\b[a-z]{3,12}Likelihood\b|\bVERY_(?:UN)?LIKELY\b")
_BREAK = re.compile(r"<\s*(?:br|/p|/div|/li|/ul|/ol|/h[1-6])\s*/?\s*>", re.IGNORECASE)
_ITEM = re.compile(r"<\s*li\b[^<>]*>", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(?:p|div|ul|ol|b|i|em|strong|span|u|code|pre|h[1-6]|html|body|section)\b[^<>]*>", re.IGNORECASE
)


def normal(text: str) -> str:
    """The text with ASCII punctuation and straight quotes, and without emphasis and inline markup.

    Tables, lists and braces stay: they are structure.
    """
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = drawn(text.translate(_TABLE))
    elif "`" in text:
        text = text.replace("`", "'")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" in text:
        for _ in range(3):
            text = _BOXED.sub(r" \1 ", text)
        text = text.replace("\\n", "\n").replace("$", " ")
    if "ikelihood" in text:
        text = _LIKELIHOOD.sub(lambda match: match.group().replace("_", " ").removesuffix("Likelihood"), text)
    if "*" in text or "__" in text or "~~" in text:
        text = _EMPHASIS.sub("", text)
    if "<" in text:
        text = elements(_MARKUP.sub("", _ITEM.sub("\n- ", _BREAK.sub("\n", text))))
    return text
