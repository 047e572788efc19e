"""Reference texts that a converter wrote from the labels: comparing with them measures nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from faba_bench.records import Record

_RESIDUES = frozenset(
    (
        "",
        "the action unit conveyed by this face is",
        "the action units conveyed by this face are",
        "no action units are conveyed by this face",
        "there is no active action unit in this face",
        "the face is at rest without any active action unit",
        "the emotion conveyed by this face is",
        "this face expresses",
        "the facial expression in this image shows",
        "the person in this picture displays",
        "this is a face of",
    )
)
_WORD = re.compile(r"[a-z]+")


def are_templates(records: Sequence[Record]) -> bool:
    """Whether every reference text says its label in one of the converters' sentences and nothing else."""
    texts = [record.reference for record in records if record.reference is not None]
    return bool(texts) and all(_residue(record) in _RESIDUES for record in records if record.reference is not None)


def _residue(record: Record) -> str:
    text = (record.reference or "")[:2000]
    if isinstance(record.target, str):
        text = re.sub(re.escape(record.target), " ", text, flags=re.IGNORECASE)
    else:
        from faba_bench.strict.mentions import find_mentions

        for mention in reversed(find_mentions(text)):
            text = text[: mention.start] + " " + text[mention.end :]
        text = re.sub(r"\band\b", " ", text)
    return " ".join(_WORD.findall(text.lower()))
