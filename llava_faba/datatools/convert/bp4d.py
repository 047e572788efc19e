"""BP4D-Spontaneous: 41 subjects, 8 tasks, AU occurrence, three subject-exclusive folds.

Layout::

    AUCoding/AU_OCC/F001_T1.csv        one file for each subject and task (also found directly in AUCoding/)
    2D+3D/F001/T1/2440.jpg             frames (also below Sequences(2D+3D)/, BP4D-training/, img/ or the root)

A label file's first line heads its columns, its first column is the frame number, and every further column
is headed by an AU number: 1 active, 0 not, 9 not coded. Two kinds are handed out, with the columns 0 to 99
and with about 35 named columns; reading the header serves both. Frame images are numbered with three
digits, four, or none filled up, depending on the subject, so they are matched by number.

Where these facts are from:

- ``AUCoding/AU_OCC/<subject>_<task>.csv``, columns, tasks T1 to T8, the 12 AUs and the three folds: the label
  preparation and README of CVI-SZU/ME-GraphAU (``tool/``), and ZhiwenShao/PyTorch-JAANet;
- code 9, the two header kinds and the digits of image names: py-feat's notes on preparing BP4D;
- 41 subjects: Zhang et al., "BP4D-Spontaneous", Image and Vision Computing 32 (2014).

The published protocol scores 12 AUs; a frame in which one of them is not coded is left out. The literature
counts about 147,000 frames (146,847 in ME-GraphAU's lists, made without regard to code 9).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.tree import (
    csv_rows,
    load_folds,
    numbered_images,
    require_folder,
    require_root,
    to_int,
)
from llava_faba.datatools.vocabulary import au_protocol
from llava_faba.errors import UserError

NAME = "BP4D"
TASKS = tuple(f"T{number}" for number in range(1, 9))
NOT_CODED = 9
_IMAGE_FOLDERS = ["2D+3D", "Sequences(2D+3D)", "Sequences_2D+3D", "BP4D-training", "img", "images", "."]


def convert(root: Path, options: Options) -> Conversion:
    """Every coded frame of every subject in the fold lists, as three splits ``fold1`` to ``fold3``."""
    require_root(root, NAME)
    labels = require_folder(root, ["AUCoding/AU_OCC", "AU_OCC", "AUCoding/AUCoding", "AUCoding"], NAME, "AU codes")
    images = options.images or require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
    folds = load_folds("bp4d")
    left_out: Counter[str] = Counter()
    samples = {
        subject: _subject(subject, labels, images, options, left_out)
        for subject in sorted(subject for group in folds.values() for subject in group)
    }
    return Conversion("bp4d", NAME, "au", fold_splits(samples, folds), left_out)


def fold_splits(samples: dict[str, list[Sample]], folds: dict[str, list[str]]) -> list[Split]:
    """One split per fold: its subjects to evaluate, everybody else to train."""
    return [
        Split(
            fold,
            train=[sample for subject, own in samples.items() if subject not in held_out for sample in own],
            eval=[sample for subject, own in samples.items() if subject in held_out for sample in own],
        )
        for fold, held_out in folds.items()
    ]


def _subject(subject: str, labels: Path, images: Path, options: Options, left_out: Counter[str]) -> list[Sample]:
    samples: list[Sample] = []
    for task in TASKS:
        table = labels / f"{subject}_{task}.csv"
        folder = images / subject / task
        if not table.is_file() or not folder.is_dir():
            if not options.allow_missing:
                raise UserError(f"{NAME}: missing {table if not table.is_file() else folder}")
            left_out["sequence missing"] += 1
            continue
        samples += _sequence(subject, task, table, numbered_images(folder), options, left_out)
    return samples


def _sequence(
    subject: str, task: str, table: Path, frames: dict[int, Path], options: Options, left_out: Counter[str]
) -> list[Sample]:
    columns: dict[int, int] = {}
    samples: list[Sample] = []
    for line, cells in csv_rows(table):
        if not columns:
            columns = _columns(cells, table)
            continue
        if len(cells) <= max(columns.values()):
            raise UserError(f"{table}, line {line}: {len(cells)} columns, the header has more")
        frame = to_int(cells[0], table, line, "the frame number")
        codes = {au: to_int(cells[column], table, line, f"AU{au}") for au, column in columns.items()}
        wrong = {au: code for au, code in codes.items() if code not in (0, 1, NOT_CODED)}
        if wrong:
            raise UserError(f"{table}, line {line}: AU code {wrong}, expected 0, 1 or {NOT_CODED}")
        if NOT_CODED in codes.values():
            left_out["a scored AU is not coded (9)"] += 1
            continue
        if frame not in frames:
            if not options.allow_missing:
                raise UserError(f"{NAME}: {table.name}, line {line}: no image of frame {frame} of {subject}/{task}")
            left_out["image missing"] += 1
            continue
        active = tuple(au for au, code in sorted(codes.items()) if code == 1)
        samples.append(
            Sample(
                frames[frame],
                f"BP4D/{subject}/{task}/{frame}",
                subject,
                f"{subject}/{task}",
                frame,
                aus=active,
            )
        )
    return samples


def _columns(header: list[str], table: Path) -> dict[int, int]:
    by_au: dict[int, int] = {}
    for position, cell in enumerate(header[1:], start=1):
        digits = cell.upper().removeprefix("AU").strip()
        if digits.isdecimal():
            by_au.setdefault(int(digits), position)
    missing = [au for au in au_protocol("bp4d").vocabulary if au not in by_au]
    if missing:
        raise UserError(f"{table}: the first line heads no column for AU {', '.join(map(str, missing))}")
    return {au: by_au[au] for au in au_protocol("bp4d").vocabulary}
