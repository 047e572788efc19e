"""What to annotate, and the bytes to send for it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faba_bench.files.paths import inside

from llava_faba.datatools.convert.images import Census
from llava_faba.errors import UserError
from llava_faba.images import decoded, image_bytes, image_path, open_image, orientation, upright_of
from llava_faba.records import annotation as records

_MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_GPS = 0x8825


@dataclass(frozen=True)
class Target:
    """One image to annotate: path relative to the image folder, given label and subject, if any."""

    image: str
    record_id: str
    label: str | int | None = None
    subject: str | None = None
    source: str | None = None


def targets_in_folder(folder: Path, census: Census | None = None) -> list[Target]:
    """Every image file below ``folder``, in order of their paths; ``census`` counts what else lies there."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    found = list((census or Census()).images(folder, recursive=True))
    if not found:
        raise UserError(f"no image below {folder}")
    relative = [path.relative_to(folder) for path in found]
    return [Target(path.as_posix(), path.with_suffix("").as_posix()) for path in relative]


def targets_in_files(
    files: Sequence[Path], task: str, folder: Path | None = None, *, allow_outside: bool = False
) -> list[Target]:
    """The images of annotation files, each image once, with their labels where the file's labels are of ``task``.

    Raises ``UserError`` for a record without an image, for an image that is no regular file inside ``folder`` (nothing
    else is sent to anybody), for a label that cannot be read, and for two labels of an image.
    """
    targets: dict[str, Target] = {}
    for path in files:
        content = records.load_records(path)
        labelled = records.guess_task(content, path.name) in (task, None)
        for index, record in enumerate(content):
            image = record.get("image")
            if not isinstance(image, str) or not image:
                raise UserError(f"{path}[{index}] has no image to annotate")
            if folder is not None:
                _check_path(folder, image, allow_outside, f"{path}[{index}]")
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


def _check_path(folder: Path, image: str, allow_outside: bool, where: str) -> None:
    if not allow_outside or (folder / image).exists():
        try:
            inside(folder, image, allow_outside=allow_outside, error=ValueError)
            if (folder / image).exists():  # a file that is gone is a failure of its own, later
                image_path(folder, image, allow_outside=allow_outside, error=ValueError)
        except ValueError as error:
            raise UserError(f"{where}: image {error}") from error


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


def fingerprint(path: Path) -> str:
    """What an answer about this file is kept under: the hash of its bytes; none that an answer has for no image file.

    A photograph that its EXIF data turn has another one than before 0.2, when it was sent as it lies.
    """
    try:
        data = image_bytes(path, error=ValueError)
    except ValueError:
        return f"missing/{path}"
    digest = hashlib.sha256(data).hexdigest()
    if b"Exif" not in data[: 1 << 16] and b"eXIf" not in data:
        return digest
    try:
        turned = orientation(decoded(data, path, error=ValueError)) != 1
    except ValueError:
        turned = False
    return f"{digest}/upright" if turned else digest


def load_picture(path: Path, max_side: int | None) -> Picture:
    """A file as it is where servers take it so; upright, scaled down beyond ``max_side``, recoded in other formats.

    What is recoded loses its EXIF data; a picture that says where it was taken is recoded for that. Raises
    ``ValueError`` when it is no readable image.
    """
    from PIL import Image

    raw = image_bytes(path, error=ValueError)
    image = decoded(raw, path.name, error=ValueError)
    kind = image.format or ""
    small = max_side is None or max(image.size) <= max_side
    if small and kind in _MIME and orientation(image) == 1 and not _says_where(image):
        return Picture(raw, _MIME[kind], hashlib.sha256(raw).hexdigest())
    try:
        rgb = upright_of(image).convert("RGB")
    except Exception as error:
        raise ValueError(f"{path.name}: not a readable image: {type(error).__name__}: {error}") from error
    if max_side is not None:
        rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    rgb.info = {}
    stream = io.BytesIO()
    rgb.save(stream, "JPEG", quality=92)
    return Picture(stream.getvalue(), "image/jpeg", hashlib.sha256(raw).hexdigest())


def _says_where(image: Any) -> bool:
    """Do the EXIF data hold coordinates? They are nobody's business at the server."""
    try:
        return bool(image.getexif().get_ifd(_GPS))
    except Exception:  # damaged EXIF data say nothing
        return False


def thumbnail(path: Path, side: int = 224) -> bytes:
    """A small JPEG for the review page, upright as it was sent; empty when the image cannot be read."""
    try:
        small = open_image(path, upright=True, error=ValueError)
    except ValueError:  # the page says so instead of the picture
        return b""
    small.thumbnail((side, side))
    small.info = {}
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()
