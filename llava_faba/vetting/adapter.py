"""adapter_config.json: a LoRA adapter, in the words of every release of PEFT, and the tensors that it must have.

PEFT reads far more from this file than LoRA needs: other methods that load tokenizers, modules named by the file, other
ways of initialising that change the base model. What is handed to PEFT is made here, of LoRA's own settings alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import (
    Check,
    Dropped,
    Table,
    checked,
    dict_of,
    dropped,
    dropped_if,
    either,
    flag,
    list_of,
    name,
    number,
    one_of,
    optional,
    path_or_name,
    shown,
    text,
    whole,
)

Shape = tuple[int, ...]
_PREFIX = "base_model.model."
_NOT_IN_A_PATTERN = re.compile(r"[^\w.|()\\*$^]")
_NAMES = list_of(name, most=2000)


def _pattern(value: Any) -> str:
    """A regular expression of names, choices and ``.*``: others can take for ever to match."""
    good = isinstance(value, str) and 0 < len(value) <= 4000 and not _NOT_IN_A_PATTERN.search(value)
    if not good or value.count("*") > 2 or value.count(".*") != value.count("*"):
        raise ValueError("names, or a simple pattern of names, '|' and at most two '.*'")
    try:
        re.compile(value)
    except re.error:
        raise ValueError("a pattern that compiles") from None
    return str(value)


def _null_or_dropped(value: Any) -> None:
    if value is not None:
        raise Dropped


def _layer_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.]{1,200}", value):
        raise ValueError("a module's name")
    return value


def _nothing(value: Any) -> Any:
    if value not in (None, False, "", 0) and value != {} and value != []:
        raise ValueError("at its default: llava-faba reads plain LoRA")
    return value


# What every adapter may say.
_LORA: dict[str, Check] = {
    "base_model_name_or_path": optional(path_or_name),
    "bias": one_of("none", "all", "lora_only"),
    "fan_in_fan_out": one_of(None, False),
    "inference_mode": flag,
    "layers_pattern": optional(either(_layer_name, list_of(_layer_name, most=16))),
    "layers_to_transform": optional(either(whole(0, 1023), list_of(whole(0, 1023), most=1024))),
    "lora_alpha": number(0, 1e6),
    "lora_dropout": number(0, 1),
    "modules_to_save": optional(_NAMES),
    "peft_type": one_of("LORA"),
    "r": whole(1, 1 << 14),
    "target_modules": either(_NAMES, _pattern),
    "task_type": optional(one_of("CAUSAL_LM", "FEATURE_EXTRACTION", "QUESTION_ANS", "SEQ_CLS", "TOKEN_CLS")),
    # How adapters that are not there yet are drawn; all of ours come from the file. The ways not named here change
    # the base model's weights as well.
    "init_lora_weights": one_of(True, False, None, "gaussian", "orthogonal", "mica"),
}
# What releases since have added and change what an adapter computes: handed on where the installed one knows it.
_LATER: dict[str, Check] = {
    "alpha_pattern": optional(dict_of(_layer_name, number(0, 1e6), most=2000)),
    "rank_pattern": optional(dict_of(_layer_name, whole(1, 1 << 14), most=2000)),
    "exclude_modules": optional(either(_NAMES, _pattern)),
    "lora_bias": flag,
    "use_dora": flag,
    "use_rslora": flag,
}
# Of no effect at these values, which are the defaults; anything else is refused by name.
_DEFAULTS: dict[str, Check] = {
    "auto_mapping": _null_or_dropped,  # names a class and a module of the base model; never followed
    "peft_version": dropped,
    "revision": optional(text(100)),  # of the base model on the hub
    "megatron_config": one_of(None),
    "megatron_core": one_of("megatron.core", None),
    "loftq_config": _nothing,
    "qalora_group_size": dropped,  # of use_qalora, which is refused
    "ensure_weight_tying": dropped_if(one_of(False, None)),
    "runtime_config": dropped_if(either(_nothing, dict_of(text(), one_of(False)))),
}
_TABLE: Table = {**_LORA, **_LATER, **_DEFAULTS}
_NOT_FOR_PEFT = ("base_model_name_or_path", "init_lora_weights", "fan_in_fan_out")
_AT_DEFAULT: dict[str, Any] = {"alpha_pattern": {}, "rank_pattern": {}}


def adapter_config(values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """adapter_config.json with LoRA's settings alone.

    Raises CheckpointError for other methods, and for a setting that is not at its default and is none of LoRA's or
    none that is read here, by its name.
    """
    kind = values.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{where}: peft_type is {shown(kind)}; llava-faba reads LoRA adapters ('LORA') alone.")
    for key in sorted(values.keys() - _TABLE.keys()):
        try:
            _nothing(values[key])
        except ValueError:
            raise CheckpointError(
                f"{where}: {key} is {shown(values[key])}, which this version of llava-faba does not know. It may "
                "change what the adapter computes, so it is not left out silently; remove the key if you know that "
                "it is at its default."
            ) from None
    kept = checked({key: value for key, value in values.items() if key in _TABLE}, _TABLE, where)
    missing = [key for key in ("r", "lora_alpha", "target_modules") if not kept.get(key)]
    if missing:
        raise CheckpointError(f"{where}: {', '.join(missing)} missing or empty; the file is not whole, copy it again.")
    return kept


def for_installed_peft(adapter: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """What PEFT gets to read. Raises CheckpointError, naming the key, for what the installed release cannot do."""
    import dataclasses

    import peft

    known = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    used = {
        key: value
        for key, value in adapter.items()
        if (key in _LORA and key not in _NOT_FOR_PEFT)
        or (key in _LATER and value not in (None, False) and value != _AT_DEFAULT.get(key))
    }
    unknown = sorted(used.keys() - known)
    if unknown:
        raise CheckpointError(
            f"{where}: {', '.join(unknown)} is set, which the installed peft {peft.__version__} does not know; install "
            "a newer one."
        )
    return {**used, "inference_mode": True}


def check_tensors(
    adapter: Mapping[str, Any],
    found: Mapping[str, Shape],
    layers: Mapping[str, Shape],
    others: Iterable[str],
    where: Path,
) -> None:
    """See that an adapter's file holds the tensors that its config asks for, and no others.

    ``found``: names and shapes in the file; ``layers``: the language model's linear layers, (out, in) each;
    ``others``: names of further modules that an adapter may hold weights of (projectors, the vision tower).
    Raises CheckpointError that names what is missing, too many or of another shape.
    """
    targets = {layer for layer in layers if _is_target(adapter, layer)}
    if not targets:
        raise CheckpointError(
            f"{where}: target_modules {shown(adapter['target_modules'])} of the adapter's config name no layer of this "
            "model; it is not this base's adapter."
        )
    wanted: dict[str, Shape] = {}
    for layer in targets:
        wanted.update(_tensors_of(adapter, layer, layers[layer]))
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(key for key in found.keys() - wanted.keys() if not _may_be_there(adapter, key, layers, others))
    wrong = [
        f"{key} is {found[key]}, not {wanted[key]}"
        for key in sorted(wanted)
        if found.get(key, wanted[key]) != wanted[key]
    ]
    for saved in adapter.get("modules_to_save") or ():
        if not any(f".{saved}." in key for key in found):
            missing.append(f"{_PREFIX}*.{saved}.* (modules_to_save)")
    problems = [
        _some("missing", missing),
        _some("not this adapter's", extra),
        _some("of another shape (r, or another base)", wrong),
    ]
    told = "; ".join(problem for problem in problems if problem)
    if told:
        raise CheckpointError(
            f"{where}: the adapter's tensors are not those that its config and base ask for: {told}. Copy the file "
            "again from where it was trained."
        )


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {what}: {', '.join(one[:200] for one in names[:3])}{more}"


def _tensors_of(adapter: Mapping[str, Any], layer: str, shape: Shape) -> dict[str, Shape]:
    rank = _ranked(adapter.get("rank_pattern"), layer, adapter["r"])
    rows, columns = shape
    if layer.endswith("embed_tokens"):
        return {
            f"{_PREFIX}{layer}.lora_embedding_A": (rank, rows),
            f"{_PREFIX}{layer}.lora_embedding_B": (columns, rank),
        }
    tensors: dict[str, Shape] = {
        f"{_PREFIX}{layer}.lora_A.weight": (rank, columns),
        f"{_PREFIX}{layer}.lora_B.weight": (rows, rank),
    }
    if adapter.get("lora_bias"):
        tensors[f"{_PREFIX}{layer}.lora_B.bias"] = (rows,)
    if adapter.get("use_dora"):
        tensors[f"{_PREFIX}{layer}.lora_magnitude_vector"] = (rows,)
    return tensors


def _ranked(pattern: Mapping[str, int] | None, layer: str, default: int) -> int:
    for key, value in (pattern or {}).items():
        if layer == key or layer.endswith(f".{key}"):
            return value
    return default


def _is_target(adapter: Mapping[str, Any], layer: str) -> bool:
    if _is_named(adapter.get("exclude_modules"), layer, on_nothing=False):
        return False
    targets = adapter["target_modules"]
    if targets == "all-linear":
        return layer not in ("lm_head", "model.embed_tokens")
    if not _is_named(targets, layer, on_nothing=False):
        return False
    chosen = adapter.get("layers_to_transform")
    if chosen is None or isinstance(targets, str):
        return True
    number_of = re.search(r"\.layers\.(\d+)\.", f".{layer}")
    return number_of is not None and int(number_of.group(1)) in ([chosen] if isinstance(chosen, int) else chosen)


def _is_named(targets: Any, layer: str, *, on_nothing: bool) -> bool:
    if not targets:
        return on_nothing
    if isinstance(targets, str):
        return re.fullmatch(targets, layer) is not None
    return any(layer == target or layer.endswith(f".{target}") for target in targets)


def _may_be_there(adapter: Mapping[str, Any], key: str, layers: Mapping[str, Shape], others: Iterable[str]) -> bool:
    """Weights of saved modules, biases where they were trained, and adapters of what is beside the language model."""
    if not key.startswith(_PREFIX):
        return False
    name_in_model = key.removeprefix(_PREFIX)
    if any(f".{saved}." in f".{name_in_model}" for saved in adapter.get("modules_to_save") or ()):
        return True
    if adapter.get("bias", "none") != "none" and name_in_model.endswith(".bias"):
        return True
    return any(f".{other}." in f".{name_in_model}" for other in others)
