"""Which checkpoints of a run are whole, and what a trainer needs beside transformers' own state to go on exactly.

Resume state (optimizer, random state, DeepSpeed's files) is unpickled by transformers and DeepSpeed. It is read only
from the run's own ``--output_dir``, which is trusted; a stranger's checkpoint is never resumed from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from llava_faba.errors import UserError

MANIFEST = "complete.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def checkpoints(output_dir: Path | str) -> tuple[list[Path], list[Path]]:
    """The whole and the broken ``checkpoint-N`` folders of a run, each list in the order of N."""
    folder = Path(output_dir)
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and _CHECKPOINT.fullmatch(path.name)]
    found.sort(key=lambda path: int(path.name.partition("-")[2]))
    whole = [path for path in found if _is_complete(path)]
    return whole, [path for path in found if path not in whole]


def last_checkpoint(output_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run; None when there is none."""
    whole, _ = checkpoints(output_dir)
    return whole[-1] if whole else None


def mark_complete(folder: Path, trainable: Iterable[str], processes: int) -> None:
    """Write the manifest, the last file of a checkpoint: names and sizes of all others, and what it was made by."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        _sync(path)
    manifest = {
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
        "trainable": sorted(trainable),
        "processes": processes,
    }
    draft = folder / f".{MANIFEST}"
    draft.write_text(json.dumps(manifest), encoding="utf-8")
    _sync(draft)
    draft.replace(folder / MANIFEST)
    _sync(folder)


def unmark(folder: Path) -> None:
    """Take the manifest away before a checkpoint's files are written anew."""
    (folder / MANIFEST).unlink(missing_ok=True)


def check_same_run(folder: Path, trainable: Iterable[str], processes: int) -> None:
    """Raises UserError when a checkpoint belongs to a run with other trained weights or another number of processes."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    remedy = "start with the flags of the first run, or give another --output_dir to begin anew."
    if manifest["processes"] != processes:
        raise UserError(f"{folder} was saved by {manifest['processes']} processes, this run has {processes}; {remedy}")
    other = set(manifest["trainable"]) ^ set(trainable)
    if other:
        raise UserError(
            f"{folder} was saved by a run that trained other weights ({len(other)} differ, such as "
            f"{min(other)}); {remedy}"
        )


def load_non_lora(model: Any, folder: Path) -> None:
    """Load the non-LoRA weights that the checkpoint holds into a PEFT model; transformers restores the adapter alone.

    Raises CheckpointError for a file that is missing or cannot be read, UserError for weights of another model.
    """
    from llava_faba.model.checkpoints import NON_LORA, read_weights

    state = read_weights(folder / f"{NON_LORA}.bin")
    parameters = dict(model.named_parameters())
    wrong = [name for name, value in state.items() if name not in parameters or parameters[name].shape != value.shape]
    if wrong:
        raise UserError(f"{folder / NON_LORA}.bin: '{wrong[0]}' does not fit the model; give another --output_dir.")
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)


def checkpoint_config(output_dir: Path | str) -> dict[str, Any]:
    """The config of the checkpoint that the run will go on from; empty when it starts from the beginning."""
    last = last_checkpoint(output_dir)
    if last is None or not (last / "config.json").is_file():
        return {}
    config: dict[str, Any] = json.loads((last / "config.json").read_text(encoding="utf-8"))
    return config


def _is_complete(folder: Path) -> bool:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
