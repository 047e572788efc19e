"""EmotioNet, the manually coded images of the challenge (about 24,600), 12 scored AUs.

What is handed out is a table of URLs and codes; the images are fetched by its owner. Layout::

    EmotioNet_FACS_aws_2020_24600.xlsx      header URL, URL orig, AU 1, ..., AU 60; several sheets are read
    EmotioNet_FACS_aws_2020_24600.csv       the same saved as CSV (quotes may be part of the cells)
    *.txt                                   the same, tab-separated, without a header
    images/N_0000000001/N_0000000001_00001.jpg, or all images in one folder (images, imgs, Images, Aligned)

1 is active, 0 not, 999 not coded.

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

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.tree import (
    IMAGE_SUFFIXES,
    csv_rows,
    require_folder,
    require_root,
    sheets,
    to_int,
)
from llava_faba.datatools.vocabulary import au_protocol
from llava_faba.errors import UserError

NAME = "EmotioNet"
NOT_CODED = 999
_AU_COLUMN = re.compile(r"AU ?0*(\d{1,2})\Z", re.IGNORECASE)
_QUOTES = "'\" "


def convert(root: Path, options: Options) -> Conversion:
    """Read every label table below ``root``; an image that several tables name is taken once."""
    require_root(root, NAME)
    images = options.images or require_folder(
        root, ["images", "Images", "imgs", "Aligned", "aligned"], NAME, "image folder"
    )
    available = {path.name: path for path in sorted(images.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES}
    conversion = Conversion("emotionet", NAME, "au", [Split("", [], [])])
    split = conversion.splits[0]
    seen: set[str] = set()
    for table in _tables(root, options):
        for place, url, codes in _rows(table):
            name = url.rsplit("/", 1)[-1]
            if name in seen:
                conversion.left_out["named twice"] += 1
                continue
            seen.add(name)
            active = _active(codes, options, place)
            if active is None:
                conversion.left_out["a scored AU is not coded (999)"] += 1
            elif name not in available:
                conversion.left_out["image not downloaded"] += 1
            else:
                stem = Path(name).stem
                sample = Sample(available[name], f"EmotioNet/{stem}", None, stem, 0, aus=active)
                (split.eval if _held_out(stem, options) else split.train).append(sample)
    if not split.train and not split.eval:
        raise UserError(
            f"{NAME}: none of the {len(seen)} images in the tables was found below {images} (left out: "
            f"{dict(conversion.left_out)}); images keep the file names of the URLs"
        )
    conversion.notes.append("the official test labels are not public; this split is ours, drawn by file name and seed")
    return conversion


def _tables(root: Path, options: Options) -> list[Path]:
    folder = options.labels or root
    if folder.is_file():
        return [folder]
    tables = [
        path
        for place in (folder, folder / "labels")
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path.suffix.lower() in (".xlsx", ".csv", ".txt", ".tsv") and "readme" not in path.name.lower()
    ]
    if not tables:
        raise UserError(
            f"{NAME}: no label table (*.xlsx, *.csv, or *.txt with tabs) in {folder} or {folder / 'labels'}"
        )
    return tables


def _rows(table: Path) -> Iterator[tuple[str, str, dict[int, int]]]:
    """Where a row stands, its URL and its codes of the scored AUs."""
    if table.suffix.lower() == ".xlsx":
        for title, rows in sheets(table):
            yield from _coded(f"{table}, sheet '{title}'", rows)
        return
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        delimiter = "\t" if "\t" in stream.readline() else ","
    yield from _coded(str(table), csv_rows(table, delimiter))


def _coded(where: str, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, str, dict[int, int]]]:
    scored = au_protocol("emotionet").vocabulary
    columns: dict[int, int] = {}
    for line, raw in rows:
        cells = [cell.strip(_QUOTES) for cell in raw]
        if not columns:
            named = {int(m.group(1)): i for i, cell in enumerate(cells) if (m := _AU_COLUMN.match(cell))}
            # Without a header two URL columns come first, then AU 1 to 60.
            columns = named or {au: au + 1 for au in range(1, 61)}
            missing = [au for au in scored if au not in columns]
            if missing:
                raise UserError(f"{where}: no column for AU {', '.join(map(str, missing))}")
            if named:
                continue
        short = [au for au in scored if columns[au] >= len(cells)]
        if short:
            raise UserError(
                f"{where}, line {line}: {len(cells)} columns, AU{short[0]} should be in column {columns[short[0]] + 1}"
            )
        yield (
            f"{where}, line {line}",
            cells[0],
            {au: to_int(cells[columns[au]], where, line, f"AU{au}") for au in scored},
        )


def _active(codes: dict[int, int], options: Options, where: str) -> tuple[int, ...] | None:
    wrong = {au: code for au, code in codes.items() if code not in (0, 1, NOT_CODED)}
    if wrong:
        raise UserError(f"{where}: AU code {wrong}, expected 0, 1 or {NOT_CODED}")
    if options.unknown == "drop" and NOT_CODED in codes.values():
        return None
    return tuple(au for au, code in sorted(codes.items()) if code == 1)


def _held_out(stem: str, options: Options) -> bool:
    digest = hashlib.sha256(f"{options.seed}/{stem}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < options.eval_fraction
