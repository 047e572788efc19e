"""DISFA: 27 subjects, AU intensity 0 to 5, three subject-exclusive folds.

Layout::

    ActionUnit_Labels/SN001/SN001_au1.txt      lines "frame,intensity", frames numbered from 1
    Videos_LeftCamera/LeftVideoSN001_comp.avi  what is handed out; its frames have to be extracted first
    <any of the image folders below>/SN001/... frames, or in a folder whose name contains SN001

Frames extracted by ffmpeg are numbered from 1, like the labels; some tools number from 0, and then image 0
belongs to label 1. Which it is, is found out from whether any subject has an image 0 (``--first-frame``
overrides).

Where these facts are from:

- folders, file names and lines of the label files, video names: the notebook amogh112/deepFAU (DISFA
  section) and the label preparation of CVI-SZU/ME-GraphAU (``tool/DISFA_image_label_process.py``);
- intensity 2 and more is active, the 8 AUs, the three folds, and image 0 for the first line: ME-GraphAU,
  likewise;
- 27 subjects of about 4,845 frames, 12 coded AUs: Mavadati et al., "DISFA", IEEE TAC 2013. ME-GraphAU's
  lists have 130,814 frames.

Videos have a frame or two fewer than the labels: label lines behind the last image are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from llava_faba.datatools.convert.base import Conversion, Options, Sample
from llava_faba.datatools.convert.bp4d import fold_splits
from llava_faba.datatools.convert.tree import (
    IMAGE_SUFFIXES,
    csv_rows,
    load_folds,
    numbered_images,
    require_folder,
    require_root,
    to_int,
)
from llava_faba.datatools.vocabulary import au_protocol
from llava_faba.errors import UserError

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
    images = options.images or require_folder(root, _IMAGE_FOLDERS, NAME, "image folder")
    folds = load_folds("disfa")
    subjects = sorted(subject for group in folds.values() for subject in group)
    left_out: Counter[str] = Counter()
    frames: dict[str, dict[int, Path]] = {}
    for subject in subjects:
        folder = _subject_folder(images, subject)
        if folder is None:
            if not options.allow_missing:
                raise UserError(_no_frames(images, subject))
            left_out["subject missing"] += 1
            continue
        frames[subject] = numbered_images(folder)
    first = options.first_frame
    if first is None:
        first = 0 if any(0 in own for own in frames.values()) else 1
    samples = {subject: _subject(subject, labels, own, first, options, left_out) for subject, own in frames.items()}
    conversion = Conversion("disfa", NAME, "au", fold_splits(samples, folds), left_out)
    conversion.notes.append(f"image {first} was taken for the first label line")
    return conversion


def _subject_folder(images: Path, subject: str) -> Path | None:
    if (images / subject).is_dir():
        return images / subject
    for folder in sorted(images.iterdir()):
        if folder.is_dir() and subject.lower() in folder.name.lower():
            return folder
    return None


def _no_frames(images: Path, subject: str) -> str:
    message = f"{NAME}: no folder with the frames of {subject} in {images}"
    videos = [path for path in sorted(images.iterdir()) if path.suffix.lower() == ".avi"]
    if videos:
        message += (
            f"; there are videos, whose frames have to be extracted: ffmpeg -i {videos[0].name} -q:v 2 "
            f"frames/{subject}/%05d.jpg, then --images frames"
        )
    elif any(path.suffix.lower() in IMAGE_SUFFIXES for path in images.iterdir()):
        message += "; images have to lie in one folder for each subject"
    return message


def _subject(
    subject: str, labels: Path, frames: dict[int, Path], first: int, options: Options, left_out: Counter[str]
) -> list[Sample]:
    intensities: dict[int, dict[int, int]] = {}
    for au in au_protocol("disfa").vocabulary:
        table = labels / subject / f"{subject}_au{au}.txt"
        if not table.is_file():
            raise UserError(f"{NAME}: missing label file {table}")
        for line, cells in csv_rows(table):
            if len(cells) < 2:
                raise UserError(f"{table}, line {line}: '{cells[0]}', expected such as '1,0'")
            frame = to_int(cells[0], table, line, "the frame number")
            value = to_int(cells[1], table, line, "the intensity")
            if not 0 <= value <= 5:
                raise UserError(f"{table}, line {line}: intensity {value}, expected 0 to 5")
            intensities.setdefault(frame, {})[au] = value
    return _samples(subject, intensities, frames, first, options, left_out)


def _samples(
    subject: str,
    intensities: dict[int, dict[int, int]],
    frames: dict[int, Path],
    first: int,
    options: Options,
    left_out: Counter[str],
) -> list[Sample]:
    last = max(frames, default=-1)
    samples: list[Sample] = []
    for frame, values in sorted(intensities.items()):
        unlabelled = [au for au in au_protocol("disfa").vocabulary if au not in values]
        if unlabelled:
            raise UserError(f"{NAME}: frame {frame} of {subject} has no label for AU {unlabelled[0]}")
        number = frame - 1 + first
        if number not in frames:
            if last < number <= last + TRAILING and frames:
                left_out["label behind the last frame of the video"] += 1
            elif options.allow_missing:
                left_out["image missing"] += 1
            else:
                raise UserError(f"{NAME}: no image number {number} of {subject} (label of frame {frame})")
            continue
        active = tuple(au for au, value in sorted(values.items()) if value >= options.intensity)
        samples.append(Sample(frames[number], f"DISFA/{subject}/{frame}", subject, subject, frame, aus=active))
    return samples
