"""A folder of photographs to a folder of aligned crops, resumable."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faba_bench.files.appending import end_last_line
from faba_bench.files.atomic import replacing
from faba_bench.files.jsonfiles import read_json
from faba_bench.files.locks import exclusive
from faba_bench.files.oserrors import naming
from faba_bench.files.paths import regular_file
from PIL import Image

from llava_faba.align.crop import align_face
from llava_faba.errors import UserError
from llava_faba.experts import PriorExpert, PriorStatus, create_expert
from llava_faba.images import open_image
from llava_faba.priors.content import Content
from llava_faba.priors.layout import write_atomically
from llava_faba.priors.sources import images_below

LOG, SETTINGS, LOCK = "align.jsonl", "align.json", "align.lock"


def align_folder(
    folder: Path,
    out: Path,
    *,
    expert: str = "dlib-68",
    settings: dict[str, Any] | None = None,
    size: int = 336,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write an aligned crop of every photograph below ``folder`` to the same relative path below ``out``.

    Photographs are turned as their EXIF data say. ``expert``, ``settings``: whose landmarks to align by; one that
    finds faces itself, such as dlib-68 or face-alignment-2d with a detector. ``size``: side of a crop in pixels.
    Photographs without a face and unreadable ones get no crop; ``out/align.jsonl`` holds one line per photograph
    ({"image", "status", "error"}). A photograph that has a line there is not done again, unless
    its content (SHA-256) is another one; lines of an older llava-faba do not tell. Returns counts by status.

    Raises UserError when ``folder`` is not a folder, or ``out`` is the same, or holds crops of another expert, other
    settings or another size; ExpertError when the expert is unknown or cannot be used.
    """
    if size < 1:
        raise UserError(f"the size of a crop is {size}; it must be 1 or more.")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    if out.resolve() == folder.resolve():
        raise UserError(f"--out is the folder of the photographs, {folder}; they would be overwritten.")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / LOCK, f"aligning into {out}", error=UserError):
        return _align_all(folder, out, create_expert(expert, settings), size, progress)


def _align_all(
    folder: Path, out: Path, model: PriorExpert, size: int, progress: Callable[[int, int], None] | None
) -> dict[str, int]:
    done, done_content = _read_log(out / LOG)
    own = os.path.realpath(out) + os.sep
    images = [name for name in images_below(folder) if not os.path.realpath(folder / name).startswith(own)]
    _check_same(out / SETTINGS, {"expert": model.name, "settings": model.settings, "size": size})
    if (out / LOG).exists():
        end_last_line(out / LOG)
    with (out / LOG).open("a", encoding="utf-8") as log:
        for number, image in enumerate(images, 1):
            content = Content.of(folder / image)
            now = None if content is None else content.name
            if image not in done or (now and done_content.get(image) not in (None, now)):
                status, error = _align_one(folder / image, out / image, model, size)
                done[image] = status
                line = {"image": image, "status": status, "error": error, "sha256": now}
                with naming(out / LOG):
                    log.write(json.dumps(line) + "\n")
                    log.flush()
            if progress:
                progress(number, len(images))
    return dict(Counter(done[image] for image in images))


def _align_one(source: Path, target: Path, expert: PriorExpert, size: int) -> tuple[str, str | None]:
    target.unlink(missing_ok=True)  # a crop of the photograph that had this name before
    try:
        image = open_image(source, upright=True)
    except UserError as error:
        return PriorStatus.UNREADABLE.value, str(error)
    crop = align_face(image, expert, size)
    if crop.status in (PriorStatus.FOUND, PriorStatus.SEVERAL_FACES):
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = Image.registered_extensions().get(target.suffix.lower(), "PNG")
        with replacing(target) as temporary:  # whose name fits however long the photograph's is
            crop.image.save(temporary, format=kind, quality=95)
    return crop.status.value, None


def _check_same(path: Path, made: dict[str, Any]) -> None:
    """One folder holds crops of one kind; ``path`` remembers which."""
    text = json.dumps(made, indent=2) + "\n"
    if path.exists() and regular_file(path, error=UserError).read_bytes() != text.encode():
        raise UserError(
            f"{path.parent} holds crops that were made otherwise: {json.dumps(read_json(path, error=UserError))}, now "
            f"{json.dumps(made)}. Choose another folder for --out."
        )
    write_atomically(path, text.encode())


def _read_log(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Statuses of photographs that are done, and their SHA-256 where the log has it; a torn last line is done again."""
    done: dict[str, str] = {}
    contents: dict[str, str] = {}
    if path.exists():
        for line in regular_file(path, error=UserError).read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                value = json.loads(line)
                done[str(value["image"])] = str(value["status"])
                contents.pop(str(value["image"]), None)
                if isinstance(value.get("sha256"), str):
                    contents[str(value["image"])] = value["sha256"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return done, contents
