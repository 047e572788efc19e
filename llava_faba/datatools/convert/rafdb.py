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

The list is read as people hand it on: also with commas, semicolons or tabs, a header, a byte order mark, names with
``_aligned``, labels such as ``5.0``. An empty label leaves the image out.
"""

from __future__ import annotations

import re
from pathlib import Path

from faba_bench.files.terminal import printable

from llava_faba.datatools.convert import tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import Gallery
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
EXPECTED = {"training": 12271, "test": 3068}
_HEADER = re.compile(r"(?:image|images|name|file|filename|path|label|labels|emotion|expression|class)\Z", re.IGNORECASE)
_NAME = re.compile(r"(train|test)_?\d+", re.IGNORECASE)


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
    conversion = Conversion("rafdb", NAME, "emotion", [Split("", [], [])], options)
    gallery = Gallery(images, conversion.census)
    conversion.census.beside([listing])
    ledger = conversion.ledger
    for number, cells in tables.rows(listing, _fits):
        cells = tables.trimmed(cells) if len(cells) > 2 else cells
        if number == 1 and len(cells) == 2 and all(_HEADER.match(cell) for cell in cells):
            continue
        where = f"{listing.name}, line {number}"
        name, label = _parse(cells, listing, number)
        stem = Path(name).stem
        image = gallery.find(f"{stem}_aligned{Path(name).suffix}", name)
        outcome: Sample | str
        if label is None:
            outcome = "no label (an empty cell)"
        elif image is None:
            if not options.allow_missing:
                raise UserError(
                    f"{NAME}: {where} names {name}, but {images} holds neither {stem}_aligned.jpg nor {name}"
                )
            outcome = "image missing"
        else:
            outcome = Sample(image, f"RAF-DB/{stem}", None, stem, 0, emotion=label)
        ledger.add(image or name.lower(), where, label, outcome)
    if not ledger.read:
        raise UserError(f"{listing}: is empty")
    split = conversion.splits[0]
    for sample in ledger.settle():
        (split.train if sample.sequence.lower().startswith("train") else split.eval).append(sample)
    gallery.count_unlabelled()
    for what, own in (("training", split.train), ("test", split.eval)):
        if len(own) != EXPECTED[what]:
            conversion.notes.append(f"{len(own)} {what} images were used; the full set has {EXPECTED[what]}")
    return conversion


def _fits(cells: list[str]) -> bool:
    return len(cells) == 2 and (bool(_NAME.match(_base(cells[0]))) or bool(_HEADER.match(cells[0])))


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _parse(cells: list[str], listing: Path, number: int) -> tuple[str, str | None]:
    """The image's name as RAF-DB gives it, and its class, or None where the cell is empty."""
    if len(cells) != 2 or not _NAME.match(_base(cells[0])):
        said = printable(" ".join(cells))[:120]
        raise UserError(f"{listing}, line {number}: '{said}', expected such as 'train_00001.jpg 5'")
    base = Path(_base(cells[0]))
    name = base.stem.removesuffix("_aligned") + base.suffix
    if cells[1].lower() in tables.NO_VALUE:
        return name, None
    label = tables.to_int(cells[1], listing, number, "the label")
    if label not in LABELS:
        raise UserError(f"{listing}, line {number}: label {label}, expected 1 to 7")
    return name, LABELS[label]
