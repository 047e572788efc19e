"""Which engine answers with which kind of folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faba_bench.files.jsonfiles import read_object

from llava_faba.errors import CheckpointError, UserError, nearest

NAMES = ("llava", "transformers", "vllm")
# model_type of native.EmolaConfig and native.FacialPriorConfig, without importing transformers.
NATIVE, ATTACHED = "emola", "facial_prior"


def native_config(model_path: str) -> dict[str, Any] | None:
    """config.json of a folder that ``checkpoint to-transformers`` made, or of a model with an attached prior; None for
    any other folder, or a hub id."""
    path = Path(model_path) / "config.json"
    if not path.is_file():
        return None
    config = read_object(path, error=CheckpointError)
    return config if config.get("model_type") in (NATIVE, ATTACHED) else None


def native_folders(model_path: str) -> list[Path]:
    """Where the files of a native folder are: an attached model's own processor has a folder inside it."""
    inner = Path(model_path) / "base_processor"
    return [Path(model_path), *([inner] if inner.is_dir() else [])]


def check_vllm(model_path: str) -> None:
    """Raise UserError for a native folder that vLLM does not serve: it would leave an attached prior out."""
    if (native_config(model_path) or {}).get("model_type") == ATTACHED:
        raise UserError(
            f"{model_path}: a prior that was attached to another model is not served by vLLM (docs/serving.md says "
            "what is missing); take --engine transformers."
        )


def choose_engine(asked: str | None, model_path: str) -> str:
    """The engine that was asked for, or the first that takes such a folder: "llava" or "transformers".

    Raises UserError for an unknown one, and one that takes another kind of folder.
    """
    if asked is not None and asked not in NAMES:
        raise UserError(f"engine must be one of {', '.join(NAMES)}, not '{asked}'.{nearest(asked, NAMES)}")
    is_native = native_config(model_path) is not None
    if asked is None:
        return "transformers" if is_native else "llava"
    if asked == "llava" and is_native:
        raise UserError(f"{model_path} is a folder of transformers: take --engine transformers or vllm.")
    if asked != "llava" and not is_native:
        raise UserError(
            f"--engine {asked} takes a folder that 'llava-faba checkpoint to-transformers --model-path {model_path} "
            f"--out DIR' makes, and {model_path} is none."
        )
    if asked == "vllm":
        check_vllm(model_path)
    return asked


def settings_of(model_path: str) -> SimpleNamespace:
    """A native folder's config.json as an object. Raises CheckpointError for another folder."""
    config = native_config(model_path)
    if config is None:
        raise CheckpointError(f"{model_path}: no folder that 'llava-faba checkpoint to-transformers' made.")
    return SimpleNamespace(**config)
