"""Several annotation files to one training set that can be made again.

Each input has a weight or a cap; a validation part is split off by subject before anything is drawn, so no
person is on both sides however often a record is repeated. The manifest holds the hash of every input and
output, and ``repeat`` makes the same files from it or says which input has changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llava_faba._version import __version__
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
) -> Mixture:
    """Write ``train.json``, ``val.json`` (where ``val_fraction`` is above 0) and ``manifest.json`` to
    ``out``.

    ``split_by`` "subject" keeps all records of a person on one side: a record's ``subject``, or the first
    group of ``subject_pattern`` in its image path. A record without either stands for itself with its
    image. Which side a group falls on depends on its name and ``seed`` only. Raises ``UserError`` when an
    input is no training file.
    """
    if not sources:
        raise UserError("nothing to mix: give at least one --input")
    if not 0 <= val_fraction < 1:
        raise UserError(f"--val-fraction must be at least 0 and below 1, not {val_fraction}")
    if split_by not in SPLITS:
        raise UserError(f"--split-by must be one of {', '.join(SPLITS)}, not '{split_by}'")
    pattern = _pattern(subject_pattern)
    names = _names(sources)
    train: list[records.Record] = []
    val: list[records.Record] = []
    inputs = []
    for source, name in zip(sources, names, strict=True):
        content = _load(source)
        groups = [_group(record, index, name, split_by, pattern) for index, record in enumerate(content)]
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
    settings = {
        "val_fraction": val_fraction,
        "split_by": split_by,
        "subject_pattern": subject_pattern,
        "seed": seed,
        "shuffle": shuffle,
    }
    return _write(Path(out), train, val, inputs, settings)


def repeat(manifest: Path | str, out: Path | str) -> Mixture:
    """Make a mixture again from its manifest. Raises ``UserError`` for a changed input or a differing
    result.
    """
    path = Path(manifest)
    try:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        inputs = list(wanted["inputs"])
        sources = [Source(Path(one["path"]), one["weight"], one["cap"], one["prefix"], one["name"]) for one in inputs]
        settings, outputs = dict(wanted["settings"]), dict(wanted["outputs"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
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


def _group(record: Mapping[str, Any], index: int, name: str, split_by: str, pattern: re.Pattern[str] | None) -> str:
    """What must not be torn apart. Subjects of different inputs are different people unless they share a
    source.
    """
    image = record.get("image")
    if split_by == "record" or not image:
        return f"record/{name}/{index}"
    if split_by == "subject":
        subject = record.get("subject")
        if subject is None and pattern is not None and (match := pattern.search(str(image))):
            subject = match.group(1)
        if subject is not None:
            return f"subject/{record.get('source', name)}/{subject}"
    return f"image/{record.get('source', name)}/{image}"


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
        "train": len(train),
        "val": len(val),
        "outputs": outputs,
    }
    records.save_json(out / MANIFEST, manifest)
    return Mixture(train, val, manifest)
