"""FABA-Bench as lmms-eval tasks: its records as documents, and its scores by ``faba_bench`` itself.

FABA_BENCH_DATA names the folder that the images' paths are relative to; the annotations are eval_au_anno.json and
eval_emotion_anno.json in it, or what FABA_BENCH_AU and FABA_BENCH_EMOTION name. FABA_BENCH_PROTOCOL: another protocol
than ``faba``. The FABA images are licensed, so nothing is downloaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faba_bench.questions import QUESTIONS

_METRICS = ("s_re", "s_ge", "s_rege")
_MODES = ("reference", "strict")


def au_docs(placeholder: Any) -> Any:
    """The AU records as a dataset (lmms-eval's ``process_docs``; the placeholder of the YAML file is dropped)."""
    return _docs("au")


def emotion_docs(placeholder: Any) -> Any:
    """The emotion records as a dataset."""
    return _docs("emotion")


def image(doc: dict[str, Any]) -> list[Any]:
    """The document's picture."""
    from PIL import Image

    with Image.open(_folder() / doc["image"]) as picture:
        return [picture.convert("RGB")]


def prompt(doc: dict[str, Any], lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The paper's question, between what a model's entry in the YAML file asks for."""
    around = lmms_eval_specific_kwargs or {}
    return f"{around.get('pre_prompt', '')}{QUESTIONS[doc['task']]}{around.get('post_prompt', '')}"


def results(doc: dict[str, Any], responses: Sequence[str]) -> dict[str, Any]:
    """What the aggregations need of one sample, under the name of each metric."""
    sample = {"task": doc["task"], "record": doc["record"], "text": responses[0]}
    return {f"{metric}_{mode}": sample for mode in _MODES for metric in _METRICS}


def _score(metric: str, mode: str) -> Callable[[list[dict[str, Any]]], float]:
    def aggregate(samples: list[dict[str, Any]]) -> float:
        try:
            import faba_bench
        except ModuleNotFoundError as error:
            raise ImportError(
                "these tasks are scored by faba_bench: install llava-faba (its wheel needs no torch), or put the "
                "eval/ folder of a clone on PYTHONPATH."
            ) from error
        records = [json.loads(sample["record"]) for sample in samples]
        answers = [
            {"question_id": record["id"], "text": sample["text"]}
            for record, sample in zip(records, samples, strict=True)
        ]
        protocol = os.environ.get("FABA_BENCH_PROTOCOL", "faba")
        value = faba_bench.score(samples[0]["task"], protocol, records, answers, bootstrap=0)["modes"][mode][metric]
        return float("nan") if value is None else float(value)

    return aggregate


# lmms-eval's YAML files can name functions but not call them.
s_re_reference = _score("s_re", "reference")
s_ge_reference = _score("s_ge", "reference")
s_rege_reference = _score("s_rege", "reference")
s_re_strict = _score("s_re", "strict")
s_ge_strict = _score("s_ge", "strict")
s_rege_strict = _score("s_rege", "strict")


def _docs(task: str) -> Any:
    from datasets import Dataset

    path = Path(os.environ.get(f"FABA_BENCH_{task.upper()}") or _folder() / f"eval_{task}_anno.json")
    records = json.loads(path.read_text(encoding="utf-8"))
    # Labels and ids are numbers in some files and text in others; a dataset's column is one of them, so: as JSON.
    return Dataset.from_list(
        [
            {"task": task, "image": record["image"], "record": json.dumps({"id": position, **record})}
            for position, record in enumerate(records)
        ]
    )


def _folder() -> Path:
    folder = os.environ.get("FABA_BENCH_DATA")
    if not folder:
        raise ValueError("set FABA_BENCH_DATA to the folder of FABA-Bench's images and annotations")
    return Path(folder)
