"""Several annotation files to one training set that can be made again.

Each input has a weight or a cap; a validation part is split off by person and picture before anything is drawn, so
neither is on both sides however often a record is repeated and whichever inputs name it. The manifest holds the hash of
every input and output, and ``repeat`` makes the same files from it or says which input has changed.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from faba_bench.files.jsonfiles import read_object

from llava_faba._version import __version__
from llava_faba.datatools.grouping import group_records, largest, look_at_pictures
from llava_faba.errors import RecordError, UserError, nearest
from llava_faba.records import annotation as records

MANIFEST = "manifest.json"
SPLITS = ("subject", "image", "record")
_KEYS = ("weight", "cap", "prefix", "name")


@dataclass(frozen=True)
class Source:
    """One input. ``weight`` 0.5 takes half of its training records, 2 takes each twice; ``cap`` at most so
    many.

    ``prefix`` is put before image and landmark paths, so that inputs with different image folders can be
    trained together; ``name`` stands in ids and the manifest.
    """

    path: Path
    weight: float = 1.0
    cap: int | None = None
    prefix: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.weight > 0 or self.weight > 1000:
            raise UserError(f"{self.path}: weight must lie above 0 and at most be 1000, not {self.weight}")
        if self.cap is not None and self.cap < 1:
            raise UserError(f"{self.path}: cap must be at least 1, not {self.cap}")
        if self.prefix and (PurePosixPath(self.prefix).is_absolute() or ".." in PurePosixPath(self.prefix).parts):
            raise UserError(f"{self.path}: prefix '{self.prefix}' must be a relative path without '..'")

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read ``PATH[,weight=W][,cap=N][,prefix=DIR][,name=NAME]``."""
        path, *settings = text.split(",")
        values: dict[str, Any] = {}
        for setting in settings:
            key, separator, value = setting.partition("=")
            if not separator or key not in _KEYS:
                raise UserError(
                    f"--input '{text}': '{setting}' is none of {', '.join(k + '=...' for k in _KEYS)}."
                    f"{nearest(key, _KEYS)}"
                )
            values[key] = value
        try:
            if "weight" in values:
                values["weight"] = float(values["weight"])
            if "cap" in values:
                values["cap"] = int(values["cap"])
        except ValueError as error:
            raise UserError(f"--input '{text}': {error}") from error
        return cls(Path(path), **values)


@dataclass(frozen=True)
class Mixture:
    """What ``mix`` makes: training and validation records and the manifest."""

    train: list[records.Record]
    val: list[records.Record]
    manifest: dict[str, Any]


def mix(
    sources: Sequence[Source],
    out: Path | str,
    *,
    val_fraction: float = 0.0,
    split_by: str = "subject",
    subject_pattern: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    image_folder: Path | str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Mixture:
    """Write ``train.json``, ``val.json`` (where ``val_fraction`` is above 0) and ``manifest.json`` to
    ``out``.

    ``split_by`` "subject" keeps all records of a person and of a picture on one side, over all inputs: a record's
    ``subject``, or the first group of ``subject_pattern`` in its image path; a picture is known by what it shows.
    ``image_folder`` is what image paths, with their prefixes, are relative to; by default the inputs' folders and the
    current one are tried, and where no picture is found, their paths count. Which side a group falls on depends on
    its name and ``seed`` only. Raises ``UserError`` when an input is no training file.
    """
    if not sources:
        raise UserError("nothing to mix: give at least one --input")
    if not 0 <= val_fraction < 1:
        raise UserError(f"--val-fraction must be at least 0 and below 1, not {val_fraction}")
    if split_by not in SPLITS:
        raise UserError(f"--split-by must be one of {', '.join(SPLITS)}, not '{split_by}'")
    pattern = _pattern(subject_pattern)
    notes: list[str] = []
    names = _names(sources)
    contents = [_load(source) for source in sources]
    placed = [[_image(record, source) for record in own] for source, own in zip(sources, contents, strict=True)]
    images = list(dict.fromkeys(path for own in placed for path in own if path is not None))
    folder = _image_folder(image_folder, images, sources) if val_fraction else None
    pictures = look_at_pictures(images, folder, workers, progress) if val_fraction else look_at_pictures(images, None)
    grouped = group_records(list(zip(names, contents, strict=True)), placed, pictures, split_by, pattern)
    if val_fraction and folder is not None and pictures.unseen:
        notes.append(f"{pictures.unseen} of {len(images)} pictures could not be looked at and count by their path")
    if val_fraction and images and folder is None:
        notes.append("no picture was found, so pictures count by their paths: give --image-folder")
    train: list[records.Record] = []
    val: list[records.Record] = []
    inputs = []
    for source, name, content, groups in zip(sources, names, contents, grouped, strict=True):
        held_out = [_held_out(group, val_fraction, seed) for group in groups]
        own_train = [record for record, out_ in zip(content, held_out, strict=True) if not out_]
        own_val = [record for record, out_ in zip(content, held_out, strict=True) if out_]
        drawn = _draw(own_train, source, random.Random(f"{seed}/{name}"))
        train += [_placed(record, source, copy) for record, copy in drawn]
        val += [_placed(record, source, 0) for record in own_val]
        inputs.append(
            {
                "name": name,
                "path": str(source.path),
                "sha256": records.file_sha256(source.path),
                "weight": source.weight,
                "cap": source.cap,
                "prefix": source.prefix,
                "records": len(content),
                "train": len(drawn),
                "val": len(own_val),
                "groups": len(set(groups)),
            }
        )
    if shuffle:
        random.Random(f"{seed}/order").shuffle(train)
    count = sum(map(len, contents))
    if val_fraction and count and (biggest := largest(grouped)) * 2 > count and split_by != "record":
        notes.append(
            f"{biggest} of {count} records hang together by people and pictures and cannot be split: is a subject's "
            "name the same for everybody?"
        )
    if val_fraction and not (train and val):
        notes.append(f"the {'training' if not train else 'validation'} part is empty: too few people and pictures")
    settings = {
        "image_folder": None if folder is None else str(folder),
        "val_fraction": val_fraction,
        "split_by": split_by,
        "subject_pattern": subject_pattern,
        "seed": seed,
        "shuffle": shuffle,
    }
    return _write(Path(out), train, val, inputs, settings, notes)


def repeat(manifest: Path | str, out: Path | str) -> Mixture:
    """Make a mixture again from its manifest. Raises ``UserError`` for a changed input or a differing
    result.
    """
    path = Path(manifest)
    try:
        wanted = read_object(path, error=ValueError)
        inputs = list(wanted["inputs"])
        sources = [Source(Path(one["path"]), one["weight"], one["cap"], one["prefix"], one["name"]) for one in inputs]
        settings, outputs = dict(wanted["settings"]), dict(wanted["outputs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a manifest of 'data mix': {type(error).__name__}: {error}") from error
    for source, one in zip(sources, inputs, strict=True):
        if not source.path.is_file():
            raise UserError(f"input '{source.name}' of {path} is gone: {source.path}")
        if records.file_sha256(source.path) != one["sha256"]:
            raise UserError(f"input '{source.name}' has changed since {path} was written: {source.path}")
    made = mix(sources, out, **settings)
    different = [name for name, digest in outputs.items() if made.manifest["outputs"].get(name) != digest]
    if different:
        raise UserError(
            f"the inputs are those of {path}, but {', '.join(different)} came out differently: the "
            f"manifest was "
            f"written by {wanted.get('tool')}, this is llava-faba {__version__}"
        )
    return made


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"--subject-pattern '{text}' is not a regular expression: {error}") from error
    if pattern.groups < 1:
        raise UserError(f"--subject-pattern '{text}' has no group: put the subject's part in parentheses")
    return pattern


def _names(sources: Sequence[Source]) -> list[str]:
    names = [source.name or source.path.stem for source in sources]
    taken: dict[str, int] = {}
    result = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        result.append(name if taken[name] == 1 else f"{name}-{taken[name]}")
    return result


def _load(source: Source) -> list[records.Record]:
    content = records.load_records(source.path)
    for index, record in enumerate(content):
        if not records.is_training(record):
            raise RecordError(
                f"{source.path}[{index}] has no 'conversations': only training files can be mixed, this "
                f"may be an "
                "evaluation file"
            )
    return content


def _held_out(group: str, fraction: float, seed: int) -> bool:
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < fraction


def _draw(content: Sequence[records.Record], source: Source, rng: random.Random) -> list[tuple[records.Record, int]]:
    """Records with the number of the copy (0 for the first), in the input's order, copy after copy."""
    whole, rest = divmod(source.weight, 1.0)
    drawn = [(record, copy) for copy in range(int(whole)) for record in content]
    chosen = set(rng.sample(range(len(content)), round(rest * len(content))))
    drawn += [(record, int(whole)) for index, record in enumerate(content) if index in chosen]
    if source.cap is not None and len(drawn) > source.cap:
        kept = set(rng.sample(range(len(drawn)), source.cap))
        drawn = [one for index, one in enumerate(drawn) if index in kept]
    return drawn


def _image(record: Mapping[str, Any], source: Source) -> str | None:
    """A record's image path in the mixture, or None for a text."""
    image = record.get("image")
    if not isinstance(image, str) or not image:
        return None
    return (PurePosixPath(source.prefix) / image).as_posix()


def _image_folder(given: Path | str | None, images: Sequence[str], sources: Sequence[Source]) -> Path | None:
    """``given``, or the first place where one of the first images lies: beside an input, above it, or here."""
    if given is not None:
        if not Path(given).is_dir():
            raise UserError(f"--image-folder {given} is not a folder")
        return Path(given)
    tried = [place for source in sources for place in (source.path.parent, source.path.parent.parent)]
    for place in dict.fromkeys([*tried, Path()]):
        if any((place / image).is_file() for image in images[:20]):
            return place
    return None


def _placed(record: records.Record, source: Source, copy: int) -> records.Record:
    placed = dict(record)
    for key in ("image", "landmark"):
        if source.prefix and isinstance(placed.get(key), str):
            placed[key] = (PurePosixPath(source.prefix) / placed[key]).as_posix()
    if copy and placed.get("id") is not None:
        placed["id"] = f"{placed['id']}#{copy + 1}"
    return placed


def _write(
    out: Path,
    train: list[records.Record],
    val: list[records.Record],
    inputs: list[dict[str, Any]],
    settings: dict[str, Any],
    notes: list[str],
) -> Mixture:
    contents = {"train.json": train} | ({"val.json": val} if settings["val_fraction"] else {})
    outputs = {}
    for name, content in contents.items():
        records.save_json(out / name, content)
        outputs[name] = records.file_sha256(out / name)
    manifest = {
        "tool": f"llava-faba {__version__}",
        "settings": settings,
        "inputs": inputs,
        "notes": notes,
        "train": len(train),
        "val": len(val),
        "outputs": outputs,
    }
    records.save_json(out / MANIFEST, manifest)
    return Mixture(train, val, manifest)
