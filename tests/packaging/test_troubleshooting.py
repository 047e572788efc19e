"""The page of errors quotes what the program says."""

from __future__ import annotations

import re

from support import ROOT

SOURCES = [path for folder in ("llava_faba", "eval") for path in (ROOT / folder).rglob("*.py")]


def said() -> str:
    """All that the sources hold, with strings that go over lines put together and values left open."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    return re.sub(r'"\s*\n?\s*f?"', "", text)


def test_every_quoted_message_is_one_of_ours():
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    quoted = [part for row in rows for part in re.findall(r"`([^`]+)`", row)]
    foreign = {"No such file or directory: 'deepspeed'"}
    sources = said()
    missing = [text for text in quoted if text not in sources and text not in foreign]
    assert missing == [] and len(quoted) > 20
