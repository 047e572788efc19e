"""Which checkpoints of a run are whole, which one to go on from, and whether it belongs to the run that asks.

Resume state (optimizer, random state, DeepSpeed's files) is unpickled by transformers and DeepSpeed. It is read only
from the run's own ``--output_dir``, which is trusted; a stranger's checkpoint is never resumed from.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from faba_bench.files.atomic import sweep, write_json
from faba_bench.files.jsonfiles import read_object

from llava_faba.errors import UserError
from llava_faba.training.identity import COMPLETE, LENGTH_FLAGS

MANIFEST = "complete.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_MAY_CHANGE = (*LENGTH_FLAGS, "transformers")
_REMEDY = "start with the flags of the first run, or give another --output_dir to begin anew."


def checkpoints(output_dir: Path | str) -> tuple[list[Path], list[Path]]:
    """The whole and the broken ``checkpoint-N`` folders of a run, each list in the order of N."""
    folder = Path(output_dir)
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and _CHECKPOINT.fullmatch(path.name)]
    found.sort(key=_step)
    whole = [path for path in found if _is_complete(path)]
    return whole, [path for path in found if path not in whole]


def last_checkpoint(output_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run; None when there is none."""
    whole, _ = checkpoints(output_dir)
    return whole[-1] if whole else None


def common_checkpoint(output_dir: Path | str) -> Path | None:
    """The newest checkpoint that is whole in the eyes of every process; all processes must call it.

    Raises UserError when hosts see different folders, and for a checkpoint without the state of its optimizer.
    """
    seen = _gather((socket.gethostname(), [_step(path) for path in checkpoints(output_dir)[0]]))
    holder = next((one for one in seen if one[1]), None)
    if holder is None:
        return None
    common = set.intersection(*(set(steps) for _, steps in seen))
    if not common:
        other = next(host for host, steps in seen if holder[1][-1] not in steps)
        raise UserError(
            f"host {holder[0]} has a whole checkpoint-{holder[1][-1]} in {output_dir}, host {other} has not: "
            "--output_dir must be one folder that all hosts share."
        )
    newest = Path(output_dir) / f"checkpoint-{max(common)}"
    if not (newest / "trainer_state.json").is_file() or not _has_optimizer(newest):
        raise UserError(
            f"{newest} holds weights but no optimizer state (--tune_mm_mlp_adapter and --save_only_model save none): "
            "training cannot go on from it; move it away, or give another --output_dir."
        )
    return newest


def newest_whole(output_dir: Path | str, *, tidies: bool) -> str | None:
    """``common_checkpoint`` as transformers takes it; who ``tidies`` removes drafts and names what is cut."""
    if tidies:
        remove_drafts(output_dir)
        for folder in checkpoints(output_dir)[1]:
            warnings.warn(f"{folder} is not complete (a run was stopped while writing it): passed over", stacklevel=3)
    newest = common_checkpoint(output_dir)
    return str(newest) if newest else None


def remove_drafts(output_dir: Path | str) -> None:
    """Remove the folders that transformers was writing checkpoints into when a run was killed."""
    for draft in Path(output_dir).glob("tmp-checkpoint-*"):
        shutil.rmtree(draft, ignore_errors=True)


def mark_complete(folder: Path, settings: dict[str, Any]) -> None:
    """Write the manifest, the last file of a checkpoint: names and sizes of all others, and what made them."""
    sweep(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        _sync(path)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_json(folder / MANIFEST, {"files": sizes, "settings": settings}, indent=None)
    _sync(folder.parent)


def unmark(folder: Path) -> None:
    """Take the manifest away before a checkpoint's files are written anew."""
    (folder / MANIFEST).unlink(missing_ok=True)


def check_same_run(folder: Path, settings: dict[str, Any]) -> list[str]:
    """What the run that saved a checkpoint and this one do not share, where that is allowed.

    Raises UserError, naming every difference, where it is not.
    """
    saved = read_object(folder / MANIFEST, error=UserError).get("settings")
    if not isinstance(saved, dict):
        raise UserError(f"{folder / MANIFEST}: 'settings' is not an object; give another --output_dir.")
    _check_generation(folder, saved.get("transformers"))
    names, allowed = _compared(saved, settings)
    wrong: list[str] = []
    for name in names:
        before, now = saved.get(name), settings.get(name)
        if before == now:
            continue
        if name == "trained weights":
            differing = set(before or ()) ^ set(now or ())
            wrong.append(f"other trained weights ({len(differing)} differ, such as {min(differing)})")
        else:
            (allowed if name in _MAY_CHANGE else wrong).append(f"{name} was {before}, is {now}")
    if wrong:
        raise UserError(f"{folder} was saved by another run: {'; '.join(wrong)}. To go on, {_REMEDY}")
    return allowed


def _compared(saved: dict[str, Any], settings: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names that can be compared, and what is to be said of the others."""
    shared = sorted(saved.keys() & settings.keys())
    if COMPLETE in settings and COMPLETE not in saved:
        more = len(settings.keys() - saved.keys())
        return shared, [f"an earlier release saved it and wrote less down, so that {more} settings are not compared"]
    if saved.get("transformers") != settings.get("transformers"):  # each has flags of its own
        return shared, []
    return sorted(saved.keys() | settings.keys()), []


def _check_generation(folder: Path, saved_by: str | None) -> None:
    """transformers 4 and 5 do not read each other's trainer state, nor, with the numpy of their time, random state."""
    installed = transformers.__version__
    if saved_by is not None and saved_by.split(".")[0] != installed.split(".")[0]:
        raise UserError(
            f"{folder} was saved with transformers {saved_by}, and transformers {installed} cannot go on from it: the "
            "two do not read each other's trainer and random state. Finish the run with the packages that it was begun "
            "with, or give another --output_dir to begin anew. The weights of a checkpoint load with either."
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
    return read_object(last / "config.json", error=UserError)


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _has_optimizer(folder: Path) -> bool:
    return (folder / "optimizer.pt").is_file() or any(folder.glob("global_step*"))


def _gather(value: Any) -> list[Any]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def _is_complete(folder: Path) -> bool:
    try:
        files = read_object(folder / MANIFEST, error=ValueError)["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
