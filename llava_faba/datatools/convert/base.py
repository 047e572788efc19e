"""What all converters share: samples, options, sampling, and writing the annotation files."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from llava_faba._version import __version__
from llava_faba.datatools import wording
from llava_faba.datatools.convert import same_picture
from llava_faba.datatools.convert.images import Census
from llava_faba.datatools.convert.ledger import POLICIES, Ledger
from llava_faba.errors import UserError
from llava_faba.records import annotation as records

DATASETS: tuple[str, ...] = (
    *("rafdb", "affectnet", "bp4d", "disfa", "gft", "emotionet"),
    *("fea20k", "ferbench", "merr"),
)


@dataclass(frozen=True)
class Sample:
    """One labelled image. ``aus`` holds the active AUs, or ``emotion`` the class, never both.

    ``scale``: numbers by label, intensities of AUs or valence and arousal, where they are coded.
    ``part`` is "train" or "eval" where the label files say so. ``text``: the set's own, where it has texts.
    """

    image: Path
    record_id: str
    subject: str | None
    sequence: str
    frame: int
    aus: tuple[int, ...] | None = None
    emotion: str | None = None
    part: str = ""
    scale: tuple[tuple[str, float], ...] = ()
    text: str | None = None

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
    classes: Annotated[int, "affectnet, fea20k, ferbench, merr: 7 classes, or 8 with Contempt"] = 7
    task: Annotated[str, "fea20k: what records are about, emotion or au"] = "emotion"
    partition: Annotated[Path | None, "gft: CSV file 'subject,train|eval' with the official partition"] = None
    unknown: Annotated[str, "emotionet: images with an uncoded scored AU: 'drop', or take it as 'absent'"] = "drop"
    eval_fraction: Annotated[float, "emotionet, which has no labelled test set: share of images to evaluate on"] = 0.25
    first_frame: Annotated[
        int | None, "disfa: number of the first frame image, 0 or 1 (default: found out for each subject)"
    ] = None
    duplicates: Annotated[
        str,
        "rows about one image that contradict each other, and pictures that are in training and evaluation: 'error', "
        "or believe the 'first' or 'last' row or 'drop' all of them, and leave the picture out of training",
    ] = "error"

    def __post_init__(self) -> None:
        for name in ("every", "eval_every", "max_per_subject", "max_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.task not in ("emotion", "au"):
            raise UserError(f"--task must be emotion or au, not '{self.task}'")
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
        if self.duplicates not in POLICIES:
            raise UserError(f"--duplicates must be one of {', '.join(POLICIES)}, not '{self.duplicates}'")

    def check_for(self, dataset: str) -> None:
        """Raises ``UserError`` for an option that was given and has no effect on ``dataset``."""
        for name, hint in get_type_hints(Options, include_extras=True).items():
            named, colon, _ = hint.__metadata__[0].partition(":")
            owners = re.findall(r"\w+", named.split(", which")[0]) if colon else []
            given = getattr(self, name) != getattr(Options, name)
            if given and owners and set(owners) <= set(DATASETS) and dataset not in owners:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} has no effect on {dataset}: it belongs to {' and '.join(owners)}")


@dataclass
class Split:
    """Training and evaluation samples; ``name`` is their folder, empty where there are no folds."""

    name: str
    train: list[Sample]
    eval: list[Sample]


@dataclass
class Conversion:
    """What a converter found: splits; in the ledger, what became of every row; in the census, what else lay there.

    ``missing``: media that are named and not there; ``other_aus``: how often AUs were labelled that no record names.
    """

    dataset: str
    source: str
    task: str
    splits: list[Split]
    options: Options
    notes: list[str] = field(default_factory=list)
    found: dict[str, str] = field(default_factory=dict)
    census: Census = field(default_factory=Census)
    ledger: Ledger[Sample] = field(default_factory=Ledger)
    missing: list[str] = field(default_factory=list)
    other_aus: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ledger.policy = self.options.duplicates


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
    if sample.text is not None:
        return sample.text
    if sample.emotion is not None:
        return wording.emotion_answer(sample.emotion, rng)
    return wording.au_answer(sorted(sample.aus or ()), rng)


def _label(sample: Sample) -> str:
    return sample.emotion if sample.emotion is not None else records.au_label(sample.aus or ())


def _scale(sample: Sample) -> records.Record:
    """The field that ``faba-bench score --task au_intensity`` or ``--task va`` reads."""
    values = dict(sample.scale)
    return {"va" if "valence" in values else "au_intensity": values} if values else {}


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
        | _scale(sample)
        for sample in samples
    ]


def check_sampling(conversion: Conversion) -> None:
    """Raises ``UserError`` where a sampling option could not have an effect: no sequences, no subjects."""
    options = conversion.options
    for name, value, parts in (
        ("--every", options.every, [split.train for split in conversion.splits]),
        ("--eval-every", options.eval_every, [split.eval for split in conversion.splits]),
    ):
        lengths = Counter(sample.sequence for part in parts for sample in part)
        if value > 1 and lengths and max(lengths.values()) <= len(conversion.splits):
            raise UserError(
                f"{name} {value} would have no effect: the images of {conversion.source} are not frames of sequences; "
                "--max-per-class draws from them"
            )
    train = [sample for split in conversion.splits for sample in split.train]
    if options.max_per_subject is not None and train and all(sample.subject is None for sample in train):
        raise UserError(
            f"--max-per-subject {options.max_per_subject} would have no effect: {conversion.source} does not say whom "
            "an image shows; --max-per-class draws from its images"
        )


def keep_pictures_apart(conversion: Conversion) -> None:
    """Find training images that are evaluation images under another name (the same bytes), and contradicting labels.

    Where the data are single images, that is an error, or they are left out of training under ``--duplicates``. Where
    subjects decide the sides, equal frames of two people are noted: 'data validate' judges what is written.
    """
    every = [sample for split in conversion.splits for sample in (*split.train, *split.eval)]
    known = same_picture.identities(sample.image for sample in every)
    _note_contradictions(every, known, conversion)
    for split in conversion.splits:
        found = same_picture.shared((s.image for s in split.train), (s.image for s in split.eval), known)
        if not found:
            continue
        train, evaluation = next(iter(found.items()))
        example = f"such as {train} and {evaluation}"
        if any(sample.subject is not None for sample in split.train):
            name = f"{split.name}: " if split.name else ""
            conversion.notes.append(
                f"{name}{len(found)} training images are also images of other people in the evaluation data, "
                f"{example}: check the copy of the data"
            )
            continue
        if conversion.options.duplicates == "error":
            raise UserError(
                f"{len(found)} picture(s) are in the training and in the evaluation data of {conversion.source}, "
                f"{example}: remove them, or leave them out of training with --duplicates drop"
            )
        kept = [sample for sample in split.train if sample.image not in found]
        conversion.ledger.move("the same picture is in the evaluation data", len(split.train) - len(kept))
        split.train[:] = kept


def _note_contradictions(every: Sequence[Sample], known: Mapping[Path, Path], conversion: Conversion) -> None:
    first: dict[Path, Sample] = {}
    pairs: dict[Path, tuple[Sample, Sample]] = {}
    for sample in every:
        other = first.setdefault(known[sample.image], sample)
        if (other.aus, other.emotion) != (sample.aus, sample.emotion):
            pairs.setdefault(known[sample.image], (other, sample))
    if pairs:
        one, other = next(iter(pairs.values()))
        conversion.notes.append(
            f"{len(pairs)} pictures are there under two names with different labels, such as {one.image.name} "
            f"({_label(one) or 'no AU'}) and {other.image.name} ({_label(other) or 'no AU'})"
        )


def write(conversion: Conversion, root: Path, out: Path) -> dict[str, Any]:
    """Write ``train_<task>_anno.json`` and ``eval_<task>_anno.json`` of every split, and ``conversion.json``.

    Returns what ``conversion.json`` holds: options, counts of rows that add up, class counts, what was left out, and
    file hashes.
    """
    options, ledger = conversion.options, conversion.ledger
    folder = options.image_folder or root
    check_sampling(conversion)
    keep_pictures_apart(conversion)
    if not ledger.adds_up or any(len(split.train) + len(split.eval) != ledger.used for split in conversion.splits):
        raise RuntimeError(f"the rows of {conversion.dataset} do not add up, which is a bug: {ledger}")
    report: dict[str, Any] = {
        "tool": f"llava-faba {__version__}",
        "dataset": conversion.dataset,
        "task": conversion.task,
        "image_folder": str(folder),
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in asdict(options).items()},
        "rows": {
            "unit": ledger.unit,
            "read": ledger.read,
            "used": ledger.used,
            "left_out": dict(sorted(ledger.left_out.items())),
        },
        "left_out": dict(sorted(ledger.items.items())),
        "found": conversion.found,
        "notes": [*conversion.notes, *conversion.census.notes()],
        **({"missing_media": sorted(conversion.missing)} if conversion.missing else {}),
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
            "eval_before_sampling": len(split.eval),
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
