"""The smaller JSON files of a model folder: how pictures are prepared, how text is generated, where shards lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faba_bench.files.paths import inside, regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import (
    Check,
    Table,
    checked,
    dropped,
    either,
    flag,
    list_of,
    number,
    one_of,
    optional,
    read,
    shown,
    table_of,
    text,
    whole,
)

PREPROCESSOR, GENERATION = "preprocessor_config.json", "generation_config.json"
_SIDE = whole(1, 8192)
_SIZE = either(
    _SIDE,
    table_of({"height": _SIDE, "width": _SIDE}, "height", "width"),
    table_of({"shortest_edge": _SIDE}, "shortest_edge"),
)
_PROCESSORS = ("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
_PREPROCESSOR: dict[str, Check] = {
    "crop_size": _SIZE,
    "data_format": dropped,
    "do_center_crop": flag,
    "do_convert_rgb": optional(flag),
    "do_normalize": one_of(True),
    "do_rescale": one_of(True),
    "do_resize": flag,
    "feature_extractor_type": one_of(*_PROCESSORS),
    "image_mean": list_of(number(-1000, 1000), length=3),
    "image_processor_type": one_of(*_PROCESSORS),
    "image_std": list_of(number(1e-6, 1e6), length=3),
    "processor_class": dropped,
    "resample": whole(0, 5),
    "rescale_factor": number(0.9 / 255, 1.1 / 255),  # pictures of other brightness, without a word
    "size": _SIZE,
}
PICTURE_TABLE: Table = {
    key: _PREPROCESSOR[key] for key in ("crop_size", "image_mean", "image_std", "rescale_factor", "size")
}
"""Of preprocessor_config.json, what decides how large pictures become, and their numbers."""
_TOKENS = either(one_of(None), whole(-1, 1 << 24), list_of(whole(0, 1 << 24), most=64))
GENERATION_TABLE: Table = {
    "_from_model_config": flag,
    "bos_token_id": _TOKENS,
    "do_sample": flag,
    "eos_token_id": _TOKENS,
    "length_penalty": optional(number(-100, 100)),
    "max_length": optional(whole(1, 1 << 20)),
    "max_new_tokens": optional(whole(1, 1 << 20)),
    "min_length": optional(whole(0, 1 << 20)),
    "no_repeat_ngram_size": optional(whole(0, 1 << 10)),
    "num_beams": optional(whole(1, 64)),
    "pad_token_id": _TOKENS,
    "repetition_penalty": optional(number(1e-3, 100)),
    "temperature": optional(number(0, 1000)),
    "top_k": optional(whole(0, 1 << 22)),
    "top_p": optional(number(0, 1)),
    "transformers_version": optional(text(40)),
    "typical_p": optional(number(0, 1)),
    "use_cache": optional(flag),
}


def preprocessor(folder: Path, tower: Mapping[str, Any]) -> dict[str, Any]:
    """How pictures become the tensors of this vision tower.

    Raises CheckpointError for a missing or broken file, for another kind of processor, and where its pictures are not
    of the size that the tower takes.
    """
    path = folder / PREPROCESSOR
    if not path.is_file():
        raise CheckpointError(f"{folder}: {PREPROCESSOR} is missing; copy it from where the vision tower is from.")
    kept = checked(read(path), _PREPROCESSOR, path)
    for key in ("image_mean", "image_std", "size"):
        if key not in kept:
            raise CheckpointError(f"{path}: {key} is missing; the file is not whole, copy it again.")
    kept["image_processor_type"] = "CLIPImageProcessor"
    kept.pop("feature_extractor_type", None)
    side, crop = tower.get("image_size", 224), kept.get("crop_size", 224)
    sides = {crop} if isinstance(crop, int) else set(crop.values())
    if kept.get("do_center_crop", True) and sides != {side}:
        raise CheckpointError(f"{path}: crop_size {crop} is not the tower's image_size {side} (config.json).")
    return kept


def generation_config(folder: Path) -> dict[str, Any] | None:
    """generation_config.json, or None where there is none."""
    path = folder / GENERATION
    if not path.is_file():
        return None
    return checked(read(path), GENERATION_TABLE, path)


def shards(index: Path) -> dict[str, set[str]]:
    """The files that an index of shards names, each inside the index's folder, and the tensors that each must hold.

    Raises CheckpointError for a broken index, for names that lead out of the folder, and for missing files.
    """
    folder, named = index.parent, read(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise CheckpointError(f"{index}: weight_map must be an object that names files, not {shown(named)}.")
    files: dict[str, set[str]] = {}
    for tensor, name in named.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{index}: weight_map names no file for {printable(tensor)[:100]}, but {shown(name)}."
            )
        files.setdefault(name, set()).add(tensor)
    for name in files:
        path = inside_folder(folder, name, what=f"{index}: weight_map")
        if not path.exists():
            raise CheckpointError(
                f"{path}: no such file, but {index.name} names it; copy it from where it was trained."
            )
    return files


def inside_folder(folder: Path, name: object, what: str) -> Path:
    """A regular or missing file inside a model folder, after links. Raises CheckpointError for anything else.

    The files of a model in the hub's cache are links to ``blobs`` beside its ``snapshots``.
    """

    class _Outside(CheckpointError):
        pass

    try:
        path = inside(folder, name, error=_Outside)
    except _Outside as error:
        cached = folder.resolve().parent.parent
        path = Path(folder, str(name))
        if (
            folder.resolve().parent.name != "snapshots"
            or "\0" in str(name)
            or Path(str(name)).is_absolute()
            or (".." in Path(str(name)).parts or not path.resolve().is_relative_to(cached))
        ):
            reason = str(error).replace(", or allow it with --allow-outside", "")
            raise CheckpointError(f"{what}: {reason}") from None
    if path.exists():
        regular_file(path, error=CheckpointError)
    return path
