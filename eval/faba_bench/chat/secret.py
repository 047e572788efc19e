"""The API key: read, checked, and taken out of whatever is printed, written or raised."""

from __future__ import annotations

import logging
import re

from faba_bench.errors import BenchError

_SHORTEST = 4
_PIECE = 8
"""So many characters of a key in a row are the key, where a buffer's end has cut it or a server shows a part of it."""
_ESCAPE = re.compile(r"\\u00([2-7][0-9a-fA-F])|%([2-7][0-9a-fA-F])")
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")


def clean_key(text: str, source: str = "the API key", error: type[Exception] = BenchError) -> str:
    """``text`` without blanks and line ends around it, and without a leading ``Bearer``.

    Raises ``error`` (which does not show it) for characters that no HTTP header can carry.
    """
    key = text.strip()
    if key[:7].lower() == "bearer ":
        key = key[7:].strip()
    if not all("!" <= letter <= "~" for letter in key):
        kinds = "a line break" if "\n" in key or "\r" in key else "a blank" if " " in key else "a strange character"
        raise error(f"{source} holds {kinds} inside: it was copied with something else; set it again (it is not shown)")
    return key


class Scrubber:
    """Takes a key out of texts: whole, in JSON's or a URL's escapes, and in pieces."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._pieces = {key[start : start + _PIECE] for start in range(len(key) - _PIECE + 1)} if key else set()

    def __call__(self, text: str) -> str:
        """``text`` with ``[key]`` wherever the key or eight characters of it stood."""
        if len(self._key) < _SHORTEST:
            return text
        text = self._without(text)
        if "\\u00" in text or "%" in text:
            plain = _ESCAPE.sub(self._letter, text)
            clean = self._without(plain)
            if clean != plain:
                text = clean
        return text

    def _letter(self, match: re.Match[str]) -> str:
        letter = chr(int(match.group(1) or match.group(2), 16))
        # Only what keys are made of, so that JSON stays JSON.
        return letter if letter in self._key and letter not in '"\\' else match.group(0)

    def _without(self, text: str) -> str:
        text = text.replace(self._key, "[key]")
        spans: list[list[int]] = []
        for piece in self._pieces:
            start = text.find(piece)
            while start >= 0:
                spans.append([start, start + len(piece)])
                start = text.find(piece, start + 1)
        for start, end in reversed(_merged(spans)):
            text = f"{text[:start]}[key]{text[end:]}"
        for length in range(min(len(self._key), _PIECE) - 1, _SHORTEST - 1, -1):
            if text.endswith(self._key[:length]):  # the beginning of the key, cut off by the end of what was read
                return text[:-length] + "[key]"
        return text


def _merged(spans: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


class _LogFilter(logging.Filter):
    def __init__(self, scrub: Scrubber) -> None:
        super().__init__()
        self.scrub = scrub

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrub(record.getMessage()), ()
        return True


def scrub_logs(scrub: Scrubber) -> None:
    """The transport's own log lines hold headers of both directions: take the key out of them as well."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for old in [one for one in logger.filters if isinstance(one, _LogFilter)]:
            logger.removeFilter(old)
        logger.addFilter(_LogFilter(scrub))
