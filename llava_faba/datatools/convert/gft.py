"""GFT, the Sayette Group Formation Task database: 96 subjects, AU occurrence, one official partition.

Layout (see below for how sure this is)::

    <folder whose name contains "occurrence">/001A.csv   a column of frame numbers, then one for each AU
    <image folder>/001A/...                              frames extracted from the videos, matched by number

A header names the columns (``AU1``, ``AU01``, ``1``). 1 is active, 0 not; ``-9``, ``9``, ``999``, ``NaN``
or nothing is not coded. A frame in which one of the ten scored AUs is not coded is left out.

Where these facts are from:

- 96 subjects in 32 groups of three, 172,800 frames, occurrence and intensity, labels as frame-level
  annotations under CC-BY and videos separately from the University of Pittsburgh: the database's page and
  wiki (osf.io/7wcyz) and Girard et al., "Sayette Group Formation Task (GFT) Spontaneous Facial Expression
  Database", FG 2017;
- subjects such as 001A and one folder of frames for each (``GFT/images/001A/1.jpg``): the README of
  dkollias/Fair-Consistent-Affect-Analysis, whose own partition is another one and not public either;
- the ten scored AUs: FABA-Bench's protocol; ZhiwenShao/AC2D trains on ten as well and names the lists
  ``GFT_train`` and ``GFT_test``, but does not publish them.

No public loader of the official files and no public list of the official partition could be found when this
was written, so two things are not assumed: folders are searched for rather than fixed (``--labels``,
``--images`` point at them), and the partition is read from a file ``subject,train`` / ``subject,eval`` that
its owner makes from the database's documentation (``--partition``). Papers report 78 training and 18 test
subjects; other numbers are noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from faba_bench.files.terminal import printable

from llava_faba.datatools.convert import tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import find_file, is_litter, numbered_images, unlabelled_frames, visible
from llava_faba.datatools.convert.tree import require_folder, require_root
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_protocol

NAME = "GFT"
EXPECTED_SUBJECTS = {"train": 78, "eval": 18}
_AU_COLUMN = re.compile(r"(?:AU)?[ _]?0*(\d{1,2})(?:\.0*)?(?:[ _]?occ\w*)?\Z", re.IGNORECASE)
_FRAME_COLUMN = re.compile(r"frames?(?:[ _]?(?:no|nr|number|id|num))?\.?\Z", re.IGNORECASE)
_SUBJECT = re.compile(r"\w[\w-]{0,63}\Z")
_NOT_CODED = (-9, 9, 999)
_IMAGE_FOLDERS = ["Images", "images", "Frames", "frames", "Videos", "Video"]
_SIDES = {"train": "train", "training": "train", "eval": "eval", "test": "eval", "testing": "eval"}
_PARTITION_HEADERS = (
    {"subject", "subjects", "subject_id", "subjectid", "id", "participant", "person", "name"},
    {"split", "set", "side", "part", "partition", "fold", "group", "subset"},
)


def convert(root: Path, options: Options) -> Conversion:
    """Every coded frame of the subjects in the partition file."""
    require_root(root, NAME)
    partition = _partition(root, options)
    labels = options.labels or _label_folder(root)
    images = options.images or require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
    conversion = Conversion("gft", NAME, "au", [Split("", [], [])], options)
    split = conversion.splits[0]
    for subject, side in sorted(partition.items()):
        own = _subject(subject, labels, images, conversion)
        (split.train if side == "train" else split.eval).extend(own)
    for side, expected in EXPECTED_SUBJECTS.items():
        count = sum(1 for value in partition.values() if value == side)
        if count != expected:
            conversion.notes.append(f"the partition has {count} {side} subjects; papers report {expected}")
    _note_others(labels, images, partition, conversion)
    return conversion


def _partition(root: Path, options: Options) -> dict[str, str]:
    path = options.partition or root / "partition.csv"
    if not path.is_file():
        raise UserError(
            f"{NAME}: no partition file {path}: write the official training and test subjects (they are "
            f"in the "
            "database's documentation, osf.io/7wcyz) as lines '001A,train' and '002B,eval' and give "
            "--partition"
        )
    partition: dict[str, str] = {}
    first = True
    for line, raw in tables.rows(path, lambda cells: len(cells) == 2):
        cells = tables.trimmed(raw)
        header = (
            first and len(cells) == 2 and any(c.lower() in w for c, w in zip(cells, _PARTITION_HEADERS, strict=True))
        )
        first = False
        if header:
            continue
        side = _SIDES.get(cells[1].lower()) if len(cells) == 2 else None
        if side is None or not _SUBJECT.match(cells[0]):
            said = printable(",".join(cells))[:120]
            raise UserError(f"{path}, line {line}: '{said}', expected such as '001A,train' or '002B,eval'")
        if partition.setdefault(cells[0], side) != side:
            raise UserError(f"{path}, line {line}: subject {cells[0]} is on both sides of the partition")
    if set(partition.values()) != {"train", "eval"}:
        raise UserError(f"{path}: the partition needs subjects on both sides, train and eval")
    _one_spelling(path, partition)
    return partition


def _one_spelling(path: Path, partition: dict[str, str]) -> None:
    spelt: dict[str, str] = {}
    for subject in partition:
        other = spelt.setdefault(subject.lower(), subject)
        if other != subject:
            raise UserError(f"{path}: {other} and {subject} are one subject, spelt in two ways")


def _label_folder(root: Path) -> Path:
    for pattern in ("*", "*/*"):
        for folder in sorted(root.glob(pattern)):
            if folder.is_dir() and "occurrence" in folder.name.lower() and not is_litter(folder):
                return folder
    raise UserError(f"{NAME}: no folder with 'occurrence' in its name below {root}: give --labels")


def _subject(subject: str, labels: Path, images: Path, conversion: Conversion) -> list[Sample]:
    table, folder = find_file(labels, f"{subject}.csv"), images / subject
    if table is None or not folder.is_dir():
        if not conversion.options.allow_missing:
            raise UserError(f"{NAME}: missing {labels / f'{subject}.csv' if table is None else folder}")
        conversion.ledger.skip("subject missing", 0 if table is None else sum(1 for _ in _codes(table)))
        return []
    frames = numbered_images(folder, conversion.census)
    labelled = set()
    scored = au_protocol("gft").scored
    for line, frame, codes in _codes(table):
        labelled.add(frame)
        outcome: Sample | str
        if any(codes[au] is None for au in scored):
            outcome = "a scored AU is not coded"
        elif frame not in frames:
            if not conversion.options.allow_missing:
                raise UserError(f"{NAME}: {table.name}, line {line}: no image of frame {frame} in {folder}")
            outcome = "image missing"
        else:
            active = tuple(au for au, code in sorted(codes.items()) if code == 1)
            outcome = Sample(frames[frame], f"GFT/{subject}/{frame}", subject, subject, frame, aus=active)
        conversion.ledger.add(frame, f"{table.name}, line {line}", tuple(sorted(codes.items())), outcome)
    unlabelled_frames(frames, labelled, conversion.census)
    return conversion.ledger.settle()


def _codes(table: Path) -> Iterator[tuple[int, int, dict[int, int | None]]]:
    """Line, frame number and codes of the vocabulary's AUs of each row; the scored ones are all there."""
    rules = au_protocol("gft")
    columns: dict[int, int] = {}
    width = frame_column = 0
    for line, cells in tables.rows(table, lambda cells: len(cells) > 2):
        if not columns:
            frame_column = tables.column_named(cells, _FRAME_COLUMN, 0)
            header = ["" if position <= frame_column else cell for position, cell in enumerate(cells)]
            columns = tables.au_columns(header, rules.vocabulary, _AU_COLUMN, table, required=rules.scored)
            width = len(tables.trimmed(cells))
            continue
        codes = tables.au_codes(cells, columns, width, _NOT_CODED, table, line)
        yield line, tables.to_int(cells[frame_column], table, line, "the frame number"), codes
    if not width:
        raise UserError(f"{table}: is empty")


def _note_others(labels: Path, images: Path, partition: dict[str, str], conversion: Conversion) -> None:
    """What lies beside the partition's subjects: other subjects, files that nobody reads."""
    known = {subject.lower() for subject in partition}
    beyond = []
    for path in visible(labels):
        if path.suffix.lower() != ".csv":
            if path.is_file():
                conversion.census.other(path)
        elif path.stem.lower() not in known:
            beyond.append(path.stem)
    if beyond:
        more = f" and {len(beyond) - 20} more" if len(beyond) > 20 else ""
        conversion.notes.append(
            f"{len(beyond)} label files are of subjects that the partition does not name: "
            f"{', '.join(beyond[:20])}{more}"
        )
    for path in visible(images):
        if path.is_file():
            conversion.census.other(path)
