"""The YAML file of a training: strict, typed, each mistake told with its key (docs/transformers.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError, nearest
from llava_faba.settings.typed import typed
from llava_faba.settings.yamlfile import load_yaml

FORMAT = 1
_DTYPES = ("float32", "bfloat16", "float16")
_SET_BY_US = {
    "output_dir": "out",
    "max_length": "max_length",
    "data_seed": "trainer.seed",
    "completion_only_loss": "nothing: answers alone are learnt",
    "assistant_only_loss": "nothing: answers alone are learnt",
    "packing": "nothing: records are not packed",
    "padding_free": "nothing: records are padded",
    "dataset_kwargs": "nothing",
    "remove_unused_columns": "nothing",
    "resume_from_checkpoint": "nothing: the same command resumes",
    "loss_type": "nothing: it is the model's own loss",
    "trust_remote_code": "nothing: no code of a model is run",
    "eval_strategy": "validation.steps",
    "eval_steps": "validation.steps",
}


@dataclass(frozen=True)
class LoraSettings:
    """``targets``: a regular expression of module names; default: every linear layer of the language model.
    ``modules``: what is trained whole and saved beside LoRA; "prior_projector" is always among them."""

    r: int = 128
    alpha: int = 256
    dropout: float = 0.05
    targets: str | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttachSettings:
    """A new prior for a model that has none. Expert and its settings are those of the store."""

    normalization: str = "standardize"
    projector: str = "mlp2x_gelu"


@dataclass(frozen=True)
class ValidationSettings:
    """An evaluation set. ``steps``: every so many, 0: at the end only."""

    records: str
    task: str
    protocol: str
    image_folder: str | None = None
    priors: str | None = None
    steps: int = 0
    max_new_tokens: int = 128


@dataclass(frozen=True)
class TrainSettings:
    """One training. ``model``: a folder or a hub id; ``priors``: a store, without one records name their own .npy.

    ``image_projector_rate``: learning rate of ``lora.modules`` other than the prior's projector, which trains at
    ``learning_rate``, as LoRA does; None: the same. ``trainer``: any argument of TRL's SFTConfig.
    """

    model: str
    records: str
    image_folder: str
    out: str
    priors: str | None = None
    dtype: str = "bfloat16"
    max_length: int = 2048
    learning_rate: float = 2e-4
    image_projector_rate: float | None = None
    skip_bad_records: bool = False
    allow_outside: bool = False
    compare_all: bool = False
    merge: bool = True
    trainer: dict[str, Any] = field(default_factory=dict)
    lora: LoraSettings = field(default_factory=LoraSettings)
    attach: AttachSettings | None = None
    validation: ValidationSettings | None = None


_SECTIONS: dict[str, type[Any]] = {"lora": LoraSettings, "attach": AttachSettings, "validation": ValidationSettings}
_PATHS = ("records", "image_folder", "out", "priors")


def read_settings(path: Path) -> TrainSettings:
    """The training that a file describes; paths in it are relative to its folder. Raises UserError naming the key."""
    value = load_yaml(path, error=UserError)
    try:
        settings = _settings(value)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return _placed(settings, path.resolve().parent)


def _settings(value: Any) -> TrainSettings:
    if not isinstance(value, dict) or value.get("train") != FORMAT:
        raise UserError(f"not a training: it begins with 'train: {FORMAT}' (docs/transformers.md)")
    plain = {key: entry for key, entry in value.items() if key != "train" and key not in _SECTIONS}
    for key in plain:
        if not isinstance(key, str):
            raise UserError(f"the key {key!r} is not a text")
    found = typed(TrainSettings, _without_sections(plain), "the training", error=UserError)
    for name, kind in _SECTIONS.items():
        if value.get(name) is not None:
            if not isinstance(value[name], Mapping):
                raise UserError(f"{name} is {value[name]!r}: give a mapping of settings to values")
            found = replace(found, **{name: typed(kind, value[name], name, error=UserError)})
    _check(found)
    return found


def _without_sections(plain: dict[str, Any]) -> dict[str, Any]:
    known = {*TrainSettings.__dataclass_fields__}
    for key in plain:
        if key not in known:
            raise UserError(f"no setting {key!r}: known are {', '.join(sorted(known))}.{nearest(key, known)}")
    return plain


def _check(settings: TrainSettings) -> None:
    from llava_faba.emola.normalization import METHODS

    if settings.dtype not in _DTYPES:
        raise UserError(f"dtype is '{settings.dtype}', none of {', '.join(_DTYPES)}")
    if settings.max_length < 1 or settings.lora.r < 1:
        raise UserError("max_length and lora.r are whole numbers above zero")
    if not 0 < settings.learning_rate < 1 or not 0 <= (settings.image_projector_rate or 0) < 1:
        raise UserError("learning_rate and image_projector_rate lie between 0 and 1")
    if settings.attach is not None and not set(settings.attach.normalization.split("+")) <= {*METHODS}:
        raise UserError(f"attach.normalization is '{settings.attach.normalization}', none of {', '.join(METHODS)}")
    if settings.attach is not None and settings.priors is None:
        raise UserError("attach needs 'priors', a store: its expert is the one that the model gets")
    for name in settings.trainer:
        if name in _SET_BY_US:
            raise UserError(f"trainer.{name} is not set here; what sets it: {_SET_BY_US[name]}")
        if name in ("learning_rate", "bf16", "fp16"):
            raise UserError(f"trainer.{name} is not set here; what sets it: {'dtype' if 'f' in name else name}")
    check = settings.validation
    if check is not None and (check.steps < 0 or check.max_new_tokens < 1):
        raise UserError("validation.steps is 0 or more, validation.max_new_tokens 1 or more")


def _placed(settings: TrainSettings, folder: Path) -> TrainSettings:
    def place(value: str | None) -> str | None:
        return None if value is None else str(folder / Path(value).expanduser())

    changes: dict[str, Any] = {name: place(getattr(settings, name)) for name in _PATHS}
    if (folder / Path(settings.model).expanduser()).is_dir():
        changes["model"] = place(settings.model)
    elif settings.model.startswith((".", "/", "~")):
        raise UserError(f"model: there is no folder {folder / settings.model}")
    deepspeed = settings.trainer.get("deepspeed")
    if isinstance(deepspeed, str):
        changes["trainer"] = {**settings.trainer, "deepspeed": place(deepspeed)}
    if settings.validation is not None:
        names = ("records", "image_folder", "priors")
        placed: dict[str, Any] = {name: place(getattr(settings.validation, name)) for name in names}
        changes["validation"] = replace(settings.validation, **placed)
    return replace(settings, **changes)
