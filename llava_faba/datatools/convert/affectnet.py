"""AffectNet, manually annotated part, seven or eight classes.

Two layouts are handed out; both are read.

1. The 2021 release with cropped images::

       train_set/images/0.jpg    train_set/annotations/0_exp.npy     (also _val, _aro, _lnd)
       val_set/images/0.jpg      val_set/annotations/0_exp.npy

2. The original release::

       Manually_Annotated_file_lists/training.csv, validation.csv
       Manually_Annotated_Images/<folder>/<hash>.jpg

   with the columns ``subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks,
   expression, valence, arousal``. ``validation.csv`` has no header line in the copies that public loaders
   were written for, so a header is recognised rather than assumed. The images are whole photographs: align
   them before training.

Where these facts are from:

- layout 1, and that ``_exp.npy`` holds a 0-d array, a string in some copies: public loaders found by
  searching for ``annotations/*_exp.npy`` (they cast it with ``int`` or ``astype(int)``);
- layout 2: the data sections of public loaders found by searching for ``Manually_Annotated_file_lists``,
  one of which skips the header for the training list only;
- 0 Neutral, 1 Happiness, 2 Sadness, 3 Surprise, 4 Fear, 5 Disgust, 6 Anger, 7 Contempt, 8 None, 9 Uncertain,
  10 No-Face: Mollahosseini, Hasani & Mahoor, "AffectNet", IEEE TAC 2019, table 3, and the loaders;
- 283,901 training images with 7 classes and 287,651 with 8: counts noted in a public loader of layout 1;
  3,500 and 4,000 validation images in the paper (500 a class).

AffectNet's test set is not public; as in the literature the validation set is the evaluation set.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from faba_bench.files.arrays import read_array

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.tree import csv_rows, require_file, require_folder, require_root, to_int
from llava_faba.errors import UserError

NAME = "AffectNet"
LABELS = {
    0: "Neutral",
    1: "Happiness",
    2: "Sadness",
    3: "Surprise",
    4: "Fear",
    5: "Disgust",
    6: "Anger",
    7: "Contempt",
}
NOT_EXPRESSIONS = {8: "None", 9: "Uncertain", 10: "No-Face"}
_PATH_COLUMN, _EXPRESSION_COLUMN = 0, 6


def convert(root: Path, options: Options) -> Conversion:
    """Read whichever layout is there; neither is an error that names both."""
    require_root(root, NAME)
    conversion = Conversion("affectnet", NAME, "emotion", [Split("", [], [])])
    if (root / "train_set").is_dir() or (root / "val_set").is_dir():
        _convert_cropped(root, options, conversion)
    else:
        _convert_lists(root, options, conversion)
    if options.classes == 8:
        conversion.notes.append(
            "Contempt is no class of FABA-Bench: the benchmark counts it as wrong or unparsed. Use 7 classes to score."
        )
    return conversion


def _convert_cropped(root: Path, options: Options, conversion: Conversion) -> None:
    split = conversion.splits[0]
    for folder, target in (("train_set", split.train), ("val_set", split.eval)):
        images = (options.images / folder) if options.images else root / folder / "images"
        require_folder(root, [f"{folder}/annotations"], NAME, "annotation folder")
        if not images.is_dir():
            raise UserError(f"{NAME}: no image folder {images}")
        available = {path.stem: path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
        files = list((root / folder / "annotations").glob("*_exp.npy"))
        if not files:
            raise UserError(f"{NAME}: no *_exp.npy below {root / folder / 'annotations'}")
        for file in sorted(files, key=lambda path: (len(path.name), path.name)):
            stem = file.name[: -len("_exp.npy")]
            expression = _expression(file)
            emotion = _class(expression, options, conversion.left_out, str(file))
            if emotion is None:
                continue
            image = available.get(stem)
            if image is None:
                _missing(f"{images / stem}.jpg (annotated by {file.name})", options, conversion)
                continue
            target.append(Sample(image, f"AffectNet/{folder}/{stem}", None, stem, 0, emotion=emotion))


def _convert_lists(root: Path, options: Options, conversion: Conversion) -> None:
    split = conversion.splits[0]
    lists = [
        require_file(
            root,
            [f"Manually_Annotated_file_lists/{name}", name],
            NAME,
            f"annotation list {name} (and no train_set/val_set folders of the cropped release)",
        )
        for name in ("training.csv", "validation.csv")
    ]
    images = options.images or require_folder(
        root,
        [
            "Manually_Annotated_Images",
            "Manually_Annotated/Manually_Annotated_Images",
            "Manually_Annotated_compressed/Manually_Annotated_Images",
            "Manually_Annotated",
        ],
        NAME,
        "image folder",
    )
    for listing, target in zip(lists, (split.train, split.eval), strict=True):
        for line, cells in csv_rows(listing):
            if line == 1 and "filepath" in cells[_PATH_COLUMN].lower():
                continue
            if len(cells) <= _EXPRESSION_COLUMN:
                raise UserError(f"{listing}, line {line}: {len(cells)} columns, expected at least 7")
            expression = to_int(cells[_EXPRESSION_COLUMN], listing, line, "the expression")
            emotion = _class(expression, options, conversion.left_out, f"{listing}, line {line}")
            if emotion is None:
                continue
            relative = cells[_PATH_COLUMN].replace("\\", "/")
            if not (images / relative).is_file():
                _missing(f"{images / relative} ({listing.name}, line {line})", options, conversion)
                continue
            stem = str(Path(relative).with_suffix("").as_posix())
            target.append(Sample(images / relative, f"AffectNet/{stem}", None, stem, 0, emotion=emotion))


def _class(expression: int, options: Options, left_out: Counter[str], where: str) -> str | None:
    if expression in NOT_EXPRESSIONS:
        left_out[f"no expression: {NOT_EXPRESSIONS[expression]}"] += 1
        return None
    if expression not in LABELS:
        raise UserError(f"{NAME}: {where}: expression {expression}, expected 0 to 10")
    if expression >= options.classes:
        left_out["Contempt (7 classes asked for)"] += 1
        return None
    return LABELS[expression]


def _missing(what: str, options: Options, conversion: Conversion) -> None:
    if not options.allow_missing:
        raise UserError(f"{NAME}: missing image {what}")
    conversion.left_out["image missing"] += 1


def _expression(file: Path) -> int:
    """The class number of an ``_exp.npy`` file: a number, or a text in some copies, with no or one axis."""
    try:
        found = read_array(file, limit=1 << 20, kinds="fiuUS", error=ValueError)
        value = float(found.astype("U").item() if found.dtype.kind == "S" else found.item())
        if value != int(value):
            raise ValueError(f"{value} is no class number")
        return int(value)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{NAME}: cannot read the expression in {file}: {error}") from error
