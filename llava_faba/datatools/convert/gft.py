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
from collections import Counter
from pathlib import Path

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.tree import csv_rows, numbered_images, require_folder, require_root, to_int
from llava_faba.datatools.vocabulary import au_protocol
from llava_faba.errors import UserError

NAME = "GFT"
EXPECTED_SUBJECTS = {"train": 78, "eval": 18}
_AU_COLUMN = re.compile(r"(?:AU)?[ _]?0*(\d{1,2})(?:[ _]?occ\w*)?\Z", re.IGNORECASE)
_NOT_CODED = {"", "-9", "9", "999", "nan", "na", "-9.0", "9.0", "999.0"}
_IMAGE_FOLDERS = ["Images", "images", "Frames", "frames", "Videos", "Video"]


def convert(root: Path, options: Options) -> Conversion:
    """Every coded frame of the subjects in the partition file."""
    require_root(root, NAME)
    partition = _partition(root, options)
    labels = options.labels or _label_folder(root)
    images = options.images or require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
    conversion = Conversion("gft", NAME, "au", [Split("", [], [])])
    split = conversion.splits[0]
    for subject, side in sorted(partition.items()):
        own = _subject(subject, labels, images, options, conversion.left_out)
        (split.train if side == "train" else split.eval).extend(own)
    for side, expected in EXPECTED_SUBJECTS.items():
        count = sum(1 for value in partition.values() if value == side)
        if count != expected:
            conversion.notes.append(f"the partition has {count} {side} subjects; papers report {expected}")
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
    sides = {"train": "train", "training": "train", "eval": "eval", "test": "eval", "testing": "eval"}
    partition: dict[str, str] = {}
    for line, cells in csv_rows(path):
        side = sides.get(cells[1].lower()) if len(cells) == 2 else None
        if side is None:
            if line == 1:
                continue
            raise UserError(f"{path}, line {line}: '{','.join(cells)}', expected such as '001A,train' or '002B,eval'")
        if partition.setdefault(cells[0], side) != side:
            raise UserError(f"{path}, line {line}: subject {cells[0]} is on both sides of the partition")
    if set(partition.values()) != {"train", "eval"}:
        raise UserError(f"{path}: the partition needs subjects on both sides, train and eval")
    return partition


def _label_folder(root: Path) -> Path:
    for pattern in ("*", "*/*"):
        for folder in sorted(root.glob(pattern)):
            if folder.is_dir() and "occurrence" in folder.name.lower():
                return folder
    raise UserError(f"{NAME}: no folder with 'occurrence' in its name below {root}: give --labels")


def _subject(subject: str, labels: Path, images: Path, options: Options, left_out: Counter[str]) -> list[Sample]:
    table, folder = labels / f"{subject}.csv", images / subject
    if not table.is_file() or not folder.is_dir():
        if not options.allow_missing:
            raise UserError(f"{NAME}: missing {table if not table.is_file() else folder}")
        left_out["subject missing"] += 1
        return []
    frames = numbered_images(folder)
    columns: dict[int, int] = {}
    samples: list[Sample] = []
    for line, cells in csv_rows(table):
        if not columns:
            columns = _columns(cells, table)
            continue
        frame = to_int(cells[0], table, line, "the frame number")
        active = _active(cells, columns, table, line)
        if active is None:
            left_out["a scored AU is not coded"] += 1
        elif frame not in frames:
            if not options.allow_missing:
                raise UserError(f"{NAME}: {table.name}, line {line}: no image of frame {frame} in {folder}")
            left_out["image missing"] += 1
        else:
            samples.append(Sample(frames[frame], f"GFT/{subject}/{frame}", subject, subject, frame, aus=active))
    return samples


def _columns(header: list[str], table: Path) -> dict[int, int]:
    by_au: dict[int, int] = {}
    for position, cell in enumerate(header[1:], start=1):
        match = _AU_COLUMN.match(cell)
        if match:
            by_au.setdefault(int(match.group(1)), position)
    missing = [au for au in au_protocol("gft").scored if au not in by_au]
    if missing:
        raise UserError(f"{table}: the first line heads no column for AU {', '.join(map(str, missing))}")
    return {au: by_au[au] for au in au_protocol("gft").vocabulary if au in by_au}


def _active(cells: list[str], columns: dict[int, int], table: Path, line: int) -> tuple[int, ...] | None:
    """The active AUs, or None when a scored one is not coded."""
    active = []
    for au, column in columns.items():
        cell = cells[column] if column < len(cells) else ""
        if cell.lower() in _NOT_CODED:
            if au in au_protocol("gft").scored:
                return None
            continue
        code = to_int(cell, table, line, f"AU{au}")
        if code not in (0, 1):
            raise UserError(f"{table}, line {line}: AU{au} is {code}, expected 0 or 1 (or -9 for not coded)")
        if code:
            active.append(au)
    return tuple(sorted(active))
