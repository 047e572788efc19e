"""What to annotate, and the bytes to send for it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.datatools import records
from llava_faba.datatools.convert.images import IMAGE_SUFFIXES
from llava_faba.errors import UserError

_MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


@dataclass(frozen=True)
class Target:
    """One image to annotate: path relative to the image folder, given label and subject, if any."""

    image: str
    record_id: str
    label: str | int | None = None
    subject: str | None = None
    source: str | None = None


def targets_in_folder(folder: Path) -> list[Target]:
    """Every image file below ``folder``, in order of their paths."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"no image below {folder}")
    relative = [path.relative_to(folder) for path in found]
    return [Target(path.as_posix(), path.with_suffix("").as_posix()) for path in relative]


def targets_in_files(files: Sequence[Path], task: str) -> list[Target]:
    """The images of annotation files, each image once, with their labels where the file's labels are of ``task``.

    Raises ``UserError`` for a record without an image, for a label that cannot be read, and for two labels of an image.
    """
    targets: dict[str, Target] = {}
    for path in files:
        content = records.load_records(path)
        labelled = records.guess_task(content, path.name) in (task, None)
        for index, record in enumerate(content):
            image = record.get("image")
            if not isinstance(image, str) or not image:
                raise UserError(f"{path}[{index}] has no image to annotate")
            label, subject = _label(record, task, f"{path}[{index}]") if labelled else None, record.get("subject")
            if image in targets and targets[image].label != label:
                raise UserError(
                    f"{path}[{index}]: image '{image}' has label {label!r} here and {targets[image].label!r} before"
                )
            targets.setdefault(
                image,
                Target(
                    image,
                    str(record.get("id", Path(image).with_suffix("").as_posix())),
                    label,
                    None if subject is None else str(subject),
                    record.get("source"),
                ),
            )
    return list(targets.values())


def _label(record: Mapping[str, Any], task: str, where: str) -> str | int | None:
    label: str | int | None = record.get("label")
    if label is not None:
        try:
            records.parse_au_label(label) if task == "au" else records.parse_emotion_label(label)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
    return label


@dataclass(frozen=True)
class Picture:
    """The bytes to send, their MIME type, and the hash of the original file."""

    data: bytes
    mime: str
    sha256: str


def load_picture(path: Path, max_side: int | None) -> Picture:
    """A file as it is where servers take it so; scaled down beyond ``max_side``, recoded in other formats.

    Raises ``ValueError`` when it is no readable image.
    """
    from PIL import Image

    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw)) as image:
            image.load()
            kind, size = image.format or "", image.size
            small = max_side is None or max(size) <= max_side
            if small and kind in _MIME:
                return Picture(raw, _MIME[kind], hashlib.sha256(raw).hexdigest())
            rgb = image.convert("RGB")
    except Exception as error:
        # Decoders of damaged files raise nearly anything.
        raise ValueError(f"cannot read the image: {type(error).__name__}: {error}") from error
    if max_side is not None:
        rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    rgb.save(stream, "JPEG", quality=92)
    return Picture(stream.getvalue(), "image/jpeg", hashlib.sha256(raw).hexdigest())


def thumbnail(path: Path, side: int = 224) -> bytes:
    """A small JPEG for the review page; empty when the image cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except Exception:  # the page says so instead of the picture
        return b""
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()
