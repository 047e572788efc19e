"""``llava-faba checkpoint from-transformers``: a native folder as a merged EmoLA checkpoint of LLaVA's home."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from faba_bench.files.folders import check_new, new_folder

from llava_faba.conversion import conversations, pictures, proof, settings
from llava_faba.conversion.names import EMBEDDINGS, to_llava
from llava_faba.conversion.plain_forward import Weights, difference, logits
from llava_faba.conversion.shards import Reader, readers, write_shards
from llava_faba.conversion.source import open_source
from llava_faba.conversion.to_transformers import ORIGINALS, slow_tokenizer
from llava_faba.errors import CheckpointError, UserError
from llava_faba.vetting import tokenizer as vetted
from llava_faba.vetting.kinds import read
from llava_faba.vetting.side_files import inside_folder

TOWER = "vision_tower"  # the subfolder for the vision tower, which LLaVA's home keeps apart
_TOKENS = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_PRIOR = (
    "facial_prior_expert",
    "facial_prior_expert_version",
    "facial_prior_expert_settings",
    "facial_prior_normalization",
    "facial_prior_sizes",
    "facial_prior_statistics",
)
_NOT_CLIPS = ("EmolaImageProcessor", "image_grid_pinpoints", "do_pad", "processor_class")


def from_transformers(model_path: str | Path, out: Path, *, tokenizer: str | Path | None = None) -> proof.Report:
    """Write a native folder into the new folder ``out`` as LLaVA reads it, prove it, and return what was proved.

    ``tokenizer``: where ``tokenizer.model`` lies, for a folder that was saved again by transformers and lost it.
    Raises CheckpointError for a folder that is no converted EmoLA, and when the proof fails; UserError when ``out`` is
    not empty.
    """
    check_new(Path(out), error=UserError)
    folder = Path(model_path)
    native = read(folder / "config.json") if (folder / "config.json").is_file() else {}
    if native.get("model_type") != "emola" or not isinstance(native.get("llava_config"), dict):
        raise CheckpointError(
            f"{folder}: no native EmoLA that 'checkpoint to-transformers' made (config.json with model_type 'emola' "
            "and llava_config)."
        )
    tokens = _tokens(folder, Path(tokenizer) if tokenizer else None)
    with new_folder(out, error=UserError) as draft:
        return _write(folder, native, tokens, draft)


def _write(folder: Path, native: dict[str, Any], tokens: Path, draft: Path) -> proof.Report:
    tensors = _named(folder, native)
    (draft / TOWER).mkdir()
    _write_json(draft / "config.json", _config(native, tensors))
    _write_json(draft / TOWER / "config.json", {**native["vision_config"], "architectures": ["CLIPVisionModel"]})
    _write_json(draft / TOWER / "preprocessor_config.json", _pictures(folder))
    for name in _TOKENS:
        _copy(tokens, name, draft)
    _copy(folder, "generation_config.json", draft)
    rows = int(native["llava_config"]["vocab_size"])
    mine = {name: reader for name, reader in tensors.items() if not name.startswith("vision_tower.")}
    write_shards(((name, functools.partial(_cut, name, reader, rows)) for name, reader in mine.items()), draft)
    towers = {name.removeprefix("vision_tower."): one for name, one in tensors.items() if name not in mine}
    write_shards(iter(towers.items()), draft / TOWER)
    return _prove(tensors, rows, draft)


def _copy(folder: Path, name: str, draft: Path) -> None:
    """A file where it is there; a link that leads out of the folder would bring what it leads to."""
    path = inside_folder(folder, name, str(folder))
    if path.exists():
        shutil.copyfile(path, draft / name)


def _named(folder: Path, native: dict[str, Any]) -> dict[str, Reader]:
    """Every tensor by LLaVA's name for it."""
    linear = native.get("facial_prior_projector_type") == "linear"
    found = {}
    for name, reader in readers(folder).items():
        theirs = to_llava(name, linear_prior=linear)
        if theirs is None:
            raise CheckpointError(f"{folder}: its weights hold '{name}', which LLaVA's home has no place for.")
        found[theirs] = reader
    if not found:
        raise CheckpointError(f"{folder}: no weights in safetensors (model*.safetensors).")
    return found


def _cut(name: str, reader: Reader, rows: int) -> torch.Tensor:
    """Without the placeholder's row, which LLaVA's embeddings do not have."""
    value = reader()
    return value[:rows] if name in EMBEDDINGS else value


def _config(native: dict[str, Any], tensors: dict[str, Reader]) -> dict[str, Any]:
    """The source's config.json, with what may have been changed since: the prior's settings and the type."""
    config = dict(native["llava_config"])
    config |= {key: native[key] for key in _PRIOR if native.get(key) is not None}
    config |= {
        "landmark_feature_hidden_size": native["landmark_feature_hidden_size"],
        "facial_prior_projector_type": native["facial_prior_projector_type"],
        "mm_vision_tower": TOWER,
        "torch_dtype": str(tensors["model.norm.weight"]().dtype).removeprefix("torch."),
    }
    config.pop("unfreeze_mm_vision_tower", None)  # its weights lie in the tower's folder now
    return config


def _pictures(folder: Path) -> dict[str, Any]:
    """The tower's preprocessor_config.json."""
    said = read(folder / "processor_config.json") if (folder / "processor_config.json").is_file() else {}
    picture = dict(said.get("image_processor") or {})
    if not picture.get("image_mean"):
        raise CheckpointError(f"{folder}: processor_config.json has no image_processor; save the processor there.")
    picture["image_processor_type"] = "CLIPImageProcessor"
    return {key: value for key, value in picture.items() if key not in _NOT_CLIPS and value is not None}


def _tokens(folder: Path, given: Path | None) -> Path:
    places = [given] if given else [folder / ORIGINALS, folder]
    found = next((place for place in places if (place / vetted.MODEL).is_file()), None)
    if found is None:
        raise CheckpointError(
            f"{places[0]}: no {vetted.MODEL}, which LLaVA's tokenizer needs; pass --tokenizer with the folder that has "
            "it (the base model, or the native folder that training started from)."
        )
    return found


def _prove(tensors: dict[str, Reader], rows: int, draft: Path) -> proof.Report:
    """What LLaVA's home will read, against the native folder, in float32."""
    written = open_source(draft)
    settings.check_convertible(written)
    slow = slow_tokenizer(vetted.tokenizer_files(draft, "llama"))
    name = str(written.config.get("conversation_template") or conversations.DEFAULT)
    processor = functools.partial(_preprocessed, written)
    prompts = proof.examples(written, slow, conversations.conversation(name), processor)
    config, tower = written.config, written.tower.config
    before = Weights(lambda name: _cut(name, tensors[name], rows), {})
    expected = logits(before, config, tower, prompts)
    found = logits(Weights(written.read, {}), config, tower, prompts)
    worst = max(difference(a, b) for a, b in zip(expected, found, strict=True))
    if not worst <= proof.TOLERANCE:
        raise CheckpointError(f"the written checkpoint's logits differ by {worst:.2g}; nothing was written.")
    return proof.Report(prompts=len(prompts), logits=worst)


def _preprocessed(source: Any, picture: Any) -> torch.Tensor:
    config = source.config
    return pictures.preprocess(
        picture, settings.preprocessor(source), settings.layout(config), settings.pinpoints(config)
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
