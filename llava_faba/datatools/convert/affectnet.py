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

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from faba_bench.files.arrays import read_array
from faba_bench.files.paths import inside

from llava_faba.datatools.convert import tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import Gallery, visible
from llava_faba.datatools.convert.tree import require_file, require_folder, require_root
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
_PATH_NAME = re.compile(r"subdirectory_?file_?path\Z", re.IGNORECASE)
_EXPRESSION_NAME = re.compile(r"expression\Z", re.IGNORECASE)
_IMAGE_NAME = re.compile(r"\.\w{2,5}\Z")
_OTHER_ANNOTATIONS = ("_val.npy", "_aro.npy", "_lnd.npy")
_LARGEST_ANNOTATION = 1 << 20


def convert(root: Path, options: Options) -> Conversion:
    """Read whichever layout is there; neither is an error that names both."""
    require_root(root, NAME)
    conversion = Conversion("affectnet", NAME, "emotion", [Split("", [], [])], options)
    if (root / "train_set").is_dir() or (root / "val_set").is_dir():
        _convert_cropped(root, options, conversion)
    else:
        _convert_lists(root, options, conversion)
    split = conversion.splits[0]
    for sample in conversion.ledger.settle():
        (split.train if sample.part == "train" else split.eval).append(sample)
    if options.classes == 8:
        conversion.notes.append(
            "Contempt is no class of FABA-Bench: the benchmark counts it as wrong or unparsed. Use 7 classes to score."
        )
    return conversion


def _convert_cropped(root: Path, options: Options, conversion: Conversion) -> None:
    for folder, part in (("train_set", "train"), ("val_set", "eval")):
        images = (options.images / folder) if options.images else root / folder / "images"
        require_folder(root, [f"{folder}/annotations"], NAME, "annotation folder")
        if not images.is_dir():
            raise UserError(f"{NAME}: no image folder {images}")
        gallery = Gallery(images, conversion.census)
        files = []
        for path in visible(root / folder / "annotations"):
            if path.name.lower().endswith("_exp.npy"):
                files.append(path)
            elif path.is_file() and not path.name.lower().endswith(_OTHER_ANNOTATIONS):
                conversion.census.other(path)
        if not files:
            raise UserError(f"{NAME}: no *_exp.npy below {root / folder / 'annotations'}")
        for file in sorted(files, key=lambda path: (len(path.name), path.name)):
            stem = file.name[: -len("_exp.npy")]
            image = gallery.find(f"{stem}.jpg")
            _row(
                conversion,
                _expression(file),
                image,
                image or (folder, stem.lower()),
                f"{folder}/{file.name}",
                str(file),
                f"{images / stem}.jpg (annotated by {file.name})",
                Sample(
                    image or images,
                    f"AffectNet/{folder}/{stem}",
                    None,
                    stem,
                    0,
                    part=part,
                    scale=_circumplex(file, stem),
                ),
            )
        gallery.count_unlabelled()


def _circumplex(file: Path, stem: str) -> tuple[tuple[str, float], ...]:
    """Valence and arousal from the files beside an ``_exp.npy``; nothing where one is missing or not coded (-2)."""
    cells = []
    for suffix in ("_val.npy", "_aro.npy"):
        path = file.with_name(stem + suffix)
        if not path.is_file():
            return ()
        try:
            cells.append(
                str(read_array(path, limit=_LARGEST_ANNOTATION, kinds="fiuUS", error=ValueError).astype("U").item())
            )
        except ValueError as error:
            raise UserError(f"{NAME}: cannot read {path}: {error}") from error
    return _scale(cells, str(file.with_name(stem + "_val.npy")))


def _scale(cells: Sequence[str], place: str) -> tuple[tuple[str, float], ...]:
    """Valence and arousal; nothing where either is blank or -2, which is how AffectNet says that it is not coded."""
    if any(tables.clean(cell).lower() in tables.NO_VALUE for cell in cells):
        return ()
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise UserError(f"{NAME}: {place}: valence or arousal is no number: {error}") from error
    if -2.0 in values:
        return ()
    if not all(-1.0 <= value <= 1.0 for value in values):
        raise UserError(f"{NAME}: {place}: valence {values[0]:g} and arousal {values[1]:g}, expected -1 to 1, or -2")
    return ("valence", values[0]), ("arousal", values[1])


def _expression(file: Path) -> int | None:
    """The class number in a ``_exp.npy`` file: a number, or a text in some copies, with no or one axis; None: empty."""
    try:
        found = read_array(file, limit=_LARGEST_ANNOTATION, kinds="fiuUS", error=ValueError)
        cell = tables.clean(str(found.astype("U").item()))
    except ValueError as error:
        raise UserError(f"{NAME}: cannot read the expression in {file}: {error}") from error
    if cell.lower() in tables.NO_VALUE:
        return None
    value = tables.number(cell)
    if value is None:
        raise UserError(f"{NAME}: cannot read the expression in {file}: '{cell[:80]}' is no whole number")
    return value


def _convert_lists(root: Path, options: Options, conversion: Conversion) -> None:
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
    conversion.census.beside(lists)
    for listing, part in zip(lists, ("train", "eval"), strict=True):
        before = conversion.ledger.read
        path_column, expression_column, width = _PATH_COLUMN, _EXPRESSION_COLUMN, 0
        plain = True  # valence and arousal are the columns 8 and 9, unless a header says otherwise
        for line, cells in tables.rows(listing, _fits):
            if not width:
                width = len(cells)
                if any(_PATH_NAME.match(cell) for cell in cells):
                    width = len(tables.trimmed(cells))
                    path_column = tables.column_named(cells, _PATH_NAME, _PATH_COLUMN)
                    expression_column = tables.column_named(cells, _EXPRESSION_NAME, _EXPRESSION_COLUMN)
                    plain = [cell.strip().lower() for cell in cells[7:9]] == ["valence", "arousal"]
                    continue
            if len(cells) <= max(path_column, expression_column):
                raise UserError(f"{listing}, line {line}: {len(cells)} columns, expected at least 7")
            tables.check_width(cells, width, listing, line)
            cell = cells[expression_column]
            blank = cell.lower() in tables.NO_VALUE
            expression = None if blank else tables.to_int(cell, listing, line, "the expression")
            relative = cells[path_column].replace("\\", "/")
            image: Path | None = inside(images, relative, error=UserError)
            if not _is_file(image):
                image = _recoded(images / relative)
            stem = Path(relative).with_suffix("").as_posix()
            _row(
                conversion,
                expression,
                image,
                image or relative.lower(),
                f"{listing.name}, line {line}",
                f"{listing}, line {line}",
                f"{images / relative} ({listing.name}, line {line})",
                Sample(
                    image or images,
                    f"AffectNet/{stem}",
                    None,
                    stem,
                    0,
                    part=part,
                    scale=_scale(cells[7:9], f"{listing}, line {line}") if len(cells) >= 9 and plain else (),
                ),
            )
        if conversion.ledger.read == before:
            raise UserError(f"{listing}: names no image")


def _fits(cells: list[str]) -> bool:
    if any(_PATH_NAME.match(cell) for cell in cells):
        return any(_EXPRESSION_NAME.match(cell) for cell in cells)
    if len(cells) <= _EXPRESSION_COLUMN or not _IMAGE_NAME.search(cells[_PATH_COLUMN]):
        return False
    cell = cells[_EXPRESSION_COLUMN]
    return cell.lower() in tables.NO_VALUE or tables.number(cell) is not None


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _recoded(path: Path) -> Path | None:
    """The image under another suffix, or with its suffix in capitals."""
    if not path.parent.is_dir():
        return None
    suffixes = dict.fromkeys(
        (path.suffix.lower(), path.suffix.upper(), ".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG")
    )
    found = [path.with_suffix(suffix) for suffix in suffixes if path.with_suffix(suffix).is_file()]
    if len(found) > 1:
        raise UserError(f"{NAME}: which image is {path}? {found[0].name} or {found[1].name}: move one of them away")
    return found[0] if found else None


def _row(
    conversion: Conversion,
    expression: int | None,
    image: Path | None,
    key: Hashable,
    where: str,
    place: str,
    missing: str,
    sample: Sample,
) -> None:
    """One annotated image: what it is used as, or why it is left out."""
    options = conversion.options
    outcome: Sample | str
    if expression is None:
        outcome = "no expression: empty"
    elif expression in NOT_EXPRESSIONS:
        outcome = f"no expression: {NOT_EXPRESSIONS[expression]}"
    elif expression not in LABELS:
        raise UserError(f"{NAME}: {place}: expression {expression}, expected 0 to 10")
    elif expression >= options.classes:
        outcome = "Contempt (7 classes asked for)"
    elif image is None:
        if not options.allow_missing:
            raise UserError(f"{NAME}: missing image {missing}")
        outcome = "image missing"
    else:
        outcome = replace(sample, emotion=LABELS[expression])
    conversion.ledger.add(key, where, (sample.part, expression), outcome)
