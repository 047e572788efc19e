"""One store out of several: shards of one extraction, or a second run over what was unreadable in the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.experts import PriorStatus
from llava_faba.priors.layout import META
from llava_faba.priors.problems import write_problems
from llava_faba.priors.store import Entry, PriorStore
from llava_faba.priors.writer import Row, comparable_settings, open_like

_ROWS_AT_ONCE = 4096


def merge(sources: Sequence[str | Path], out: str | Path) -> PriorStore:
    """Merge stores of one expert into ``out``, which is made when absent and added to otherwise; resumable.

    An image in several stores must have the same prior in all of them; a store where it was unreadable gives way.
    Raises PriorError for stores of different experts or settings, for an image with two different priors, and for one
    that ``out`` holds as unreadable and a source does not (rows are added to a store, never replaced).
    """
    stores = [PriorStore.open(source) for source in sources]
    if not stores:
        raise PriorError("merge: no store was named.")
    for store in stores[1:]:
        _check_same_expert(stores[0], store)
    held = PriorStore.open(out) if (Path(out) / META).exists() else None
    with open_like(out, stores[0]) as writer:
        waiting: list[Row] = []
        queued: set[str] = set()
        for position, store in enumerate(stores):
            for entry in store.entries():
                if held is not None and entry.image in held:
                    _check_kept(held, store, entry)
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
        _check_equal(holding[chosen], entries[chosen], holding[other], entries[other])
    found = entries[chosen]
    prior: np.ndarray = holding[chosen].get(entry.image)
    content = next((one.content for one in [found, *(entries[i] for i in readable)] if one.content), None)
    return Row(entry.image, prior, found.status, (found.width, found.height), found.note, content)


def _check_kept(held: PriorStore, source: PriorStore, entry: Entry) -> None:
    """The row that the merged store keeps must be the better of the two, or the same."""
    if entry.status == PriorStatus.UNREADABLE.value:
        return
    kept = held.entry(entry.image)
    if kept.status == PriorStatus.UNREADABLE.value:
        raise PriorError(
            f"{held.path} holds image '{entry.image}' as unreadable, and {source.path} could read it; rows are not "
            "replaced, so merge the two into a new store."
        )
    _check_equal(held, kept, source, entry)


def _check_equal(one: PriorStore, first: Entry, other: PriorStore, second: Entry) -> None:
    if first.content and second.content and not first.content.is_same_picture(second.content):
        raise PriorError(
            f"{one.path} and {other.path} hold different pictures under the name '{first.image}'; leave one of the "
            "stores out, or extract again."
        )
    if (first.crc32, first.status) != (second.crc32, second.status):
        raise PriorError(
            f"{one.path} and {other.path} have different priors of image '{first.image}'; "
            "leave one of the stores out, or extract again."
        )


def _check_same_expert(first: PriorStore, other: PriorStore) -> None:
    for name in ("expert", "expert_version", "size"):
        if getattr(first, name) != getattr(other, name):
            raise PriorError(
                f"{first.path} and {other.path} cannot be merged: their {name.replace('_', ' ')} is "
                f"{getattr(first, name)!r} and {getattr(other, name)!r}."
            )
    if first.reading and other.reading and first.reading != other.reading:
        raise PriorError(
            f"{first.path} and {other.path} cannot be merged: their pictures were read otherwise: {first.reading} and "
            f"{other.reading}."
        )
    if comparable_settings(first.settings) != comparable_settings(other.settings):
        raise PriorError(
            f"{first.path} and {other.path} cannot be merged: their settings are {first.settings} and {other.settings}."
        )
