"""Find every problem of annotation files at once.

``validate(files, image_folder=..., priors=...)`` returns a ``Report``; nothing is changed and nothing
skipped.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.files import FileProblem
from faba_bench.files.paths import inside

from llava_faba.datatools.validate import content, leakage, roles
from llava_faba.datatools.validate.media import (
    ImageFacts,
    PriorFacts,
    describe_vector,
    look_at_image,
    look_at_prior,
)
from llava_faba.datatools.validate.parallel import Workforce
from llava_faba.datatools.validate.report import KINDS, Problem, Report
from llava_faba.errors import RecordError, UserError
from llava_faba.images import MISSING, ImageFolder
from llava_faba.records import annotation as records
from llava_faba.records.vocabulary import TASKS, au_protocol

if TYPE_CHECKING:
    from llava_faba.priors.store import PriorStore

_COPY = re.compile(r"#\d+\Z")

__all__ = ["KINDS", "Problem", "Report", "validate"]


@dataclass(frozen=True)
class _Item:
    """One record and where it stands."""

    file: str
    index: int
    record: Mapping[str, Any]
    evaluates: bool = False
    """Is its file one to evaluate or validate on, whatever its records look like?"""

    def problem(self, kind: str, message: str) -> Problem:
        record_id = self.record.get("id")
        return Problem(kind, self.file, self.index, None if record_id is None else str(record_id), message)

    @property
    def side(self) -> str:
        return "training" if records.is_training(self.record) and not self.evaluates else "evaluation"


def validate(
    files: Sequence[Path | str],
    *,
    evaluation: Sequence[Path | str] = (),
    allow_outside: bool = False,
    image_folder: Path | str | None = None,
    priors: Path | str | None = None,
    task: str | None = None,
    protocol: str | None = None,
    prior_size: int | None = None,
    require_prior: bool = False,
    near_duplicates: bool = True,
    strict: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Check annotation files, the images and priors that they name, and the files against each other.

    Files of ``evaluation`` are what is evaluated or validated on. Of ``files`` those are whose records are evaluation
    records, and those that ``data mix`` wrote, or that are named, as a validation part (``val.json``, ``dev_au.json``,
    ``x-test.json``); all others are trained on.

    ``image_folder`` is what ``image`` and ``landmark`` are relative to; None skips all checks of images and
    priors; an image outside it is an error, unless ``allow_outside``. ``priors`` is a store made by ``priors extract``;
    a record outside it may have a ``landmark`` instead. ``task`` ("au", "emotion") is found out for each file when
    None; ``protocol`` names the AU vocabulary; ``prior_size`` is by default the store's size, or else the commonest
    one. ``strict`` makes warnings fail too. Raises ``UserError`` for senseless arguments only.
    """
    if task is not None and task not in TASKS:
        raise UserError(f"task must be one of {', '.join(TASKS)}, not '{task}'")
    if protocol is not None:
        au_protocol(protocol)
    folder = None if image_folder is None else Path(image_folder)
    if folder is not None and not folder.is_dir():
        raise UserError(f"--image-folder {folder} is not a folder")
    report = Report(strict=strict)
    force = Workforce(workers, progress)
    items: list[_Item] = []
    for path, given in [*((path, False) for path in files), *((path, True) for path in evaluation)]:
        evaluates = given or roles.is_evaluation(Path(path))
        items += _read(Path(path), evaluates, task, protocol, force, report)
    report.add(_duplicate_ids(items))
    report.add(_shared_subjects(items))
    if folder is not None:
        facts = _check_images(items, folder, allow_outside, force, report)
        report.add(_repeated(items, folder, facts))
        report.add(_leaks(items, folder, facts, near_duplicates))
        _check_priors(items, folder, priors, prior_size, require_prior, allow_outside, force, report)
    return report


def _read(
    path: Path, evaluates: bool, task: str | None, protocol: str | None, force: Workforce, report: Report
) -> list[_Item]:
    try:
        loaded = records.load_records(path)
    except UserError as error:
        report.files.append({"file": str(path), "records": 0, "kind": "unreadable", "task": task})
        report.add([Problem("file", str(path), -1, None, str(error))])
        return []
    if not loaded:
        report.add([Problem("file", str(path), -1, None, "holds no records")])
    found = task or records.guess_task(loaded, path.name)
    items = [_Item(str(path), index, record, evaluates) for index, record in enumerate(loaded)]
    check = partial(content.check_record, task=task, file_task=found, protocol=protocol)
    for item, findings in zip(items, force.each(check, loaded, "records", least=2000), strict=True):
        report.add(item.problem(kind, message) for kind, message in findings)
    sides = {item.side for item in items}
    kind = sides.pop() if len(sides) == 1 else "mixed" if sides else "no"
    report.files.append({"file": str(path), "records": len(items), "kind": kind, "task": found})
    return items


def _duplicate_ids(items: Sequence[_Item]) -> Iterator[Problem]:
    first: dict[tuple[str, str], int] = {}
    for item in items:
        if item.record.get("id") is None:
            continue
        key = (item.file, str(item.record["id"]))
        if key in first:
            yield item.problem("duplicate-id", f"id {key[1]} is also that of record {first[key]}")
        else:
            first[key] = item.index


def _shared_subjects(items: Sequence[_Item]) -> Iterator[Problem]:
    """People of both sides, one finding for each, at their first evaluation record."""
    counts: dict[str, Counter[tuple[str, str]]] = {"training": Counter(), "evaluation": Counter()}
    first: dict[tuple[str, str], _Item] = {}
    for item in items:
        subject = item.record.get("subject")
        if not isinstance(subject, str):
            continue
        person = (str(item.record.get("source", "")), subject)
        counts[item.side][person] += 1
        if item.side == "evaluation":
            first.setdefault(person, item)
    for person, item in first.items():
        seen = counts["training"][person]
        if seen:
            evaluated = counts["evaluation"][person]
            yield item.problem(
                "leakage-subject",
                f"subject '{person[1]}' has {seen} training and {evaluated} evaluation records",
            )


def _with_image(items: Sequence[_Item]) -> Iterator[_Item]:
    return (item for item in items if isinstance(item.record.get("image"), str) and item.record["image"])


def _path(item: _Item, folder: Path) -> str:
    return os.path.normpath(folder / str(item.record["image"]).replace("\0", "\\0"))


def _check_images(
    items: Sequence[_Item], folder: Path, allow_outside: bool, force: Workforce, report: Report
) -> dict[str, ImageFacts]:
    rule = ImageFolder(folder, allow_outside=allow_outside)
    refused: dict[str, str] = {}
    for item in _with_image(items):
        path = _path(item, folder)
        if path not in refused:
            try:
                rule.check(item.record["image"])
                refused[path] = ""
            except RecordError as error:
                refused[path] = "" if str(error).startswith(MISSING) else str(error)
    # What lies outside or is no regular file is not opened.
    paths = [path for path, reason in refused.items() if not reason]
    facts = {fact.path: fact for fact in force.each(look_at_image, paths, "images")}
    facts.update({path: ImageFacts(path, reason) for path, reason in refused.items() if reason})
    report.n_images = len(facts)
    for item in _with_image(items):
        image, fact = item.record["image"], facts[_path(item, folder)]
        if refused[fact.path]:
            report.add([item.problem("image-path", refused[fact.path])])
        elif fact.error is not None:
            kind = "image-missing" if fact.missing else "image-unreadable"
            report.add([item.problem(kind, f"image '{image}': {fact.error}")])
    return facts


def _repeated(items: Sequence[_Item], folder: Path, facts: Mapping[str, ImageFacts]) -> Iterator[Problem]:
    """The same picture again in one file: with the same question an error, under another name a warning."""
    first: dict[tuple[str, str, str], _Item] = {}
    pictures: dict[tuple[str, str], _Item] = {}
    for item in _with_image(items):
        fact = facts[_path(item, folder)]
        if fact.error is not None:
            continue
        question = records.question_of(item.record)
        earlier = first.setdefault((item.file, fact.pixels, question), item)
        if earlier is not item and earlier.record["image"] == item.record["image"]:
            if _is_copy(item, earlier):
                continue
            yield item.problem("duplicate-sample", f"same image and question as record {earlier.index}")
            continue
        other = pictures.setdefault((item.file, fact.pixels), item)
        if other.record["image"] != item.record["image"]:
            yield item.problem(
                "duplicate-image",
                f"'{item.record['image']}' is the same picture as '{other.record['image']}' of record {other.index}",
            )


def _is_copy(item: _Item, earlier: _Item) -> bool:
    """Was this record repeated on purpose, by a weight of ``data mix``, which numbers the copies' ids?"""
    one, other = str(item.record.get("id")), str(earlier.record.get("id"))
    return one != other and _COPY.sub("", one) == _COPY.sub("", other)


def _leaks(items: Sequence[_Item], folder: Path, facts: Mapping[str, ImageFacts], near: bool) -> Iterator[Problem]:
    sides: dict[str, dict[str, ImageFacts]] = {"training": {}, "evaluation": {}}
    for item in _with_image(items):
        fact = facts[_path(item, folder)]
        if fact.error is None:
            sides[item.side][fact.path] = fact
    train, evaluation = list(sides["training"].values()), list(sides["evaluation"].values())
    same = leakage.same_pictures(train, evaluation)
    alike = leakage.near_pictures(train, evaluation, same) if near else {}
    for item in _with_image(items):
        if item.side != "evaluation":
            continue
        path = _path(item, folder)
        for kind, found in (("leakage", same), ("leakage-near", alike)):
            if path in found:
                other = os.path.relpath(found[path], folder)
                yield item.problem(kind, f"'{item.record['image']}' is '{other}' of the training data")


def _check_priors(
    items: Sequence[_Item],
    folder: Path,
    priors: Path | str | None,
    size: int | None,
    required: bool,
    allow_outside: bool,
    force: Workforce,
    report: Report,
) -> None:
    store = None
    if priors is not None:
        from llava_faba.priors.content import Sameness
        from llava_faba.priors.store import PriorStore

        store = PriorStore.open(Path(priors))
        size = size or store.size
    vectors: dict[int, PriorFacts] = {}
    files: dict[int, str] = {}
    for number, item in enumerate(items):
        image, landmark = item.record.get("image"), item.record.get("landmark")
        if not isinstance(image, str):
            continue
        if store is not None and image in store:
            status = store.status(image)
            if store.sameness(image, folder) is Sameness.CHANGED:
                report.add([item.problem("prior-other-picture", f"image '{image}' is not the picture in the store")])
            if status != "found":
                report.add([item.problem("prior-no-face", f"image '{image}': {status}")])
            vectors[number] = _stored(store, image)
        elif isinstance(landmark, str) and landmark:
            try:
                files[number] = os.path.normpath(inside(folder, landmark, allow_outside=allow_outside))
            except FileProblem as error:
                report.add([item.problem("prior-path", f"landmark {error}")])
        elif store is not None or required:
            where = "in the store and no 'landmark'" if store is not None else "'landmark' in the record"
            report.add([item.problem("prior-missing", f"image '{image}': no prior {where}")])
    paths = list(dict.fromkeys(files.values()))
    looked = {fact.path: fact for fact in force.each(look_at_prior, paths, "priors")}
    vectors.update({number: looked[path] for number, path in files.items()})
    sizes = Counter(fact.size for fact in vectors.values() if fact.kind is None)
    size = size or (sizes.most_common(1)[0][0] if sizes else None)
    for number, fact in sorted(vectors.items()):
        item = items[number]
        name = item.record["landmark"] if number in files else f"prior of {item.record['image']}"
        if fact.kind is not None:
            report.add([item.problem(fact.kind, f"'{name}': {fact.message}")])
        elif fact.size != size:
            report.add([item.problem("prior-size", f"'{name}': {fact.size} numbers, expected {size}")])


def _stored(store: PriorStore, image: str) -> PriorFacts:
    try:
        return describe_vector(image, store.get(image))
    except UserError as error:
        return PriorFacts(image, "prior-unreadable", str(error))
