"""DISFA: 27 subjects, AU intensity 0 to 5, three subject-exclusive folds.

Layout::

    ActionUnit_Labels/SN001/SN001_au1.txt      lines "frame,intensity", frames numbered from 1
    Videos_LeftCamera/LeftVideoSN001_comp.avi  what is handed out; its frames have to be extracted first
    <any of the image folders below>/SN001/... frames, or in a folder whose name contains SN001

Frames extracted by ffmpeg are numbered from 1, like the labels; some tools number from 0, and then image 0
belongs to label 1. Which it is, is found out for each subject from whether there is an image 0 (``--first-frame``
overrides); where there is one image more than that allows, it is an error. Frames are named alike except for the
number; others, such as ``average_0.png``, are named and not used. All frames are of one camera: left, or right where
only the right one's are there for everybody; the summary names it.

Where these facts are from:

- folders, file names and lines of the label files, video names: the notebook amogh112/deepFAU (DISFA
  section) and the label preparation of CVI-SZU/ME-GraphAU (``tool/DISFA_image_label_process.py``);
- intensity 2 and more is active, the 8 AUs, the three folds, and image 0 for the first line: ME-GraphAU,
  likewise;
- 27 subjects of about 4,845 frames, 12 coded AUs: Mavadati et al., "DISFA", IEEE TAC 2013. ME-GraphAU's
  lists have 130,814 frames.

Videos have a frame or two fewer than the labels: label lines behind the last image are left out and counted.
A blank intensity is not coded. A row is a frame here: one line in the file of each scored AU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_faba.datatools.convert import tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample
from llava_faba.datatools.convert.bp4d import fold_splits
from llava_faba.datatools.convert.images import (
    IMAGE_SUFFIXES,
    find_file,
    numbered_images,
    unlabelled_frames,
    visible,
)
from llava_faba.datatools.convert.tree import load_folds, require_folder, require_root
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_protocol

NAME = "DISFA"
TRAILING = 5
_IMAGE_FOLDERS = [
    "Images/Left",
    "Images",
    "Videos_LeftCamera_frames",
    "Videos_LeftCamera",
    "Video_LeftCamera",
    "Video_RightCamera",
    "Videos_RightCamera",
    "images",
    "frames",
    "img",
    "aligned",
]


def convert(root: Path, options: Options) -> Conversion:
    """Every labelled frame of the 27 subjects, as three splits ``fold1`` to ``fold3``."""
    require_root(root, NAME)
    labels = require_folder(root, ["ActionUnit_Labels"], NAME, "label folder")
    folds = load_folds("disfa")
    subjects = sorted(subject for group in folds.values() for subject in group)
    conversion = Conversion("disfa", NAME, "au", [], options)
    conversion.ledger.unit = "frames, each a line in the file of every scored AU"
    camera = _choose_camera(root, subjects, conversion)
    samples: dict[str, list[Sample]] = {}
    firsts: dict[int, list[str]] = {}
    for subject in subjects:
        folder = camera.folders.get(subject)
        if options.allow_missing and not (labels / subject).is_dir():
            conversion.ledger.skip("subject missing", 0)
            continue
        own = _Labels.read(labels, subject)
        conversion.census.beside(own.tables, others=r"sn\d+_au\d+\.txt")
        if folder is None:
            conversion.ledger.skip("subject missing", len(own.codes))
            continue
        frames = numbered_images(folder, conversion.census)
        first = options.first_frame
        if first is None:
            first = _first_frame(folder, frames, own)
        firsts.setdefault(first, []).append(subject)
        samples[subject] = _samples(subject, own, frames, first, conversion)
    for path in visible(labels):
        if path.name.upper() not in subjects:
            conversion.census.other(path)
    conversion.splits = fold_splits(samples, folds)
    conversion.notes += _first_frame_notes(firsts)
    return conversion


@dataclass(frozen=True)
class _Camera:
    """The frame folders of one camera (or of no named one) in one image folder, by subject."""

    images: Path
    name: str
    folders: Mapping[str, Path]


def _choose_camera(root: Path, subjects: Sequence[str], conversion: Conversion) -> _Camera:
    """The first camera that has everybody; with --allow-missing, or for the error's sake, the one that has most."""
    options = conversion.options
    if options.images is not None:
        places = [options.images]
        if not options.images.is_dir():
            raise UserError(f"{NAME}: --images {options.images} is not a folder")
    else:
        require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
        places = [root / name for name in _IMAGE_FOLDERS if (root / name).is_dir()]
    cameras = [camera for place in places for camera in _cameras(place, subjects)]
    complete = [camera for camera in cameras if len(camera.folders) == len(subjects)]
    best = complete[0] if complete else max(cameras, key=lambda camera: len(camera.folders))
    if not complete and not options.allow_missing:
        missing = next(subject for subject in subjects if subject not in best.folders)
        raise UserError(_no_frames(best, missing))
    if best.name:
        conversion.found["frames"] = f"the {best.name} camera's, in {best.images}"
    others = [f"{camera.name or camera.images.name} ({len(camera.folders)} subjects)" for camera in cameras]
    others.remove(f"{best.name or best.images.name} ({len(best.folders)} subjects)")
    if any(camera.folders for camera in cameras if camera is not best):
        conversion.notes.append(f"other frames were not used: {', '.join(others)}")
    return best


def _cameras(place: Path, subjects: Sequence[str]) -> list[_Camera]:
    """The cameras in one image folder, left before right; one without folders where there are none."""
    found: dict[str, dict[str, list[Path]]] = {}
    for folder in visible(place):
        if not folder.is_dir():
            continue
        named = [subject for subject in subjects if re.search(rf"{subject}(?![0-9])", folder.name, re.IGNORECASE)]
        side = _side(folder.name) or _side(place.name)
        for subject in named:
            found.setdefault(side, {}).setdefault(subject, []).append(folder)
    cameras = []
    for side in sorted(found):
        folders: dict[str, Path] = {}
        for subject, own in found[side].items():
            exact = [folder for folder in own if folder.name.lower() == subject.lower()] or own
            if len(exact) > 1:
                raise UserError(
                    f"{NAME}: {exact[0]} and {exact[1].name} both look like the frames of {subject}: move one away"
                )
            folders[subject] = exact[0]
        cameras.append(_Camera(place, side, folders))
    return cameras or [_Camera(place, "", {})]


def _side(name: str) -> str:
    return next((side for side in ("left", "right") if side in name.lower()), "")


def _no_frames(camera: _Camera, subject: str) -> str:
    images = camera.images
    message = f"{NAME}: no folder with the frames of {subject} in {images}"
    if camera.name:
        message += f" (the {camera.name} camera, which has {len(camera.folders)} subjects; cameras are not mixed)"
    videos = [path for path in visible(images) if path.suffix.lower() == ".avi"]
    if videos:
        message += (
            f"; there are videos, whose frames have to be extracted: ffmpeg -i {videos[0].name} -q:v 2 "
            f"frames/{subject}/%05d.jpg, then --images frames"
        )
    elif any(path.suffix.lower() in IMAGE_SUFFIXES for path in visible(images)):
        message += "; images have to lie in one folder for each subject"
    return message


@dataclass(frozen=True)
class _Labels:
    """One subject's intensities: by frame, by AU, in the order of the lines (more than one: named twice)."""

    codes: Mapping[int, Mapping[int, Sequence[int | None]]]
    first: int
    """The number of the first frame as the labels count: 1, or 0 in some copies."""
    tables: Sequence[Path] = ()

    @classmethod
    def read(cls, labels: Path, subject: str) -> _Labels:
        codes: dict[int, dict[int, list[int | None]]] = {}
        used: list[Path] = []
        for au in au_protocol("disfa").vocabulary:
            table = find_file(labels / subject, f"{subject}_au{au}.txt")
            if table is None:
                raise UserError(f"{NAME}: missing label file {labels / subject / f'{subject}_au{au}.txt'}")
            used.append(table)
            for line, cells in tables.rows(
                table, lambda cells: len(cells) == 2 and tables.number(cells[0]) is not None
            ):
                if len(cells) < 2:
                    raise UserError(f"{table}, line {line}: '{cells[0]}', expected such as '1,0'")
                if len(tables.trimmed(cells)) > 2:
                    raise UserError(f"{table}, line {line}: {len(cells)} columns, expected 2 such as '1,0'")
                frame = tables.to_int(cells[0], table, line, "the frame number")
                value = None
                if cells[1].lower() not in tables.NO_VALUE:
                    value = tables.to_int(cells[1], table, line, "the intensity")
                    if not 0 <= value <= 5:
                        raise UserError(f"{table}, line {line}: intensity {value}, expected 0 to 5")
                codes.setdefault(frame, {}).setdefault(au, []).append(value)
        if not codes:
            raise UserError(f"{NAME}: the label files of {subject} are empty")
        if min(codes) < 0:
            raise UserError(f"{NAME}: the label files of {subject} have a frame {min(codes)}")
        return cls(codes, min(min(codes), 1), used)


def _first_frame(folder: Path, frames: Mapping[int, Path], labels: _Labels) -> int:
    """The number of the image that belongs to the first label line. Raises ``UserError`` where both could be."""
    if 0 not in frames:
        return 1
    last = max(labels.codes) - labels.first  # counted from 0
    if last + 1 in frames:
        raise UserError(
            f"{NAME}: {folder} has an image 0 and an image {last + 1}, one more than there are labels: say which is "
            "the first frame with --first-frame, or move the image that is none away"
        )
    return 0


def _first_frame_notes(firsts: Mapping[int, list[str]]) -> list[str]:
    if len(firsts) < 2:
        return [f"image {first} was taken for the first label line" for first in firsts]
    return [f"image {first} was taken for the first label line of {', '.join(own)}" for first, own in firsts.items()]


def _samples(
    subject: str, labels: _Labels, frames: Mapping[int, Path], first: int, conversion: Conversion
) -> list[Sample]:
    options, ledger = conversion.options, conversion.ledger
    last = max(frames, default=-1)
    used = set()
    for frame, by_au in sorted(labels.codes.items()):
        unlabelled = [au for au in au_protocol("disfa").vocabulary if au not in by_au]
        if unlabelled:
            raise UserError(f"{NAME}: frame {frame} of {subject} has no label for AU {unlabelled[0]}")
        number = frame - labels.first + first
        used.add(number)
        # A frame that some file names twice is as many rows as it is named.
        for repeat in range(max(map(len, by_au.values()))):
            values = {au: own[min(repeat, len(own) - 1)] for au, own in sorted(by_au.items())}
            outcome: Sample | str
            if None in values.values():
                outcome = "a scored AU is not coded"
            elif number in frames:
                active = tuple(au for au, value in values.items() if value is not None and value >= options.intensity)
                scale = tuple((str(au), float(value)) for au, value in values.items() if value is not None)
                outcome = Sample(
                    frames[number], f"DISFA/{subject}/{frame}", subject, subject, frame, aus=active, scale=scale
                )
            elif last < number <= last + TRAILING and frames:
                outcome = "label behind the last frame of the video"
            elif options.allow_missing:
                outcome = "image missing"
            else:
                raise UserError(f"{NAME}: no image number {number} of {subject} (label of frame {frame})")
            ledger.add(frame, f"frame {frame} of {subject}, line {repeat + 1} of it", tuple(values.items()), outcome)
    unlabelled_frames(dict(frames), used, conversion.census)
    return ledger.settle()
