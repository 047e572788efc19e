"""Weights files: tensors only, whole, finite.

A pickle that would call a function is refused, whatever torch's default. So are a zip whose members are damaged, a file
without tensors, and numbers that are none: they would load, and answer.
"""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from faba_bench.files.paths import regular_file

from llava_faba.compat.torch_versions import load_pickled
from llava_faba.errors import CheckpointError

Shape = tuple[int, ...]
_PACKED = (torch.int8, torch.uint8)  # of a quantized model; bitsandbytes packs its weights so
_WHOLE_NUMBERS = ("position_ids", "num_batches_tracked")  # buffers that count


def read_weights(path: Path, only: str = "") -> dict[str, torch.Tensor]:
    """The state dict in a .bin or .safetensors file, on the CPU; of it, the names that contain ``only``.

    Raises CheckpointError for a missing or broken file and for a pickle that holds anything but tensors.
    """
    _must_be_there(path)
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys() if only in name}  # noqa: SIM118
    state = _unpickled(path)
    return {name: value for name, value in state.items() if only in name} if only else state


def shapes(path: Path) -> dict[str, Shape]:
    """Names and shapes of the tensors in a weights file, from its header. Raises CheckpointError."""
    _must_be_there(path)
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {name: tuple(value.shape) for name, value in _unpickled(path).items() if isinstance(value, torch.Tensor)}


def sound_shapes(path: Path) -> dict[str, Shape]:
    """Names and shapes of the tensors in a weights file, after reading all of it once.

    Raises CheckpointError as ``read_weights`` does, and for a file without tensors, damaged bytes (where its format has
    checksums), and NaN or infinity.
    """
    _must_be_there(path)
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            found = {name: _checked(file.get_tensor(name), name, path) for name in file.keys()}  # noqa: SIM118
    else:
        _check_zip(path)
        found = {name: _checked(value, name, path) for name, value in _unpickled(path).items()}
    if not found:
        raise CheckpointError(
            f"{path}: holds no tensors; copy it again, or remove it if another file is the right one."
        )
    return found


def _must_be_there(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file.")
    regular_file(path, error=CheckpointError)


def _checked(tensor: Any, name: str, path: Path) -> Shape:
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"{path}: '{name}' is a {type(tensor).__name__}, not a tensor.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise CheckpointError(f"{path}: '{name}' is not a plain (dense) tensor.")
    if not tensor.is_floating_point() and tensor.dtype not in _PACKED and not name.endswith(_WHOLE_NUMBERS):
        raise CheckpointError(f"{path}: '{name}' holds {str(tensor.dtype).removeprefix('torch.')}, which no weight is.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():  # one number, said to be a billion
        raise CheckpointError(f"{path}: '{name}' has the shape {tuple(tensor.shape)}, but the file holds less.")
    if tensor.is_floating_point() and tensor.numel() and not _is_finite(tensor):
        raise CheckpointError(
            f"{path}: '{name}' holds NaN or infinity, also as float32; the file is damaged, or its training diverged."
        )
    return tuple(tensor.shape)


def _is_finite(tensor: torch.Tensor) -> bool:
    """One pass and no copy: smallest and largest are NaN or infinite when anything is, as float32 too."""
    try:
        ends = torch.stack(torch.aminmax(tensor)).float()
    except (RuntimeError, NotImplementedError):  # a type that this torch cannot compare
        ends = tensor.float()
    return bool(torch.isfinite(ends).all())


def _check_zip(path: Path) -> None:
    """torch reads a zip's members without looking at their checksums."""
    if not _is_zip(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) != len(names):
                raise CheckpointError(f"{path}: two members of this zip have one name.")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise CheckpointError(f"{path}: a compressed zip, which no torch writes.")
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a readable PyTorch weights file: {error}") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: its member '{damaged}' is damaged (wrong checksum); copy the file again.")


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = load_pickled(path, mapped=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because it holds more than tensors and could run code when read: {error}"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{path}: not a readable PyTorch weights file: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, not a dictionary of tensors.")
    if not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path}: a dictionary whose keys are not all names.")
    return state


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except CheckpointError:
        raise
    except Exception as error:  # the library's own, OSError, and what a strange header makes of torch
        if not isinstance(error, SafetensorError | OSError | ValueError | RuntimeError | TypeError | KeyError):
            raise
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
