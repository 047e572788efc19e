"""Lower case without moving any character: patterns without IGNORECASE are several times as fast."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=16)
def folded(text: str) -> str:
    """The text in lower case, each character at its place."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)
