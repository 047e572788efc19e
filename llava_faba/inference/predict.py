"""``predict``: one call for one picture."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from llava_faba.inference.conversations import template_of
from llava_faba.inference.loading import is_native, load_model
from llava_faba.inference.prediction import Prediction

_loading = threading.Lock()


def predict(
    model_or_path: Any,
    image: Any,
    question: str,
    *,
    align: bool = False,
    conversation: str | None = None,
    max_new_tokens: int = 512,
    device: str = "cpu",
    dtype: str = "float32",
) -> Prediction:
    """Ask one question about one picture, decoded greedily.

    ``model_or_path``: what ``load_model`` returned, or a checkpoint folder (of either home) or hub id (kept loaded
    between calls).
    ``image``: a path or a PIL image. ``align``: crop and align the face first (see ``llava_faba.align``),
    after turning a file's picture as its EXIF data say.
    ``conversation``: name of the LLaVA conversation template; default: the checkpoint's. Another one than it
    names gives a warning that says both.
    ``device``, ``dtype``: of a model that is loaded here; "auto" as in ``load_model``.

    Raises UserError subclasses: unreadable image, incomplete checkpoint, missing expert, unknown template, and
    ``align`` with a model whose expert places no landmarks, or that has none.
    """
    loaded = _loaded(str(model_or_path), device, dtype) if isinstance(model_or_path, str | Path) else model_or_path
    picture = _open(image, upright=align)
    model, crop = loaded[1], None
    name, answer_one = _answering(model, conversation)
    if align:
        from llava_faba.inference.aligning import aligned

        crop = aligned(picture, model)
        picture = crop.image
    found = answer_one(loaded, picture, question, conversation=name, max_new_tokens=max_new_tokens)
    if crop is not None and crop.status.value == "several_faces":  # of which the crop shows one
        return replace(found, status=crop.status.value, face=crop.face)
    return found


def _answering(model: Any, conversation: str | None) -> tuple[str | None, Callable[..., Prediction]]:
    """The template's name and what asks: of transformers' home without LLaVA."""
    if is_native(model):
        from llava_faba.inference import native

        native.check_conversation(conversation)
        return None, native.answer_one
    from llava_faba.inference.answer import answer_one

    return template_of(model.config, conversation), answer_one


def _loaded(path: str, device: str, dtype: str) -> Any:
    """The model of a folder, kept as long as the folder stays what it is; several threads get the same one."""
    with _loading:
        return _cached(path, device, dtype, _version(path))


@functools.lru_cache(maxsize=1)
def _cached(path: str, device: str, dtype: str, version: tuple[Any, ...]) -> Any:
    return load_model(path, device=device, dtype=dtype)


def _version(path: str) -> tuple[Any, ...]:
    """Names, sizes and times of the folder's files; nothing for a name on the hub."""
    folder = Path(path)
    if not folder.is_dir():
        return ()
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in files)


def _open(image: Any, upright: bool) -> Any:
    from llava_faba.images import open_image

    return open_image(image, upright) if isinstance(image, str | Path) else image.convert("RGB")
