"""Whose samples they are: frames of one person are not independent, so the bootstrap draws people.

Drawing frames as if each were another person makes intervals far too narrow: by a factor of twelve for 41 people with
1,000 frames each (`tests/faba_bench/test_bench_clusters.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faba_bench.errors import InputProblems, ResultError, quote_ids
from faba_bench.protocol import Protocol
from faba_bench.records import Record

SUBJECT = "subject"
NONE = "none"
FEW = 20
"""Below so many people the percentile bootstrap is known to give intervals that are too narrow; the results say so."""

_FRAME = re.compile(r"(?P<stem>.*?)[0-9]+(?:_aligned|_face|_crop)?(?:\.[a-z0-9]+)?", re.IGNORECASE)
_FRAME_WORDS = re.compile(r"(?:^|[/_\-. ])(?:frames?|frm|video|vid|clip)", re.IGNORECASE)
_LEAST = 5


class OnePerson(ResultError):
    """There is one person only, so no interval can be had by drawing people."""


@dataclass(frozen=True)
class Clusters:
    """Each sample's person (None: nobody else's), by which field (None: samples are drawn one by one), and warnings."""

    field: str | None
    values: list[str | None]
    warnings: list[str]

    @property
    def units(self) -> npt.NDArray[np.int64] | None:
        """Each sample's unit, counted from 0; None where samples are drawn one by one."""
        return units(self.values) if self.field else None

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(set(self.values) - {None}) + self.values.count(None)

    @property
    def is_single(self) -> bool:
        """Whether there is nothing to draw from."""
        return self.field is not None and self.count < 2


def fields(cluster: str | None) -> tuple[str, ...]:
    """The fields to read from the records for `cluster` (see `faba_bench.score`)."""
    return () if cluster in (None, NONE) else (str(cluster),)


def units(values: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """Numbers from 0 for each different value; each None has a number of its own."""
    numbers: dict[str, int] = {}
    found = np.empty(len(values), dtype=np.int64)
    lone = 0
    for index, value in enumerate(values):
        if value is None:
            found[index] = lone + len(numbers)
            lone += 1
        elif value in numbers:
            found[index] = numbers[value]
        else:
            found[index] = numbers[value] = lone + len(numbers)
    return found


def of_records(records: Sequence[Record], cluster: str | None, protocol: Protocol) -> Clusters:
    """The people of `records`: by the field `cluster`, else by "subject" where records have one.

    Raises `InputProblems` where a field that was asked for is missing in a record.
    """
    if cluster == NONE:
        return Clusters(None, [None] * len(records), [])
    values = [record.fields[0] if cluster else record.subject for record in records]
    field = cluster or SUBJECT
    lacking = [record.question_id for record, value in zip(records, values, strict=True) if value is None]
    if cluster and lacking:
        raise InputProblems(
            "annotations",
            [f"{len(lacking)} of {len(records)} records have no {cluster!r}: {quote_ids(lacking)}"],
            "give --cluster a field that every record has, or 'none'",
        )
    if len(lacking) == len(records):
        return Clusters(None, values, _unknown_people(records, protocol))
    found = Clusters(field, values, [])
    if lacking:
        found.warnings.append(
            f"{len(lacking)} of {len(records)} records have no {field}: each is taken for a person of its own, which "
            f"makes intervals too narrow where that is wrong: {quote_ids(lacking)}"
        )
    if found.is_single:
        found.warnings.append(f"all samples have the same {field}: no interval can be had")
    elif found.count < FEW:
        found.warnings.append(
            f"intervals draw {found.count} values of {field!r}: of so few the intervals are too narrow as a rule"
        )
    return found


def of_results(first: Mapping[str, Any], second: Mapping[str, Any] | None = None) -> dict[str, str | None] | None:
    """Question id to person, as either of two results of the same samples says; None where neither does.

    Results made before there were clusters have none. Raises `ResultError` where both have and they differ.
    """
    known = [result for result in (first, second) if result is not None and result.get("cluster")]
    people = [
        {str(row["question_id"]): row.get("cluster") for row in result["modes"]["strict"]["samples"]}
        for result in known
    ]
    if len(people) == 2:
        if known[0]["cluster"] != known[1]["cluster"]:
            raise ResultError(
                f"one result resamples by {known[0]['cluster']!r} and the other by {known[1]['cluster']!r}: "
                "score again with the same --cluster"
            )
        changed = [key for key, value in people[0].items() if people[1].get(key) != value]
        if changed:
            raise ResultError(f"the results name different people for question ids {quote_ids(changed)}")
    return people[0] if people else None


def _unknown_people(records: Sequence[Record], protocol: Protocol) -> list[str]:
    """A warning where the samples look like frames of videos and nothing says whose they are."""
    if len(records) < 2:
        return []
    if protocol.frames:
        reason = f"{protocol.title} is made of frames of videos"
    elif _look_like_frames([record.image for record in records], records):
        reason = "the pictures' names look like frames of videos"
    else:
        return []
    return [
        f"{reason}, and no record has a {SUBJECT!r}: intervals take each frame for a person of its own and are too "
        "narrow; add 'subject' to the records or name another field with --cluster"
    ]


def _look_like_frames(images: Sequence[str | None], records: Sequence[Record]) -> bool:
    """Whether most pictures are numbered within one of several names: ``S1/0001.png``, ``S1/0002.png``, ``S2/...``.

    One name for all (``test_0001.jpg``) is how sets of single pictures are numbered, unless it says "frame"; folders
    that bear a class's name are no videos.
    """
    stems: Counter[str] = Counter()
    classes = {record.target.lower() for record in records if isinstance(record.target, str)}
    for image in images:
        match = _FRAME.fullmatch(image or "")
        if match is None:
            continue
        stem = match["stem"]
        if stem.strip("/").rpartition("/")[2].lower() not in classes:
            stems[stem] += 1
    named = sum(count for stem, count in stems.items() if _FRAME_WORDS.search(stem))
    runs = [count for count in stems.values() if count >= _LEAST]
    return named * 2 > len(images) or (len(runs) > 1 and sum(runs) * 2 > len(images))
