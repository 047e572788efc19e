"""Taking a reasoning model's thoughts out of its text: what is left is the answer.

One place for scoring, for annotation and for training texts. Known are tags such as ``<think>`` (any case, with
attributes, escaped, nested, without the opening one), Kimi's triangles, Mistral's brackets, Cohere's, Sky-T1's and
similar markers, and the channels of the harmony format (gpt-oss).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Answer(NamedTuple):
    """A text without its thoughts: the answer, whether there were thoughts, and whether the last ones never end."""

    text: str
    had_thoughts: bool
    unfinished: bool


_NAMES = (
    r"(?:antml:|seed:|\w{1,12}:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratch[ _-]?pad|"
    r"(?:inner|internal)[ _-]?(?:monologue|thoughts?|reasoning)|chain[ _-]?of[ _-]?thoughts?|cot|deliberation|"
    r"thought[ _-]?process|reasoning[ _-]?content)"
)
# An opening tag, or a closing one (with its slash), in any of the brackets that models use.
_TAG = re.compile(
    rf"(?:<|&lt;|&#60;)\s*(?P<slash>/?)\s*(?P<name>{_NAMES})(?:\s[^<>]{{0,200}}?)?\s*(?P<self>/?)\s*(?:>|&gt;|&#62;)|"
    rf"◁\s*(?P<slash2>/?)\s*(?P<name2>{_NAMES})\s*▷|"
    rf"\[\s*(?P<slash3>/?)\s*(?P<name3>THINK(?:ING)?|THOUGHTS?|REASONING)\s*\]|"
    r"<\|\s*(?:(?P<begin>begin_of_|start_of_|start_|begin_)|(?P<finish>end_of_|end_))"
    r"(?P<name4>think(?:ing)?|thoughts?|reasoning)\s*\|>|"
    rf"<\|\s*(?P<slash5>/?)(?P<name5>{_NAMES})\s*\|>|"
    r"<\s*(?P<details>details)\s[^<>]{0,200}?type\s*=\s*[\"']?reasoning[^<>]{0,200}>|<\s*(?P<slash6>/)\s*details\s*>",
    re.IGNORECASE,
)
_HARMONY = re.compile(r"<\|channel\|>\s*(\w+)[^<]{0,200}(?:<\|message\|>)?", re.IGNORECASE)
_HARMONY_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>", re.IGNORECASE)
_WRAPPING = re.compile(
    r"<\|\s*(?:begin|end)_of_(?:solution|box|text|answer)\s*\|>|<\|(?:return|endoftext|im_end)\|>", re.I
)
# "Here is my thought process: ... Here is my response: ..." (Granite).
_SPOKEN = re.compile(
    r"\A\s*(?:\*\*)?here(?:'s|’s| is| are) my (?:thought process|thoughts|thinking|reasoning)\s*:", re.IGNORECASE
)
_SPOKEN_END = re.compile(r"\bhere(?:'s|’s| is) my (?:final )?(?:response|answer)\s*:(?:\*\*)?", re.IGNORECASE)
_FENCE = re.compile(
    r"^```[ \t]*(?:think(?:ing)?|thoughts?|reasoning|scratchpad)\b[^\n]*\n(.*?)(^```[ \t]*$|\Z)", re.I | re.M | re.S
)
_EMPTY_FENCE = re.compile(r"\A\s*```\w*\s*```\s*\Z")
_HINTS = re.compile(r"think|thought|reason|scratch|reflection|channel\|>|monologue|\bcot\b|deliberation|solution", re.I)


def strip_thoughts(text: str) -> Answer:
    """The answer in a text of a reasoning model.

    Whatever stands between an opening and a closing mark goes; before a closing mark that was never opened, everything
    goes; after an opening mark that is never closed there is no answer, and the text is empty. White space at the ends
    is stripped only where there were thoughts: any other text comes back as it is.
    """
    if not _HINTS.search(text):
        return Answer(text, False, False)
    whole = text
    text, had, unfinished = _without_channels(text)
    if not unfinished:
        text, fenced, unfinished = _without_fences(text)
        had = had or fenced
    if not unfinished:
        text, spoken, unfinished = _without_spoken(text)
        had = had or spoken
    if not unfinished:
        text, tagged, unfinished = _without_tags(text)
        had = had or tagged
    if unfinished:
        return Answer("", True, True)
    if not had:
        return Answer(whole, False, False)
    text = _WRAPPING.sub("", text).strip()
    return Answer("" if _EMPTY_FENCE.match(text) else text, True, False)


def _without_tags(text: str) -> tuple[str, bool, bool]:
    kept: list[str] = []
    open_tags: list[str] = []
    position, had = 0, False
    for match in _TAG.finditer(text):
        name, closing, alone = _kind(match)
        if closing and name == "details" and name not in open_tags:
            continue  # a <details> of another kind
        if not open_tags:
            kept.append(text[position : match.start()])
        position = match.end()
        had = True
        if alone:
            continue
        if not closing:
            open_tags.append(name)
        elif name in open_tags:
            del open_tags[len(open_tags) - 1 - open_tags[::-1].index(name) :]
        elif not open_tags:
            kept.clear()  # closed without having been opened: all of it was thoughts
    if open_tags:
        return "", True, True
    return "".join([*kept, text[position:]]), had, False


def _kind(match: re.Match[str]) -> tuple[str, bool, bool]:
    """The name of a tag in one spelling, whether it closes, and whether it opens and closes at once."""
    if match["details"] or match["slash6"]:
        return "details", bool(match["slash6"]), False
    if match["name4"]:
        return _stem(match["name4"]), bool(match["finish"]), False
    for name, slash in (("name", "slash"), ("name2", "slash2"), ("name3", "slash3"), ("name5", "slash5")):
        if match[name]:
            closing = bool(match[slash])
            return _stem(match[name]), closing, name == "name" and bool(match["self"]) and not closing
    raise AssertionError("a tag without a name")


def _stem(name: str) -> str:
    # "<thinking> ... </think>" is one pair: models mix the two.
    bare = name.lower().rpartition(":")[2]
    return "think" if bare.startswith(("think", "thought")) else bare


def _without_channels(text: str) -> tuple[str, bool, bool]:
    """Only the final channel of a harmony text; unfinished when it has others and no final one."""
    channels = list(_HARMONY.finditer(text))
    if not channels:
        return text, False, False
    final = [match for match in channels if match.group(1).lower() == "final"]
    others = len(final) < len(channels) or bool(text[: channels[0].start()].replace("<|start|>assistant", "").strip())
    if not final:
        return "", True, True
    start = final[-1].end()
    end = _HARMONY_END.search(text, start)
    return text[start : end.start() if end else len(text)], others, False


def _without_fences(text: str) -> tuple[str, bool, bool]:
    found = list(_FENCE.finditer(text))
    if not found:
        return text, False, False
    return _FENCE.sub("", text), True, not found[-1].group(2)


def _without_spoken(text: str) -> tuple[str, bool, bool]:
    if not _SPOKEN.match(text):
        return text, False, False
    end = _SPOKEN_END.search(text)
    return (text[end.end() :], True, False) if end else ("", True, True)
