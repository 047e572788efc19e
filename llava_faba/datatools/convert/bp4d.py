"""BP4D-Spontaneous: 41 subjects, 8 tasks, AU occurrence, three subject-exclusive folds.

Layout::

    AUCoding/AU_OCC/F001_T1.csv        one file for each subject and task (also found directly in AUCoding/)
    2D+3D/F001/T1/2440.jpg             frames (also below Sequences(2D+3D)/, BP4D-training/, img/ or the root)

A label file's first line heads its columns, its first column is the frame number, and every further column
is headed by an AU number: 1 active, 0 not, 9 not coded. Two kinds are handed out, with the columns 0 to 99
and with about 35 named columns; reading the header serves both. Frame images are numbered with three
digits, four, or none filled up, depending on the subject, so they are matched by number. A blank code counts as 9.

Where these facts are from:

- ``AUCoding/AU_OCC/<subject>_<task>.csv``, columns, tasks T1 to T8, the 12 AUs and the three folds: the label
  preparation and README of CVI-SZU/ME-GraphAU (``tool/``), and ZhiwenShao/PyTorch-JAANet;
- code 9, the two header kinds and the digits of image names: py-feat's notes on preparing BP4D;
- 41 subjects: Zhang et al., "BP4D-Spontaneous", Image and Vision Computing 32 (2014).

The published protocol scores 12 AUs; a frame in which one of them is not coded is left out. The literature
counts about 147,000 frames (146,847 in ME-GraphAU's lists, made without regard to code 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from llava_faba.datatools.convert import tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import find_file, numbered_images, unlabelled_frames, visible
from llava_faba.datatools.convert.tree import load_folds, require_folder, require_root
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_protocol

NAME = "BP4D"
TASKS = tuple(f"T{number}" for number in range(1, 9))
NOT_CODED = 9
_IMAGE_FOLDERS = ["2D+3D", "Sequences(2D+3D)", "Sequences_2D+3D", "BP4D-training", "img", "images", "."]
_AU_COLUMN = re.compile(r"(?:AU)?[ _]?0*(\d{1,2})(?:\.0*)?\Z", re.IGNORECASE)
_FRAME_COLUMN = re.compile(r"frames?(?:[ _]?(?:no|nr|number|id|num))?\.?\Z", re.IGNORECASE)


def convert(root: Path, options: Options) -> Conversion:
    """Every coded frame of every subject in the fold lists, as three splits ``fold1`` to ``fold3``."""
    require_root(root, NAME)
    labels = require_folder(root, ["AUCoding/AU_OCC", "AU_OCC", "AUCoding/AUCoding", "AUCoding"], NAME, "AU codes")
    images = options.images or require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
    folds = load_folds("bp4d")
    conversion = Conversion("bp4d", NAME, "au", [], options)
    samples = {
        subject: _subject(subject, labels, images, conversion)
        for subject in sorted(subject for group in folds.values() for subject in group)
    }
    known = {f"{subject}_{task}.csv".lower() for subject in samples for task in TASKS}
    for path in visible(labels):
        if path.is_file() and path.name.lower() not in known:
            conversion.census.other(path)
    conversion.splits = fold_splits(samples, folds)
    return conversion


def fold_splits(samples: Mapping[str, list[Sample]], folds: dict[str, list[str]]) -> list[Split]:
    """One split per fold: its subjects to evaluate, everybody else to train."""
    return [
        Split(
            fold,
            train=[sample for subject, own in samples.items() if subject not in held_out for sample in own],
            eval=[sample for subject, own in samples.items() if subject in held_out for sample in own],
        )
        for fold, held_out in folds.items()
    ]


def _subject(subject: str, labels: Path, images: Path, conversion: Conversion) -> list[Sample]:
    samples: list[Sample] = []
    for task in TASKS:
        table = find_file(labels, f"{subject}_{task}.csv")
        folder = images / subject / task
        if table is None or not folder.is_dir():
            if not conversion.options.allow_missing:
                raise UserError(f"{NAME}: missing {labels / f'{subject}_{task}.csv' if table is None else folder}")
            conversion.ledger.skip("sequence missing", 0 if table is None else sum(1 for _ in _codes(table)))
            continue
        samples += _sequence(subject, task, table, folder, conversion)
    return samples


def _sequence(subject: str, task: str, table: Path, folder: Path, conversion: Conversion) -> list[Sample]:
    frames = numbered_images(folder, conversion.census)
    labelled = set()
    for line, frame, codes in _codes(table):
        labelled.add(frame)
        outcome: Sample | str
        if None in codes.values():
            outcome = f"a scored AU is not coded ({NOT_CODED})"
        elif frame not in frames:
            if not conversion.options.allow_missing:
                raise UserError(f"{NAME}: {table.name}, line {line}: no image of frame {frame} of {subject}/{task}")
            outcome = "image missing"
        else:
            outcome = Sample(
                frames[frame],
                f"BP4D/{subject}/{task}/{frame}",
                subject,
                f"{subject}/{task}",
                frame,
                aus=tuple(au for au, code in sorted(codes.items()) if code == 1),
            )
        conversion.ledger.add(frame, f"{table.name}, line {line}", tuple(sorted(codes.items())), outcome)
    unlabelled_frames(frames, labelled, conversion.census)
    return conversion.ledger.settle()


def _codes(table: Path) -> Iterator[tuple[int, int, dict[int, int | None]]]:
    """Line, frame number and codes of the scored AUs of each row."""
    columns: dict[int, int] = {}
    width = frame_column = 0
    for line, cells in tables.rows(table, lambda cells: len(cells) > 2):
        if not columns:
            scored = au_protocol("bp4d").vocabulary
            frame_column = tables.column_named(cells, _FRAME_COLUMN, 0)
            header = ["" if position <= frame_column else cell for position, cell in enumerate(cells)]
            columns = tables.au_columns(header, scored, _AU_COLUMN, table, required=scored)
            width = len(tables.trimmed(cells))
            continue
        codes = tables.au_codes(cells, columns, width, (NOT_CODED,), table, line)
        yield line, tables.to_int(cells[frame_column], table, line, "the frame number"), codes
    if not width:
        raise UserError(f"{table}: is empty")
