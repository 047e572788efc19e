"""What lies in a model folder: its parts, its base, and whether it is whole and safe to read.

Every file is read by ``llava_faba.vetting``; ``model/handing_over.py`` gives what was read to transformers and PEFT.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from llava_faba.errors import CheckpointError
from llava_faba.vetting import adapter, families, side_files, structure, weights
from llava_faba.vetting.kinds import read
from llava_faba.vetting.weights import read_weights

__all__ = ["Checkpoint", "forget_quantization", "inspect_checkpoint", "read_weights"]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model"
NON_LORA = "non_lora_trainables"
PROJECTOR_FILE = "landmark_feature_projector"
IMAGE_PROJECTOR_FILE = "mm_projector"
# In the order in which transformers looks for them.
_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_OTHER_FRAMEWORKS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "*.gguf", "*.py", "*.pkl", "*.pt", "*.pth", "*.jinja"]
_PROJECTOR_KEY = "landmark_feature_projector."
# What decides what the layers of a base compute; an adapter's config that says otherwise belongs to another base.
_SHARED_WITH_BASE = {
    "attention_bias": False,
    "head_dim": None,
    "hidden_act": "silu",
    "hidden_size": None,
    "intermediate_size": None,
    "mlp_bias": False,
    "num_attention_heads": None,
    "num_hidden_layers": None,
    "num_key_value_heads": None,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "vocab_size": None,
}


@dataclass(frozen=True)
class Checkpoint:
    """A local model folder. ``config`` and ``adapter`` are its config.json and adapter_config.json as they were vetted.

    A folder with an adapter alone, as PEFT saves it, has an empty ``config``.
    """

    folder: Path
    config: dict[str, Any]
    adapter: dict[str, Any] | None
    _files: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_emola(self) -> bool:
        return self.config.get("landmark_feature_hidden_size") is not None

    @property
    def is_adapter(self) -> bool:
        return self.adapter is not None

    @property
    def is_tower(self) -> bool:
        return self.config.get("model_type") in families.TOWER_TYPES

    @property
    def family(self) -> str:
        """ "llama", "mistral", "mpt", "clip", "dinov2", or "adapter" for an adapter alone."""
        kind = self.config.get("model_type")
        if kind is None:
            return "adapter"
        if kind in families.LLAMA_TYPES:
            return "llama"
        if kind == families.DINO_TYPE:
            return "dinov2"
        return "mistral" if kind in families.MISTRAL_TYPES else "mpt" if kind in families.MPT_TYPES else "clip"

    @property
    def is_projectors_only(self) -> bool:
        """Whether this is what a projector stage of training wrote: projectors, and no language model."""
        if self.is_adapter or not (self.folder / f"{IMAGE_PROJECTOR_FILE}.bin").is_file():
            return False
        return not self._whole_weights()

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
            if is_file(place / "config.json"):
                return str(place)
        if named.startswith((".", "/")):
            source = ADAPTER_CONFIG if self.is_adapter else "config.json"
            raise CheckpointError(
                f"{self.folder}: its base model '{named}' ({source}) does not exist; also looked beside the folder. "
                "Pass model_base."
            )
        return str(named)

    def checked_base(
        self, model_base: str | None, *, download: bool = True, cache_dir: str | None = None
    ) -> Checkpoint:
        """The base, whole, safe to read, and the one that this folder was trained on as far as configs can tell.

        ``download``, ``cache_dir``: of a hub id, as for ``inspect_checkpoint``. Raises CheckpointError.
        """
        base = inspect_checkpoint(self.base(model_base), cache_dir, download=download)
        if base.needs_base or base.is_tower:
            kind = "a vision tower" if base.is_tower else "no whole model: it needs a base itself"
            raise CheckpointError(f"{base.folder}: cannot be the base of {self.folder}, for it is {kind}.")
        base.check_weights()
        differing = [
            f"{key} {_said(self.config, key, default)}, not {_said(base.config, key, default)}"
            for key, default in {**_SHARED_WITH_BASE, "rope": None}.items()
            if self.config and _said(self.config, key, default) != _said(base.config, key, default)
        ]
        if differing:
            raise CheckpointError(
                f"{self.folder}: {base.folder} is not its base, for config.json says {'; '.join(differing)}. Pass the "
                "right one as model_base."
            )
        self._check_tower_inside(
            name for one in (self, base) for path in one.weights_files() for name in self.tensors(path)
        )
        return base

    def _check_tower_inside(self, names: Iterable[str]) -> None:
        """LLaVA leaves the tower's folder unread, and the tower without numbers, where the config says so."""
        if self.config.get("unfreeze_mm_vision_tower") and not any(".vision_tower." in name for name in names):
            raise CheckpointError(
                f"{self.folder}: config.json says that the vision tower was trained (unfreeze_mm_vision_tower), and "
                "its weights are in no file; copy it again."
            )

    def weights_file(self, stem: str) -> Path | None:
        """The file of these weights, safetensors first. Raises CheckpointError for one that leads out."""
        for suffix in (".safetensors", ".bin"):
            if (self.folder / (stem + suffix)).exists():
                return side_files.inside_folder(self.folder, stem + suffix, what=str(self.folder))
        return None

    def tensors(self, path: Path) -> structure.Shapes:
        """Names and shapes in one of the folder's weights files, read from end to end. Raises CheckpointError."""
        return _sound_shapes(path)

    def projector_weights(self) -> dict[str, torch.Tensor]:
        """The prior projector's weights of a folder that needs a base, under the names that the model gives them.

        ``landmark_feature_projector.*`` first, then ``non_lora_trainables.*``, where the authors' trainer puts it too.
        Raises CheckpointError when there is none: a random projector is never used instead.
        """
        expected = structure.prior_projector(self.config)
        if not expected:
            return {}
        for stem in (PROJECTOR_FILE, NON_LORA):
            path = self.weights_file(stem)
            state = _projector_state(read_weights(path)) if path else {}
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
            for name, value in read_weights(path, only=_PROJECTOR_KEY).items()
        }

    def check_weights(self) -> None:
        """Refuse what is unsafe, missing, damaged, of another shape or not of this model, before anything is built.

        Raises CheckpointError.
        """
        families.check_whole(self.config, self.folder / "config.json")
        if self.is_adapter:
            self._check_adapter()
        elif self.is_projectors_only:
            self._check_projectors()
        else:
            self._check_whole()

    def parameters(self) -> int:
        """How many numbers the folder's weights are; of files in both formats, one counts.

        Raises CheckpointError for a missing, broken or unsafe file.
        """
        shapes: dict[str, structure.Shape] = {}
        for path in self.weights_files():
            shapes.update(weights.shapes(path))
        return sum(math.prod(shape) for shape in shapes.values())

    def weights_files(self) -> list[Path]:
        """The files that weights are read from: of several formats the one that transformers takes.

        Raises CheckpointError for an index that leads out of the folder or names what is not there.
        """
        if self.needs_base:
            stems = [ADAPTER_WEIGHTS, NON_LORA, PROJECTOR_FILE, IMAGE_PROJECTOR_FILE]
            found = [self.weights_file(stem) for stem in stems]
            return [path for path in found if path is not None]
        chosen = self._whole_weights()
        if not chosen.endswith(".json"):
            return [side_files.inside_folder(self.folder, chosen, what=str(self.folder))] if chosen else []
        return [self.folder / name for name in sorted(self.shards())]

    def shards(self) -> dict[str, set[str]]:
        """The files that the index names, and the tensors of each; empty for a model in one file."""
        chosen = self._whole_weights()
        return side_files.shards(self.folder / chosen) if chosen.endswith(".json") else {}

    def _whole_weights(self) -> str:
        """The name of the file, or the index of files, that holds all weights; "" when there is none."""
        return next((name for name in _WHOLE if (self.folder / name).exists()), "")

    def _check_adapter(self) -> None:
        path = self.weights_file(ADAPTER_WEIGHTS)
        if path is None:
            raise CheckpointError(
                f"{self.folder}: {ADAPTER_CONFIG} is there but neither {ADAPTER_WEIGHTS}.safetensors nor "
                f"{ADAPTER_WEIGHTS}.bin; copy the missing file from where it was trained."
            )
        found = self.tensors(path)
        if self.family not in ("llama", "mistral"):
            return
        non_lora = self.weights_file(NON_LORA)
        if non_lora is None:
            self.projector_weights()  # told first, where that is missing too
            raise CheckpointError(
                f"{self.folder}: {NON_LORA}.bin is missing, which holds what was trained beside the LoRA weights; copy "
                "it from where the checkpoint was trained."
            )
        layers = structure.linear_layers(self.config)
        others = (structure.IMAGE_PROJECTOR, structure.PRIOR_PROJECTOR, "vision_tower", "vision_resampler")
        adapter.check_tensors(self.adapter or {}, found, layers, others, path)
        self._check_beside(non_lora)
        projector = self.weights_file(PROJECTOR_FILE)
        if projector is not None:
            self._check_projector_file(projector)

    def _plain(self, path: Path) -> structure.Shapes:
        """Names in the plain model, and shapes. Raises CheckpointError for two tensors that are one weight: which of
        them counts depends on who loads."""
        found: structure.Shapes = {}
        for name, shape in self.tensors(path).items():
            if model_name(name) in found:
                raise CheckpointError(f"{path}: two of its tensors are the weight '{model_name(name)}'; copy it again.")
            found[model_name(name)] = shape
        return found

    def _check_beside(self, path: Path) -> None:
        """The weights beside an adapter: all of them this model's, and its image projector whole."""
        found = self._plain(path)
        known = structure.whole_model(self.config)
        prior = {name for name in found if _PROJECTOR_KEY in name}  # told of by projector_weights, in its own words
        image = structure.image_projector(self.config)
        needed = image if not self.config.get("freeze_mm_mlp_adapter") or found.keys() & image.keys() else {}
        wanted = {name: known[name] for name in known if name in needed or (name in found and name not in prior)}
        rest = {name: shape for name, shape in found.items() if name not in prior}
        _raise_for(path, structure.differences(rest, wanted, self.config))

    def _check_projectors(self) -> None:
        path = self._image_projector_file()
        found = self._plain(path)
        wanted = structure.image_projector(self.config)
        embeddings = {name: shape for name, shape in structure.language_model(self.config).items() if name in found}
        _raise_for(path, structure.differences(found, {**wanted, **embeddings}, self.config))
        projector = self.weights_file(PROJECTOR_FILE)
        if projector is not None:
            self._check_projector_file(projector)

    def _image_projector_file(self) -> Path:
        return side_files.inside_folder(self.folder, f"{IMAGE_PROJECTOR_FILE}.bin", what=str(self.folder))

    def _check_projector_file(self, path: Path) -> None:
        strangers = sorted(name for name in self.tensors(path) if _PROJECTOR_KEY not in name)
        _raise_for(path, [f"{name} is no part of the prior projector" for name in strangers])

    def _check_whole(self) -> None:
        if not self._whole_weights():
            raise CheckpointError(f"{self.folder}: no weights: none of {', '.join(_WHOLE)} is there.")
        named, found = self.shards(), {}
        for path in self.weights_files():
            shapes = self.tensors(path)
            tensors = named.get(str(path.relative_to(self.folder)))
            odd = sorted(shapes.keys() ^ tensors) if tensors is not None else []
            if odd:
                where = "is not in it" if odd[0] not in shapes else "is in it, but not by the index"
                raise CheckpointError(
                    f"{path}: not the shard that the index describes: '{odd[0]}' {where} ({len(odd)} such tensors)."
                )
            found.update(shapes)
        if self.is_tower:
            bare = {name.removeprefix("vision_model."): shape for name, shape in found.items()}
            wanted = structure.vision_tower(self.config)
            rest = {name: shape for name, shape in bare.items() if name in wanted}  # a whole CLIP also reads texts
            _raise_for(self.folder, structure.differences(rest, wanted, self.config))
        elif self.family in ("llama", "mistral"):
            self._check_language_model(found)
            self._check_tower_inside(found)

    def _check_language_model(self, found: dict[str, structure.Shape]) -> None:
        mine = {name.split(_PROJECTOR_KEY, 1)[1]: size for name, size in found.items() if _PROJECTOR_KEY in name}
        expected = structure.prior_projector(self.config)
        if expected and not mine:
            raise CheckpointError(
                f"{self.folder}: config.json describes a facial prior but the weights hold no prior projector "
                f"({_PROJECTOR_KEY}*); the checkpoint is incomplete."
            )
        _check_projector(self.folder, mine, expected)
        problems = structure.differences(found, structure.whole_model(self.config), self.config)
        absent = [problem.removesuffix(" is missing") for problem in problems if problem.endswith(" is missing")]
        if absent:
            raise CheckpointError(
                f"{self.folder}: {len(absent)} weights are missing from its files, {absent[0]} for one; copy it again."
            )
        _raise_for(self.folder, problems)


def inspect_checkpoint(
    model_path: str | Path, cache_dir: str | None = None, *, download: bool = True, adapter_alone: bool = False
) -> Checkpoint:
    """Look at a model folder, or at a hub id, whose files are then fetched by ``huggingface_hub`` (into ``cache_dir``).

    ``download``: False takes a hub id's files from the local cache or not at all. ``adapter_alone``: a folder without
    config.json will do, when it holds an adapter.
    Raises CheckpointError when there is no such folder or model, or its config.json is missing, broken, or that of a
    model that is not read here.
    """
    folder = Path(model_path)
    if not is_dir(folder):
        folder = _download(str(model_path), cache_dir, cached=not download)
    config_file, adapter_file = folder / "config.json", folder / ADAPTER_CONFIG
    if not config_file.is_file() and not (adapter_alone and adapter_file.is_file()):
        raise CheckpointError(f"{folder}: not a model folder, config.json is missing.")
    for name in ("config.json", ADAPTER_CONFIG):
        side_files.inside_folder(folder, name, what=str(folder))
    config = families.model_config(read(config_file), config_file) if config_file.is_file() else {}
    lora = adapter.adapter_config(read(adapter_file), adapter_file) if adapter_file.is_file() else None
    return Checkpoint(folder, config, lora)


def forget_quantization(config: dict[str, Any]) -> None:
    """Take out of an adapter's config how its base was quantized in training (``--bits``).

    The base's files are not; transformers would take them for quantized ones.
    """
    config.pop("quantization_config", None)


def model_name(name: str) -> str:
    """A parameter's name in the plain model, from its name under PEFT (``base_model.model.model.x``)."""
    return name.removeprefix("base_model.").removeprefix("model.") if name.startswith("base_model.") else name


def _sound_shapes(path: Path) -> dict[str, structure.Shape]:
    """Each file is read from end to end once in a process, as long as it stays what it is."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file.")
    status = path.stat()
    return dict(_sound_shapes_of(str(path), (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)))


@functools.lru_cache(maxsize=512)
def _sound_shapes_of(path: str, version: tuple[int, ...]) -> dict[str, structure.Shape]:
    return weights.sound_shapes(Path(path))


def _projector_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.split(_PROJECTOR_KEY, 1)[1]: value for name, value in state.items() if _PROJECTOR_KEY in name}


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


def _raise_for(place: Path, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"{place}: its weights do not fit config.json: {'; '.join(problems[:4])}{more}.")


def _said(config: dict[str, Any], key: str, default: Any) -> Any:
    """What a config says of its layers, in one form for all releases of transformers."""
    if key == "rope":
        parameters = dict(config.get("rope_parameters") or {})
        scaling = dict(config.get("rope_scaling") or {}) or parameters
        kind = scaling.pop("type", None) or scaling.pop("rope_type", None) or "default"
        base = float(parameters.get("rope_theta", config.get("rope_theta", 10000.0)))
        rest = {} if kind == "default" else {k: v for k, v in scaling.items() if k not in ("rope_theta", "rope_type")}
        return (kind, base, rest)
    value = config.get(key, default)
    if key == "num_key_value_heads" and value is None:
        return config.get("num_attention_heads")
    if key == "head_dim" and value is None and config.get("num_attention_heads"):
        return config["hidden_size"] // config["num_attention_heads"]
    return "silu" if value == "swish" else value


def is_dir(path: Path) -> bool:
    return _looks(path, Path.is_dir)


def is_file(path: Path) -> bool:
    return _looks(path, Path.is_file)


def _looks(path: Path, question: Callable[[Path], bool]) -> bool:
    """Names of others may be too long for a path, or hold what no path can."""
    try:
        return question(path)
    except (OSError, ValueError):
        return False


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
