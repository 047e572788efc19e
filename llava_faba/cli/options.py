"""The flags that several commands share, as parent parsers: one name, one meaning and one help everywhere.

A command takes those that it needs: ``add_parser(..., parents=[options.model(), options.device()])``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faba_bench.console.output import add_output
from faba_bench.console.parser import Parser
from faba_bench.console.processes import add_workers, whole

from llava_faba.devices import DTYPES
from llava_faba.inference.engines.kinds import NAMES

__all__ = [
    "add_output",
    "add_samples",
    "add_workers",
    "conversation",
    "device",
    "engine",
    "engine_settings",
    "model",
    "priors",
    "progress",
    "whole",
]


def _parent() -> Parser:
    return Parser(add_help=False)


def model(*, required: bool = True, base: bool = True, what: str = "checkpoint folder or hub id") -> Parser:
    """``--model-path`` and ``--model-base``."""
    parser = _parent()
    parser.add_argument("--model-path", required=required, metavar="CHECKPOINT", help=what)
    if base:
        parser.add_argument(
            "--model-base", metavar="BASE", help="base model of a LoRA folder (default: the one that it names)"
        )
    return parser


def device(*, dtype: str = "auto", placed: bool = True) -> Parser:
    """``--device`` and ``--dtype``; `placed`: the command computes, so that it has a device."""
    parser = _parent()
    if placed:
        parser.add_argument(
            "--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1 ... (default: auto)"
        )
    auto = "auto: float32 on a CPU, bfloat16 on a GPU, float16 on one older than Ampere"
    parser.add_argument(
        "--dtype", choices=("auto", *DTYPES), default=dtype, help=f"precision; {auto} (default: {dtype})"
    )
    return parser


def conversation(*, old: tuple[str, ...] = ()) -> Parser:
    """``--conv-mode``; None stands for the checkpoint's own."""
    parser = _parent()
    parser.option("--conv-mode", old=old, metavar="NAME", help="conversation template (default: the checkpoint's)")
    return parser


def decoding() -> Parser:
    """``--max-new-tokens``."""
    parser = _parent()
    parser.add_argument(
        "--max-new-tokens", type=int, default=512, metavar="N", help="longest answer, in tokens (default: 512)"
    )
    return parser


def priors(what: str, *, old: tuple[str, ...] = (), **options: Any) -> Parser:
    """``--priors``: a store."""
    parser = _parent()
    parser.option("--priors", old=old, type=Path, metavar="STORE", help=what, **options)
    return parser


def engine() -> Parser:
    """``--engine`` and what belongs to vLLM: ``--tensor-parallel-size``, ``--data-parallel-size``, ``--endpoint``."""
    parser = _parent()
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=NAMES,
        help="what computes: llava for a checkpoint of LLaVA's home; transformers or vllm for a folder that "
        "'checkpoint to-transformers' made (default: llava or transformers, whichever takes the folder)",
    )
    group.add_argument(
        "--tensor-parallel-size",
        type=whole,
        default=1,
        metavar="N",
        help="vllm: GPUs that share the model (default: 1)",
    )
    group.add_argument(
        "--data-parallel-size", type=whole, default=1, metavar="N", help="vllm: copies of the model (default: 1)"
    )
    group.add_argument(
        "--endpoint", metavar="URL", help="vllm: a server that is running (key: VLLM_API_KEY); default: one is started"
    )
    return parser


def engine_settings(args: Any) -> dict[str, Any]:
    """The values of ``engine()`` under their names in ``GenerateSettings``."""
    return {
        "engine": args.engine,
        "tensor_parallel": args.tensor_parallel_size,
        "data_parallel": args.data_parallel_size,
        "endpoint": args.endpoint,
    }


def add_samples(parser: Any, what: str) -> None:
    """``--samples N``; ``what`` it does, for the help."""
    parser.add_argument("--samples", type=whole, default=0, metavar="N", help=f"{what} (default: %(default)s)")


def progress() -> Parser:
    """``--no-progress``."""
    parser = _parent()
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    return parser
