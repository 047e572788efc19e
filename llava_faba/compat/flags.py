"""Command lines of LLaVA's training scripts, for a transformers that has renamed or dropped some of their flags."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

from llava_faba.compat.engine import replaced
from llava_faba.errors import UserError

_TRUE = ("true", "1", "yes", "y", "t")
_RENAMED = {"evaluation_strategy": "eval_strategy", "no_cuda": "use_cpu"}
# What the Trainer had no use for.
_DROPPED = ("overwrite_output_dir",)


def translate_flags(original: Callable[..., None]) -> Callable[..., None]:
    """``train()`` reads ``sys.argv`` with the fields of ``transformers.TrainingArguments``.

    transformers 5 has dropped --warmup_ratio (--warmup_steps takes a share), --evaluation_strategy (--eval_strategy),
    --no_cuda (--use_cpu), --group_by_length (--train_sampling_strategy), --logging_dir (an environment variable) and
    --save_safetensors (always so). Without --use_cpu it also takes a machine without a GPU for one that has one: bf16
    is refused, and of two DeepSpeed processes each is told that it is alone.
    """
    import transformers

    known = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    if {"warmup_ratio", "evaluation_strategy", "no_cuda"} <= known:
        return original

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> None:
        arguments = translate(sys.argv[1:], known)
        if only_cpu() and not any(flag in ("use_cpu", "no_cuda") for flag, _ in _pairs(arguments)):
            arguments += ["--use_cpu", "True"]
        with replaced(sys, "argv", [sys.argv[0], *arguments]):
            original(*args, **kwargs)

    return train


def translate(argv: Sequence[str], known: Collection[str]) -> list[str]:
    """``argv`` with the flags that are not among the ``known`` names put in today's words.

    Raises UserError for a value that has no equivalent. Sets TENSORBOARD_LOGGING_DIR for --logging_dir.
    """
    pairs = _pairs(argv)
    given = dict(pairs)
    translated: list[str] = []
    for flag, values in pairs:
        if flag is not None and flag not in known:
            translated += _translated(flag, values, given)
        elif flag == "warmup_steps" and values == ["0"] and "warmup_ratio" in given and "warmup_ratio" not in known:
            continue  # the ratio, which takes its place, is said once
        else:
            translated += [f"--{flag}", *values] if flag is not None else values
    return translated


def _pairs(argv: Sequence[str]) -> list[tuple[str | None, list[str]]]:
    """Flags (without their dashes) with their values; None stands for what comes before the first flag."""
    pairs: list[tuple[str | None, list[str]]] = []
    for argument in argv:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            pairs.append((name, [value] if equals else []))
        elif pairs:
            pairs[-1][1].append(argument)
        else:
            pairs.append((None, [argument]))
    return pairs


def _translated(flag: str, values: list[str], given: dict[str | None, list[str]]) -> list[str]:
    on = not values or values[0].lower() in _TRUE
    if flag in _RENAMED:
        return [f"--{_RENAMED[flag]}", *values]
    if flag == "warmup_ratio":
        return _warmup(values, given.get("warmup_steps", ["0"]))
    if flag == "group_by_length":
        return ["--train_sampling_strategy", "group_by_length"] if on else []
    if flag == "logging_dir":
        os.environ["TENSORBOARD_LOGGING_DIR"] = "".join(values)
        return []
    if flag == "save_safetensors":
        if not on:
            raise UserError(
                "--save_safetensors False: the installed transformers writes safetensors only; leave it out."
            )
        return []
    return [] if flag in _DROPPED else [f"--{flag}", *values]


def _warmup(ratio: list[str], steps: list[str]) -> list[str]:
    """Steps win over a ratio, as they always have."""
    if steps != ["0"]:
        return []
    try:
        share = float("".join(ratio))
    except ValueError:
        raise UserError(f"--warmup_ratio {' '.join(ratio)}: give a number from 0 to 1.") from None
    if not 0 <= share < 1:
        raise UserError(f"--warmup_ratio {share:g}: give a number from 0 to 1 (1 itself cannot be said any more).")
    return ["--warmup_steps", str(share)]


def only_cpu() -> bool:
    """Whether this machine has no GPU or other device that transformers would train on."""
    import torch

    others = (getattr(torch, name, None) for name in ("xpu", "npu", "mlu", "musa"))
    return not (
        torch.cuda.is_available()
        or torch.backends.mps.is_available()
        or any(other is not None and other.is_available() for other in others)
    )
