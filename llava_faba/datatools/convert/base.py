"""What all converters share: samples, options, sampling, and writing the annotation files."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from llava_faba._version import __version__
from llava_faba.datatools import records, wording
from llava_faba.errors import UserError


@dataclass(frozen=True)
class Sample:
    """One labelled image. ``aus`` holds the active AUs, or ``emotion`` the class, never both."""

    image: Path
    record_id: str
    subject: str | None
    sequence: str
    frame: int
    aus: tuple[int, ...] | None = None
    emotion: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """What class balance counts: the emotion, or each active AU, or ``none``."""
        if self.emotion is not None:
            return (self.emotion,)
        return tuple(f"AU{au}" for au in self.aus or ()) or ("none",)


@dataclass(frozen=True)
class Options:
    """How to convert. Everything random depends on ``seed`` alone.

    The text beside each type is the command line's help.
    """

    image_folder: Annotated[Path | None, "what image paths are written relative to (default: --root)"] = None
    images: Annotated[
        Path | None,
        "the folder with the images, when it is not where the dataset has it (e.g. aligned crops)",
    ] = None
    labels: Annotated[Path | None, "gft, emotionet: the folder (or table) with the labels, when it is not found"] = None
    every: Annotated[int, "take every Nth labelled frame of a training sequence"] = 1
    eval_every: Annotated[int, "the same for evaluation (the literature takes all)"] = 1
    max_per_subject: Annotated[int | None, "at most this many training samples of a person, drawn at random"] = None
    max_per_class: Annotated[
        int | None,
        "class balance for training: keep a sample only while one of its classes (emotion, active AU, or "
        "'no AU') has fewer than this many, in random order",
    ] = None
    vary_questions: Annotated[bool, "several wordings of the training question"] = False
    vary_answers: Annotated[bool, "several wordings of the training answer"] = False
    seed: Annotated[int, "seed of all sampling and wording"] = 0
    allow_missing: Annotated[bool, "convert an incomplete copy: count what is missing instead of stopping"] = False
    intensity: Annotated[int, "disfa: an AU is active from this intensity (0-5) on"] = 2
    classes: Annotated[int, "affectnet: 7 classes, or 8 with Contempt"] = 7
    partition: Annotated[Path | None, "gft: CSV file 'subject,train|eval' with the official partition"] = None
    unknown: Annotated[str, "emotionet: images with an uncoded scored AU: 'drop', or take it as 'absent'"] = "drop"
    eval_fraction: Annotated[float, "emotionet, which has no labelled test set: share of images to evaluate on"] = 0.25
    first_frame: Annotated[int | None, "disfa: number of the first frame image, 0 or 1 (default: found out)"] = None

    def __post_init__(self) -> None:
        for name in ("every", "eval_every", "max_per_subject", "max_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.classes not in (7, 8):
            raise UserError(f"--classes must be 7 or 8, not {self.classes}")
        if not 1 <= self.intensity <= 5:
            raise UserError(f"--intensity must be from 1 to 5, not {self.intensity}")
        if not 0 < self.eval_fraction < 1:
            raise UserError(f"--eval-fraction must lie between 0 and 1, not {self.eval_fraction}")
        if self.unknown not in ("drop", "absent"):
            raise UserError(f"--unknown must be 'drop' or 'absent', not '{self.unknown}'")
        if self.first_frame not in (None, 0, 1):
            raise UserError(f"--first-frame must be 0 or 1, not {self.first_frame}")


@dataclass
class Split:
    """Training and evaluation samples; ``name`` is their folder, empty where there are no folds."""

    name: str
    train: list[Sample]
    eval: list[Sample]


@dataclass
class Conversion:
    """What a converter found: splits, and how many items were left out for which reason."""

    dataset: str
    source: str
    task: str
    splits: list[Split]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


Converter = Callable[[Path, Options], Conversion]


def sample_training(samples: Sequence[Sample], options: Options) -> list[Sample]:
    """Apply ``every``, ``max_per_subject`` and ``max_per_class``; the order of ``samples`` is kept."""
    kept = take_every(samples, options.every)
    if options.max_per_subject is not None:
        kept = _cap_subjects(kept, options.max_per_subject, options.seed)
    if options.max_per_class is not None:
        kept = _cap_classes(kept, options.max_per_class, options.seed)
    return kept


def take_every(samples: Sequence[Sample], step: int) -> list[Sample]:
    """Every ``step``-th sample of each sequence, starting with its first."""
    seen: Counter[str] = Counter()
    kept = []
    for sample in samples:
        if seen[sample.sequence] % step == 0:
            kept.append(sample)
        seen[sample.sequence] += 1
    return kept


def _cap_subjects(samples: Sequence[Sample], cap: int, seed: int) -> list[Sample]:
    positions: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        positions.setdefault(sample.subject or sample.record_id, []).append(position)
    chosen: set[int] = set()
    for subject, own in positions.items():
        rng = random.Random(f"{seed}/subject/{subject}")
        chosen.update(own if len(own) <= cap else rng.sample(own, cap))
    return [sample for position, sample in enumerate(samples) if position in chosen]


def _cap_classes(samples: Sequence[Sample], cap: int, seed: int) -> list[Sample]:
    order = list(range(len(samples)))
    random.Random(f"{seed}/class").shuffle(order)
    counts: Counter[str] = Counter()
    chosen: set[int] = set()
    for position in order:
        classes = samples[position].classes
        if any(counts[name] < cap for name in classes):
            chosen.add(position)
            counts.update(classes)
    return [sample for position, sample in enumerate(samples) if position in chosen]


def relative_image(image: Path, folder: Path) -> str:
    """``image`` relative to ``folder`` with forward slashes; an image outside it is an error."""
    relative = os.path.relpath(image, folder)
    if relative.startswith(".."):
        raise UserError(
            f"image {image} lies outside the image folder {folder}: give --image-folder a folder that holds all images"
        )
    return Path(relative).as_posix()


def _answer(sample: Sample, rng: random.Random | None) -> str:
    if sample.emotion is not None:
        return wording.emotion_answer(sample.emotion, rng)
    return wording.au_answer(sorted(sample.aus or ()), rng)


def _label(sample: Sample) -> str:
    return sample.emotion if sample.emotion is not None else records.au_label(sample.aus or ())


def training_records(
    samples: Iterable[Sample], conversion: Conversion, folder: Path, options: Options
) -> list[records.Record]:
    result = []
    for sample in samples:
        rng = random.Random(f"{options.seed}/words/{sample.record_id}")
        result.append(
            records.training_record(
                source=conversion.source,
                image=relative_image(sample.image, folder),
                record_id=sample.record_id,
                question=wording.question(conversion.task, rng if options.vary_questions else None),
                answer=_answer(sample, rng if options.vary_answers else None),
                label=_label(sample),
                subject=sample.subject,
            )
        )
    return result


def evaluation_records(samples: Iterable[Sample], conversion: Conversion, folder: Path) -> list[records.Record]:
    return [
        records.evaluation_record(
            source=conversion.source,
            image=relative_image(sample.image, folder),
            record_id=sample.record_id,
            answer=_answer(sample, None),
            label=_label(sample),
            subject=sample.subject,
        )
        for sample in samples
    ]


def write(conversion: Conversion, root: Path, out: Path, options: Options) -> dict[str, Any]:
    """Write ``train_<task>_anno.json`` and ``eval_<task>_anno.json`` of every split, and ``conversion.json``.

    Returns what ``conversion.json`` holds: options, counts, class counts, what was left out, and file hashes.
    """
    folder = options.image_folder or root
    report: dict[str, Any] = {
        "tool": f"llava-faba {__version__}",
        "dataset": conversion.dataset,
        "task": conversion.task,
        "image_folder": str(folder),
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in asdict(options).items()},
        "left_out": dict(sorted(conversion.left_out.items())),
        "notes": conversion.notes,
        "splits": {},
    }
    for split in conversion.splits:
        train = sample_training(split.train, options)
        evaluation = take_every(split.eval, options.eval_every)
        target = out / split.name if split.name else out
        contents = {
            f"train_{conversion.task}_anno.json": training_records(train, conversion, folder, options),
            f"eval_{conversion.task}_anno.json": evaluation_records(evaluation, conversion, folder),
        }
        files = {}
        for filename, content in contents.items():
            records.save_json(target / filename, content)
            files[filename] = records.file_sha256(target / filename)
        report["splits"][split.name or "all"] = {
            "train": len(train),
            "eval": len(evaluation),
            "train_before_sampling": len(split.train),
            "train_classes": _class_counts(train),
            "eval_classes": _class_counts(evaluation),
            "sha256": files,
        }
    records.save_json(out / "conversion.json", report)
    return report


def _class_counts(samples: Iterable[Sample]) -> dict[str, int]:
    counts = Counter(name for sample in samples for name in sample.classes)

    def position(item: tuple[str, int]) -> tuple[int, str]:
        name = item[0]
        return (int(name[2:]), "") if name.startswith("AU") else (0, name)

    return dict(sorted(counts.items(), key=position))
