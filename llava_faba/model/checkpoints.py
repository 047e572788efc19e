"""What lies in a model folder, and reading its weights without running anybody's code.

Weights are read with ``weights_only=True``: a pickle that would call a function is refused, whatever torch's default.
"""

from __future__ import annotations

import contextlib
import json
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llava_faba.compat.torch_versions import load_pickled
from llava_faba.errors import CheckpointError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model"
NON_LORA = "non_lora_trainables"
PROJECTOR_FILE = "landmark_feature_projector"
IMAGE_PROJECTOR_FILE = "mm_projector"
_OTHER_FRAMEWORKS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "*.gguf"]
_PROJECTOR_KEY = "landmark_feature_projector."


@dataclass(frozen=True)
class Checkpoint:
    """A local model folder. ``config`` and ``adapter`` are its parsed config.json and adapter_config.json."""

    folder: Path
    config: dict[str, Any]
    adapter: dict[str, Any] | None

    @property
    def is_emola(self) -> bool:
        return self.config.get("landmark_feature_hidden_size") is not None

    @property
    def is_adapter(self) -> bool:
        return self.adapter is not None

    @property
    def is_projectors_only(self) -> bool:
        """Whether this is what a projector stage of training wrote: projectors, and no language model."""
        if self.is_adapter or not (self.folder / f"{IMAGE_PROJECTOR_FILE}.bin").is_file():
            return False
        return {path.stem for path in self.weights_files()} <= {IMAGE_PROJECTOR_FILE, PROJECTOR_FILE}

    @property
    def needs_base(self) -> bool:
        return self.is_adapter or self.is_projectors_only

    def base(self, model_base: str | None) -> str:
        """The base of LoRA weights or projectors: the caller's, or the one that the folder names, where it may lie.

        Raises CheckpointError when there is neither.
        """
        if model_base is not None:
            return model_base
        named = self.adapter.get("base_model_name_or_path") if self.adapter else self.config.get("_name_or_path")
        if not named:
            kind = "LoRA weights" if self.is_adapter else "projectors"
            raise CheckpointError(f"{self.folder} holds {kind} without naming their base model; pass model_base.")
        parent = self.folder.resolve().parent
        places = [Path(named), self.folder / named, parent / named, parent / Path(named).name]
        for place in places:
            if (place / "config.json").is_file():
                return str(place)
        if named.startswith((".", "/")):
            source = ADAPTER_CONFIG if self.is_adapter else "config.json"
            raise CheckpointError(
                f"{self.folder}: its base model '{named}' ({source}) does not exist; also looked beside the folder. "
                "Pass model_base."
            )
        return str(named)

    def weights_file(self, stem: str) -> Path | None:
        for suffix in (".safetensors", ".bin"):
            path = self.folder / (stem + suffix)
            if path.is_file():
                return path
        return None

    def projector_weights(self) -> dict[str, torch.Tensor]:
        """The prior projector's weights of a folder that needs a base, under the names that the model gives them.

        ``landmark_feature_projector.*`` first, then ``non_lora_trainables.*``, where the authors' trainer puts it too.
        Raises CheckpointError when there is none: a random projector is never used instead.
        """
        from llava_faba.model.projector import projector_state

        expected = self._projector_shapes()
        if not expected:
            return {}
        for stem in (PROJECTOR_FILE, NON_LORA):
            path = self.weights_file(stem)
            state = projector_state(read_weights(path)) if path else {}
            if path and state:
                _check_projector(path, {name: tuple(value.shape) for name, value in state.items()}, expected)
                return {f"model.{_PROJECTOR_KEY}{name}": value for name, value in state.items()}
        raise CheckpointError(
            f"{self.folder}: no facial prior projector: neither {PROJECTOR_FILE}.bin nor {NON_LORA}.bin holds one. "
            "The checkpoint is incomplete; copy the missing file from where it was trained."
        )

    def full_projector_weights(self) -> dict[str, torch.Tensor]:
        """The prior projector's weights of a merged model, under its files' names."""
        return {
            name: value
            for path in self.weights_files()
            if path.stem != PROJECTOR_FILE
            for name, value in read_weights(path, only=_PROJECTOR_KEY).items()
        }

    def check_weights(self) -> None:
        """Refuse unsafe, missing or, for a merged EmoLA model, projector-less weights before anything is built.

        Raises CheckpointError.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for path in self.weights_files():
            shapes.update(_shapes(path))
        if self.is_adapter and self.weights_file(ADAPTER_WEIGHTS) is None:
            raise CheckpointError(
                f"{self.folder}: {ADAPTER_CONFIG} is there but neither {ADAPTER_WEIGHTS}.safetensors nor "
                f"{ADAPTER_WEIGHTS}.bin; copy the missing file from where it was trained."
            )
        if self.is_emola and not self.is_adapter:
            found = {name.split(_PROJECTOR_KEY, 1)[1]: size for name, size in shapes.items() if _PROJECTOR_KEY in name}
            expected = self._projector_shapes()
            if expected and not found:
                raise CheckpointError(
                    f"{self.folder}: config.json describes a facial prior but the weights hold no prior projector "
                    f"({_PROJECTOR_KEY}*); the checkpoint is incomplete."
                )
            _check_projector(self.folder, found, expected)

    def parameters(self) -> int:
        """How many numbers the folder's weights are; of files in both formats, one counts.

        Raises CheckpointError for a missing, broken or unsafe file.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for path in self.weights_files():
            shapes.update(_shapes(path))
        return sum(math.prod(shape) for shape in shapes.values())

    def weights_files(self) -> list[Path]:
        """Every file that transformers or PEFT would read weights from, also shards that an index names."""
        files = {path for pattern in ("*.bin", "*.safetensors") for path in self.folder.glob(pattern)}
        for index in self.folder.glob("*.index.json"):
            named = _read_json(index).get("weight_map", {})
            files.update(self.folder / name for name in named.values())
        return sorted(path for path in files if path.name != "training_args.bin")

    def _projector_shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights that the prior projector of this config has; none for ``identity``."""
        from types import SimpleNamespace

        from llava_faba.model.projector import build_prior_projector

        projector = build_prior_projector(SimpleNamespace(**self.config))
        return {name: tuple(value.shape) for name, value in projector.state_dict().items()}


def inspect_checkpoint(model_path: str | Path, cache_dir: str | None = None, *, download: bool = True) -> Checkpoint:
    """Look at a model folder, or at a hub id, whose files are then fetched by ``huggingface_hub`` (into ``cache_dir``).

    ``download``: False takes a hub id's files from the local cache or not at all.
    Raises CheckpointError when there is no such folder or model, or its config.json is missing or broken.
    """
    folder = Path(model_path)
    if not folder.is_dir():
        folder = _download(str(model_path), cache_dir, cached=not download)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise CheckpointError(f"{folder}: not a model folder, config.json is missing.")
    adapter_file = folder / ADAPTER_CONFIG
    adapter = _read_json(adapter_file) if adapter_file.is_file() else None
    checkpoint = Checkpoint(folder, _read_json(config_file), adapter)
    if checkpoint.needs_base:
        forget_quantization(checkpoint.config)
    return checkpoint


def forget_quantization(config: dict[str, Any]) -> None:
    """Take out of an adapter's config how its base was quantized in training (``--bits``).

    The base's files are not; transformers would take them for quantized ones.
    """
    config.pop("quantization_config", None)


def read_weights(path: Path, only: str = "") -> dict[str, torch.Tensor]:
    """The state dict in a .bin or .safetensors file, on the CPU; of it, the names that contain ``only``.

    Raises CheckpointError for a missing or broken file and for a pickle that holds anything but tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys() if only in name}  # noqa: SIM118
    try:
        state = load_pickled(path, mapped=_can_map(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because it holds more than tensors and could run code when read: {error}"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{path}: not a readable PyTorch weights file: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, not a dictionary of tensors.")
    return {name: value for name, value in state.items() if only in name} if only else state


def _can_map(path: Path) -> bool:
    """Only the zip format can be memory-mapped."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a weights file, which is thereby known to be safe to read."""
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {name: tuple(value.shape) for name, value in read_weights(path).items() if isinstance(value, torch.Tensor)}


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def _check_projector(place: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    """Both loaders of transformers take a wrong shape or an absent weight without a word, so this is ours to see."""
    wrong = [
        f"{_PROJECTOR_KEY}{name} is {found.get(name, 'absent')}, not {expected.get(name, 'known to it')}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    if wrong:
        raise CheckpointError(
            f"{place}: the facial prior projector's weights do not fit config.json (landmark_feature_hidden_size, "
            f"facial_prior_projector_type, hidden_size): {'; '.join(wrong)}."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected an object, found {type(value).__name__}.")
    return value


def _download(name: str, cache_dir: str | None, *, cached: bool) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"{name}: no such folder, and not a model id ('owner/name') on the hub.")
    try:
        found = snapshot_download(name, cache_dir=cache_dir, ignore_patterns=_OTHER_FRAMEWORKS, local_files_only=cached)
        return Path(found)
    except Exception as error:  # the hub client raises a dozen kinds
        source = "it is not in the hub's local cache" if cached else "the hub does not give it"
        raise CheckpointError(f"{name}: no such folder, and {source}: {error}") from error
