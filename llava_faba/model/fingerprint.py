"""Which model this is, by content: one hash of everything in its folders that an answer depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from faba_bench.files.digests import sha256_file

from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import inspect_checkpoint
from llava_faba.model.vision_tower import resolve_vision_tower

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


def _digest(path: Path) -> bytes:
    return bytes.fromhex(sha256_file(path))
