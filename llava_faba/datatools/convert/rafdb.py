"""RAF-DB, the single-label subset of seven basic emotions.

Layout as distributed (with or without the outer folder ``basic``)::

    EmoLabel/list_patition_label.txt     lines "train_00001.jpg 5"; the file's name is misspelt by its makers
    Image/aligned/train_00001_aligned.jpg
    Image/original/train_00001.jpg

Where these facts are from:

- folder and file names, and the split by the prefix ``train``/``test``: the data sections of public loaders
  that agree with each other, such as the README that documents ``data/raf-basic/EmoLabel`` and
  ``Image/aligned`` (found by searching for ``list_patition_label``);
- 1 Surprise, 2 Fear, 3 Disgust, 4 Happiness, 5 Sadness, 6 Anger, 7 Neutral: the same loaders, and RAF-DB's
  page (whdeng.cn/RAF/model1.html);
- 12,271 training and 3,068 test images: Li & Deng, "Reliable Crowdsourcing and Deep Locality-Preserving
  Learning for Unconstrained Facial Expression Recognition", IEEE TIP 2019.
"""

from __future__ import annotations

from pathlib import Path

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.tree import require_file, require_folder, require_root
from llava_faba.errors import UserError

NAME = "RAF-DB"
LABELS = {
    1: "Surprise",
    2: "Fear",
    3: "Disgust",
    4: "Happiness",
    5: "Sadness",
    6: "Anger",
    7: "Neutral",
}
EXPECTED = {"train": 12271, "eval": 3068}


def convert(root: Path, options: Options) -> Conversion:
    """Read the label list; ``options.images`` may point at other crops, named as either of the two image
    folders.
    """
    require_root(root, NAME)
    if not (root / "EmoLabel").is_dir() and (root / "basic").is_dir():
        root = root / "basic"
    listing = require_file(root, ["EmoLabel/list_patition_label.txt", "list_patition_label.txt"], NAME, "label list")
    images = options.images or require_folder(
        root, ["Image/aligned", "aligned", "Image/original"], NAME, "image folder"
    )
    conversion = Conversion("rafdb", NAME, "emotion", [Split("", [], [])])
    split = conversion.splits[0]
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, emotion = _parse(line, listing, number)
        image = _image(images, name)
        if image is None:
            if not options.allow_missing:
                raise UserError(
                    f"{NAME}: {listing.name}, line {number} names {name}, but {images} holds neither "
                    f"{Path(name).stem}_aligned.jpg nor {name}"
                )
            conversion.left_out["image missing"] += 1
            continue
        stem = Path(name).stem
        sample = Sample(image, f"RAF-DB/{stem}", None, stem, 0, emotion=emotion)
        (split.train if name.startswith("train") else split.eval).append(sample)
    return conversion


def _parse(line: str, listing: Path, number: int) -> tuple[str, str]:
    parts = line.split()
    if len(parts) != 2 or not parts[0].startswith(("train", "test")) or not parts[1].isdecimal():
        raise UserError(f"{listing}, line {number}: '{line.strip()}', expected such as 'train_00001.jpg 5'")
    if int(parts[1]) not in LABELS:
        raise UserError(f"{listing}, line {number}: label {parts[1]}, expected 1 to 7")
    return parts[0], LABELS[int(parts[1])]


def _image(folder: Path, name: str) -> Path | None:
    stem, suffix = Path(name).stem, Path(name).suffix
    for candidate in (folder / f"{stem}_aligned{suffix}", folder / name):
        if candidate.is_file():
            return candidate
    return None
