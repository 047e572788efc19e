"""EmotioNet, the manually coded images of the challenge (about 24,600), 12 scored AUs.

What is handed out is a table of URLs and codes; the images are fetched by its owner. Layout::

    EmotioNet_FACS_aws_2020_24600.xlsx      header URL, URL orig, AU 1, ..., AU 60; several sheets are read
    EmotioNet_FACS_aws_2020_24600.csv       the same saved as CSV (quotes may be part of the cells)
    *.txt                                   the same, tab-separated, without a header
    images/N_0000000001/N_0000000001_00001.jpg, or all images in one folder (images, imgs, Images, Aligned)

1 is active, 0 not, 999 (or an empty cell) not coded.

Where these facts are from:

- file name, columns, stray quotes, 999: py-feat's tutorial on training its AU visualisation and its feature
  extraction notes, EMOCA's download script (tab-separated lists with 60 AU columns behind two URL columns),
  and public readers of the spreadsheet (found by searching for ``EmotioNet_FACS_aws``), which take the URL from
  the first column, AU n from column n + 1, and go through all sheets; one names a copy "without_passw", so the
  file seems to be handed out with a password: save it without;
- 12 AUs (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26, 43): the 2018 challenge page (cbcsl.ece.ohio-state.edu).

The challenge's test labels are not public, and papers split the labelled images each in its own way. Here
an image is drawn into the evaluation set by a hash of its name and the seed, a quarter by default, so the
same image lands on the same side whatever else could be downloaded. Dead links are normal: missing images
are counted, not an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from llava_faba.datatools.convert import same_picture, tables
from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import Gallery, visible
from llava_faba.datatools.convert.tree import require_folder, require_root
from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_protocol

NAME = "EmotioNet"
NOT_CODED = 999
_TABLES = (".xlsx", ".csv", ".txt", ".tsv")
_AU_COLUMN = re.compile(r"(?:AU)[ _]?0*(\d{1,2})(?:\.0*)?\Z", re.IGNORECASE)
_URL_COLUMN = re.compile(r"(?:URL|image|filename|file)\Z", re.IGNORECASE)


def convert(root: Path, options: Options) -> Conversion:
    """Read every label table below ``root``; an image that several tables name is taken once."""
    require_root(root, NAME)
    images = options.images or require_folder(
        root, ["images", "Images", "imgs", "Aligned", "aligned"], NAME, "image folder"
    )
    conversion = Conversion("emotionet", NAME, "au", [Split("", [], [])], options)
    gallery = Gallery(images, conversion.census, recursive=True)
    ledger = conversion.ledger
    named: set[str] = set()
    for table in _tables(root, options, conversion):
        for place, url, codes in _rows(table):
            name = url.replace("\\", "/").rsplit("/", 1)[-1]
            if not name:
                raise UserError(f"{place}: no image in '{url[:120]}'")
            named.add(name.lower())
            image = gallery.find(name)
            outcome: Sample | str
            if options.unknown == "drop" and None in codes.values():
                outcome = f"a scored AU is not coded ({NOT_CODED})"
            elif image is None:
                outcome = "image not downloaded"
            else:
                stem = Path(name).stem
                active = tuple(au for au, code in sorted(codes.items()) if code == 1)
                outcome = Sample(image, f"EmotioNet/{stem}", None, stem, 0, aus=active)
            ledger.add(image or name.lower(), place, tuple(sorted(codes.items())), outcome)
    split = conversion.splits[0]
    samples = ledger.settle()
    # A picture that is there under two names (links to the same photograph) falls on one side.
    first = same_picture.identities(sorted(sample.image for sample in samples))
    stems = {sample.image: sample.sequence for sample in samples}
    for sample in samples:
        (split.eval if _held_out(stems[first[sample.image]], options) else split.train).append(sample)
    gallery.count_unlabelled()
    if not split.train and not split.eval:
        raise UserError(
            f"{NAME}: none of the {len(named)} images in the tables was found below {images} (left out: "
            f"{dict(ledger.items)}); images keep the file names of the URLs"
        )
    conversion.notes.append("the official test labels are not public; this split is ours, drawn by file name and seed")
    return conversion


def _tables(root: Path, options: Options, conversion: Conversion) -> list[Path]:
    folder = options.labels or root
    if folder.is_file():
        return [folder]
    found = [path for place in (folder, folder / "labels") if place.is_dir() for path in visible(place)]
    tables_ = []
    for path in found:
        if path.suffix.lower() in _TABLES and "readme" not in path.name.lower():
            tables_.append(path)
        elif path.is_file():
            conversion.census.other(path)
    if not tables_:
        raise UserError(
            f"{NAME}: no label table (*.xlsx, *.csv, or *.txt with tabs) in {folder} or {folder / 'labels'}"
        )
    return tables_


def _rows(table: Path) -> Iterator[tuple[str, str, dict[int, int | None]]]:
    """Where a row stands, its URL and its codes of the scored AUs."""
    if table.suffix.lower() == ".xlsx":
        for title, rows in tables.sheets(table):
            yield from _coded(f"{table}, sheet '{title}'", rows, padded=True)
        return
    yield from _coded(str(table), tables.rows(table, lambda cells: len(cells) > 12))


def _coded(
    where: str, rows: Iterator[tuple[int, list[str]]], padded: bool = False
) -> Iterator[tuple[str, str, dict[int, int | None]]]:
    """``padded``: a spreadsheet's rows end with their last filled cell."""
    scored = au_protocol("emotionet").vocabulary
    columns: dict[int, int] = {}
    width = url_column = 0
    for line, cells in rows:
        if not columns:
            headed = any(_AU_COLUMN.match(cell) for cell in cells)
            # Without a header two URL columns come first, then AU 1 to 60.
            header = cells if headed else ["URL", "URL orig", *(f"AU {au}" for au in range(1, 61))]
            columns = tables.au_columns(header, scored, _AU_COLUMN, where, required=scored)
            url_column = tables.column_named(header, _URL_COLUMN, 0)
            width = len(tables.trimmed(header)) if headed else max(len(cells), max(columns.values()) + 1)
            if headed:
                continue
        if padded:
            cells = cells + [""] * (width - len(cells))
        codes = tables.au_codes(cells, columns, width, (NOT_CODED,), where, line)
        yield f"{where}, line {line}", cells[url_column], codes


def _held_out(stem: str, options: Options) -> bool:
    digest = hashlib.sha256(f"{options.seed}/{stem}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < options.eval_fraction
