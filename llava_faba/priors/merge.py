"""One store out of several: shards of one extraction, or a second run over what was unreadable in the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.experts import PriorStatus
from llava_faba.priors.problems import write_problems
from llava_faba.priors.store import Entry, PriorStore
from llava_faba.priors.writer import Row, comparable_settings, open_like

_ROWS_AT_ONCE = 4096


def merge(sources: Sequence[str | Path], out: str | Path) -> PriorStore:
    """Merge stores of one expert into ``out``, which is made when absent and added to otherwise; resumable.

    An image in several stores must have the same prior in all of them; a store where it was unreadable gives way.
    Raises PriorError for stores of different experts or settings, and for an image with two different priors.
    """
    stores = [PriorStore.open(source) for source in sources]
    if not stores:
        raise PriorError("merge: no store was named.")
    for store in stores[1:]:
        _check_same_expert(stores[0], store)
    with open_like(out, stores[0]) as writer:
        waiting: list[Row] = []
        queued: set[str] = set()
        for position, store in enumerate(stores):
            for entry in store.entries():
                if entry.image in writer or entry.image in queued:
                    continue
                waiting.append(_best(entry, stores[position:]))
                queued.add(entry.image)
                if len(waiting) == _ROWS_AT_ONCE:
                    writer.append(waiting)
                    waiting, queued = [], set()
        writer.append(waiting)
    merged = PriorStore.open(out)
    write_problems(merged)
    return merged


def _best(entry: Entry, stores: Sequence[PriorStore]) -> Row:
    """The image's row: from the first store that could read it, and agreeing with the others that could."""
    holding = [store for store in stores if entry.image in store]
    entries = [store.entry(entry.image) for store in holding]
    readable = [i for i, one in enumerate(entries) if one.status != PriorStatus.UNREADABLE.value]
    chosen = readable[0] if readable else 0
    for other in readable[1:]:
        if (entries[other].crc32, entries[other].status) != (entries[chosen].crc32, entries[chosen].status):
            raise PriorError(
                f"{holding[chosen].path} and {holding[other].path} have different priors of image '{entry.image}'; "
                "leave one of the stores out, or extract again."
            )
    found = entries[chosen]
    prior: np.ndarray = holding[chosen].get(entry.image)
    return Row(entry.image, prior, found.status, (found.width, found.height), found.note)


def _check_same_expert(first: PriorStore, other: PriorStore) -> None:
    for name in ("expert", "expert_version", "size"):
        if getattr(first, name) != getattr(other, name):
            raise PriorError(
                f"{first.path} and {other.path} cannot be merged: their {name.replace('_', ' ')} is "
                f"{getattr(first, name)!r} and {getattr(other, name)!r}."
            )
    if comparable_settings(first.settings) != comparable_settings(other.settings):
        raise PriorError(
            f"{first.path} and {other.path} cannot be merged: their settings are {first.settings} and {other.settings}."
        )
