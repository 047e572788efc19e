"""The one check of a record's conversation: what training would fail on, or learn otherwise than it is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from faba_bench.files.jsonfiles import kind_of
from faba_bench.thoughts import strip_thoughts

from llava_faba.records.vocabulary import IMAGE_TOKEN


class Fault(NamedTuple):
    """A kind (``layout``, ``turns``, ``image-token``, ``thoughts``) and what is wrong."""

    kind: str
    message: str


def faults(record: Mapping[str, Any]) -> Iterator[Fault]:
    """Everything that is wrong with a training record's turns; the first is the one to fix first.

    Sound is: turns by human and gpt in turn, human first, gpt last, none of them blank; one ``<image>`` at the start or
    the end of the first question where the record has an image, else none; no model's thoughts in an answer.
    """
    turns = record.get("conversations")
    layout = [*_misspelt(record), *_layout(turns)]
    if layout:
        yield from layout
        return
    assert isinstance(turns, list)
    speakers = [turn["from"] for turn in turns]
    if speakers != ["human", "gpt"] * (len(speakers) // 2):
        yield Fault(
            "turns", f"speakers are {_listing(speakers)}, expected human and gpt in turn, human first, gpt last"
        )
    yield from _tokens(turns, "image" in record)
    for place, turn in enumerate(turns):
        if turn["from"] == "gpt" and strip_thoughts(turn["value"]).had_thoughts:
            yield Fault(
                "thoughts", f"turn {place} holds a model's thoughts (such as <think>): only the answer is learnt"
            )


# Keys whose absence changes what is trained, without a word.
_KEYS = ("conversations", "image", "landmark")
_AS_SIMILAR = 0.85  # "images" and "lankmark" are, "image_id" is not


def _misspelt(record: Mapping[str, Any]) -> Iterator[Fault]:
    """Keys that are nearly one of ours which the record has not: a picture or a prior that nobody would miss."""
    absent = [key for key in _KEYS if key not in record]
    for name in record:
        meant = difflib.get_close_matches(str(name).strip().lower(), absent, n=1, cutoff=_AS_SIMILAR)
        if meant:
            yield Fault(
                "layout",
                f"the key {_shown(name)} is not read, and there is no '{meant[0]}': if that is meant, rename it, "
                "else give the key another name",
            )


def _layout(turns: object) -> Iterator[Fault]:
    if not isinstance(turns, list) or len(turns) < 2:
        yield Fault("layout", "'conversations' is not a list of at least two turns")
        return
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            yield Fault("layout", f"turn {place}: a turn has no text under 'value'")
        elif turn.get("from") not in ("human", "gpt"):
            yield Fault("layout", f"turn {place}: a turn is from {_shown(turn.get('from'))}, not 'human' or 'gpt'")
        elif not turn["value"].replace(IMAGE_TOKEN, "").strip() and turn["from"] == "gpt":
            yield Fault("layout", f"turn {place}: an answer is empty")


def _tokens(turns: Sequence[Mapping[str, Any]], has_image: bool) -> Iterator[Fault]:
    counts = [turn["value"].count(IMAGE_TOKEN) for turn in turns]
    if not has_image:
        if sum(counts):
            yield Fault("image-token", f"has no image but '{IMAGE_TOKEN}' in its text")
        return
    if sum(counts) != 1:
        yield Fault("image-token", f"has an image and {sum(counts)} times '{IMAGE_TOKEN}' in its text, not once")
        return
    place = counts.index(1)
    speaker, text = turns[place]["from"], turns[place]["value"].strip()
    if speaker != "human":
        yield Fault(
            "image-token", f"'{IMAGE_TOKEN}' stands in turn {place}, an answer; it belongs into the first question"
        )
    elif any(turn["from"] == "human" for turn in turns[:place]):
        yield Fault("image-token", f"'{IMAGE_TOKEN}' stands in turn {place}; it belongs into the first question")
    elif not (text.startswith(IMAGE_TOKEN) or text.endswith(IMAGE_TOKEN)):
        yield Fault(
            "image-token",
            f"'{IMAGE_TOKEN}' stands inside the text of turn {place}, and LLaVA moves it to the front: put it at the "
            "start or the end of the question",
        )


def _listing(speakers: Sequence[str]) -> str:
    shown = ", ".join(speakers[:8])
    return shown if len(speakers) <= 8 else f"{shown} ... ({len(speakers)} turns)"


def _shown(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else kind_of(value)
