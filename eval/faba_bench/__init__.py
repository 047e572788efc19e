"""FABA-Bench: scores facial affective behaviour answers, from any model, without torch.

    import faba_bench
    result = faba_bench.score("au", "faba", "eval.json", "answers.jsonl")

Names are loaded on first use, so that ``import faba_bench`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faba_bench.bootstrap import paired_bootstrap
    from faba_bench.errors import BenchError, InputProblems, ProtocolError, ResultError
    from faba_bench.protocol import load_protocol, protocol_names
    from faba_bench.reference.rouge import rouge_l_reference
    from faba_bench.result import load_result, write_result
    from faba_bench.scoring import score

_WHERE = {
    "score": "scoring",
    "paired_bootstrap": "bootstrap",
    "rouge_l_reference": "reference.rouge",
    "load_protocol": "protocol",
    "protocol_names": "protocol",
    "load_result": "result",
    "write_result": "result",
    "BenchError": "errors",
    "InputProblems": "errors",
    "ProtocolError": "errors",
    "ResultError": "errors",
}

__all__ = [
    "BenchError",
    "InputProblems",
    "ProtocolError",
    "ResultError",
    "load_protocol",
    "load_result",
    "paired_bootstrap",
    "protocol_names",
    "rouge_l_reference",
    "score",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(f"faba_bench.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'faba_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
