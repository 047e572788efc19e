"""Keys: what an answer depends on, in one hash, so that no run takes over an answer of another."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faba_bench.files.digests import sha256_file

from llava_faba.errors import CheckpointError

_MODEL_FILES = (".json", ".bin", ".safetensors", ".model", ".txt", ".jinja")
# Left over from training: they say nothing of how the model answers.
_NOT_THE_MODEL = ("trainer_state.json", "training_args.bin")


def fingerprint(folders: Sequence[Path]) -> str:
    """A hash of everything in model folders that an answer depends on: names and whole contents.

    Weights are hashed from end to end: a merged LoRA differs from its base in the middle of the file only.
    Raises CheckpointError for a file that cannot be read.
    """
    files = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix in _MODEL_FILES and path.name not in _NOT_THE_MODEL and path.is_file()
    ]
    digest = hashlib.sha256()
    with ThreadPoolExecutor(4) as pool:
        try:
            for path, content in zip(files, pool.map(_digest, files), strict=True):
                digest.update(path.name.encode())
                digest.update(content)
        except OSError as error:
            raise CheckpointError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def model_folders(model_path: str, model_base: str | None) -> list[Path]:
    """The folders that a model is loaded from: itself, its base, its vision tower (unless that is on the hub).

    Raises CheckpointError as ``load_model`` does.
    """
    from llava_faba.model.checkpoints import inspect_checkpoint
    from llava_faba.model.vision_tower import resolve_vision_tower

    checkpoint = inspect_checkpoint(model_path)
    folders = [checkpoint.folder]
    if checkpoint.needs_base:
        folders.append(inspect_checkpoint(checkpoint.base(model_base)).folder)
    config = SimpleNamespace(**checkpoint.config)
    resolve_vision_tower(config, *folders)
    tower = Path(getattr(config, "mm_vision_tower", None) or "")
    if tower.name and tower.is_dir():
        folders.append(tower)
    return folders


def answer_key(image: Path, parts: Sequence[Any], prior: bytes = b"") -> str:
    """The key of one answer: the image's content, a stored prior's bytes, and everything else that it depends on."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):  # an image that cannot be read fails later, and has no answer to keep
        digest.update(_digest(image))
    digest.update(prior)
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()


def _digest(path: Path) -> bytes:
    return bytes.fromhex(sha256_file(path))
