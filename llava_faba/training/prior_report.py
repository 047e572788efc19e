"""What is said of the records' facial priors when training starts, and which data cannot be trained on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faba_bench.console.output import say, warn

from llava_faba.data.priors import PriorSource, StoredPriors
from llava_faba.errors import PriorError, UserError

FEWEST_FACES = 5
"""Statistics of a normalization are not fitted to fewer different faces."""

_FEW_FACES = 100
_WARNED_SHARE = 0.1
_FACES = ("found", "several_faces")


@dataclass
class PriorReport:
    """How many records have which kind of prior. ``counts``: "found", "several_faces", "not_found", "unreadable",
    "no_prior" (a picture without one) and "no_picture"; ``faces``: the priors that hold a face, where they were asked
    for, float32 (n, size); ``partial``: of several experts' priors, those that lack the numbers of one."""

    counts: Counter[str] = field(default_factory=Counter)
    knows_several: bool = False
    partial: int = 0
    faces: list[np.ndarray] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """Records with a picture."""
        return sum(self.counts.values()) - self.counts["no_picture"]

    @property
    def with_face(self) -> int:
        """Records whose prior holds a face."""
        return sum(self.counts[status] for status in _FACES)

    def __str__(self) -> str:
        counts = self.counts
        several = f", {counts['several_faces']} with several faces" if self.knows_several else ""
        unreadable = f", {counts['unreadable']} unreadable" if counts["unreadable"] else ""
        text_only = f" ({counts['no_picture']} more are text only)" if counts["no_picture"] else ""
        partial = f", {self.partial} without the numbers of one of the experts" if self.partial else ""
        return (
            f"Facial priors of {self.pictures} records{text_only}: {self.with_face} have one{several}{partial}; "
            f"{counts['not_found']} without a face (not found){unreadable}; {counts['no_prior']} without a prior."
        )

    def warnings(self) -> list[str]:
        """What is worth a look: more than a tenth of the records without a face, or with several."""
        without = self.pictures - self.with_face
        found = []
        if without > _WARNED_SHARE * self.pictures:
            found.append(
                f"{without} of {self.pictures} records ({without / self.pictures:.0%}) have no facial prior, and are "
                "trained on as pictures without a face: see 'llava-faba priors show', or extract with another expert."
            )
        if self.partial > _WARNED_SHARE * self.pictures:
            found.append(
                f"{self.partial} of {self.pictures} records ({self.partial / self.pictures:.0%}) have zeros for one of "
                "the experts, which found no face or another one: extract with experts that find the same faces."
            )
        several = self.counts["several_faces"]
        if several > _WARNED_SHARE * self.pictures:
            found.append(
                f"{several} of {self.pictures} records ({several / self.pictures:.0%}) show several faces; the prior "
                "is of the largest one. 'llava-faba align' makes crops of one face."
            )
        return found


def count_priors(
    records: Iterable[Mapping[str, Any]],
    priors: PriorSource,
    *,
    keep_faces: bool,
    sizes: Sequence[int] | None = None,
) -> PriorReport:
    """Read the prior of every record. A prior of zeros holds no face, whatever its status says.

    ``sizes``: numbers of each of several experts.
    """
    borders = np.cumsum(sizes or [0])[:-1]
    store = priors.store if isinstance(priors, StoredPriors) else None
    report = PriorReport(knows_several=store is not None)
    for record in records:
        prior = priors.get(record)
        if "image" not in record:
            report.counts["no_picture"] += 1
        elif prior is None:
            report.counts["no_prior"] += 1
        else:
            status = "found" if store is None else store.status(record["image"])
            has_face = bool(np.any(prior))
            if has_face != (status in _FACES):
                status = "found" if has_face else "not_found"
            report.counts[status] += 1
            report.partial += has_face and not all(part.any() for part in np.split(prior, borders))
            if has_face and keep_faces:
                report.faces.append(prior)
    return report


def report_priors(dataset: Any, *, fitted: str | None, sizes: Sequence[int] | None = None) -> np.ndarray:
    """Say what priors the records have; returns those that hold a face, float32 (n, size), where ``fitted`` names a
    normalization that is to be fitted to them. ``sizes``: numbers of each of several experts.

    Raises PriorError where no record has a face, and where too few have to fit anything.
    """
    report = count_priors(dataset.list_data_dict, dataset.priors, keep_faces=fitted is not None, sizes=sizes)
    if int(os.environ.get("RANK", 0)) == 0:
        say(report, flush=True)
        for text in report.warnings():
            warn(text)
    if not report.pictures:
        raise UserError(
            "no record has a picture, and without pictures there are no facial priors: check --data_path, or train "
            "with --facial_prior_expert none."
        )
    if not report.with_face:
        raise PriorError(f"no prior holds a face. {report}")
    if fitted is None:
        return np.zeros((0, dataset.prior_size), np.float32)
    faces = np.stack(report.faces)
    _check_enough(faces, fitted, report)
    return faces


def _check_enough(faces: np.ndarray, method: str, report: PriorReport) -> None:
    different = len({face.tobytes() for face in faces})
    if different < FEWEST_FACES:
        raise PriorError(
            f"facial_prior_normalization '{method}' would be fitted to {different} different faces; {FEWEST_FACES} are "
            f"the least. {report} Extract priors of more pictures, or pass --facial_prior_normalization none."
        )
    if different < _FEW_FACES and int(os.environ.get("RANK", 0)) == 0:
        warn(
            f"facial_prior_normalization '{method}' is fitted to {different} different faces only: fit it to the whole "
            "training set (a hundred and more), for every picture that is asked about later is normalized by it."
        )
