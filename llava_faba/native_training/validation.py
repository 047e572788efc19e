"""Seeing it train: greedy answers to an evaluation set, scored as FABA-Bench scores them.

Every process answers its share, and all shares are as long, for under ZeRO-3 all must make the same calls.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faba_bench.files.atomic import write_json
from transformers import TrainerCallback

from llava_faba.errors import PriorError, RecordError, UserError
from llava_faba.images import ImageFolder, open_image
from llava_faba.native_training.config import TrainSettings, ValidationSettings
from llava_faba.native_training.data import priors_of
from llava_faba.records.questions import questions_of
from llava_faba.records.training import read_records
from llava_faba.training.pausing import gathered, undisturbed

FOLDER = "faba_eval"


class Validation(TrainerCallback):
    """An evaluation set, and what a model in training answers to it: every ``steps``, and at the end.

    Raises UserError, RecordError or PriorError at construction for what would only fail after hours of training.
    """

    def __init__(self, settings: TrainSettings, chosen: ValidationSettings, processor: Any) -> None:
        from faba_bench import BenchError, load_protocol

        self.chosen, self.processor, self.out = chosen, processor, Path(settings.out)
        self.records = read_records(chosen.records)
        self.folder = Path(chosen.image_folder or settings.image_folder)
        try:
            load_protocol(chosen.protocol).require(chosen.task)
        except BenchError as error:
            raise UserError(f"validation.protocol: {error}") from error
        self.questions = questions_of(self.records, chosen.task)
        images = ImageFolder(self.folder, allow_outside=settings.allow_outside)
        for record in self.records:
            images.check(record["image"])
        self.score([{**question, "text": ""} for question in self.questions])  # annotations that cannot be scored
        source = priors_of(chosen.priors or settings.priors, self.folder, self.records, settings.allow_outside)
        rows = [source.get(record) for record in self.records]
        for question, row in zip(self.questions, rows, strict=True):
            if row is None or row.size != processor.prior_size:
                what = "no facial prior" if row is None else f"a prior of {row.size} numbers"
                raise PriorError(
                    f"{chosen.records}, question {question['question_id']}: {what}; the model takes "
                    f"{processor.prior_size}: name a store under validation.priors."
                )
        self.priors = np.stack([row for row in rows if row is not None])
        self.last: dict[str, Any] | None = None

    def score(self, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """``faba_bench.score`` of all answers. Raises UserError for annotations that it refuses."""
        import faba_bench

        chosen = self.chosen
        try:
            return faba_bench.score(chosen.task, chosen.protocol, self.records, answers, bootstrap=0)
        except faba_bench.BenchError as error:
            raise UserError(f"validation.records {chosen.records}: {error}") from error

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        steps = self.chosen.steps
        if steps and state.global_step % steps == 0 and state.global_step < state.max_steps:
            state.log_history.append({"step": state.global_step, **self.run(model, state.global_step)})

    def run(self, model: Any, step: int) -> dict[str, float]:
        """Answer and score; every process must call it at the same step. Leaves no trace in the model's state.

        Returns the scores in percent under ``eval_MODE_s_re``, ``_s_ge`` and ``_rege``.
        """
        with undisturbed(model):
            answers = gathered(self._share(model))
        ordered = [{**question, "text": answers[index]} for index, question in enumerate(self.questions)]
        result = self.score(ordered)
        scores = {
            f"eval_{mode}_{name}": float(body[f"s_{key}"])
            for mode, body in result["modes"].items()
            for name, key in (("s_re", "re"), ("s_ge", "ge"), ("rege", "rege"))
            if body[f"s_{key}"] is not None
        }
        scores["eval_unreadable"] = float(result["modes"]["strict"]["n_unparsed"])
        if _rank() == 0:
            folder = self.out / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(answer) + "\n" for answer in ordered)
            (folder / f"step-{step}.jsonl").write_text(text, encoding="utf-8")
            write_json(folder / f"step-{step}.json", scores)
            shown = ", ".join(f"{name} {value:.1f}" for name, value in scores.items())
            print(f"step {step}: {len(ordered)} answers: {shown}", flush=True)
        self.last = scores
        return scores

    def _share(self, model: Any) -> dict[int, str]:
        world, total = _world(), len(self.questions)
        share = list(range(_rank(), total, world))
        filled = share + (share or [0])[-1:] * (math.ceil(total / world) - len(share))
        found = {}
        for index in filled:
            found[index] = self._answer(model, index)
        return {index: found[index] for index in share}

    def _answer(self, model: Any, index: int) -> str:
        question = self.questions[index]
        content = [{"type": "image"}, {"type": "text", "text": question["text"]}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        first = self.processor.tokenizer.bos_token
        inputs = self.processor(
            images=[[open_image(self.folder / question["image"], error=RecordError)]],
            text=[prompt],
            facial_priors=self.priors[index : index + 1],
            return_tensors="pt",
            add_special_tokens=not (first and prompt.startswith(first)),
        ).to(model.device, model.dtype)
        with torch.no_grad():
            made = model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=self.chosen.max_new_tokens,
                synced_gpus=_world() > 1,
            )
        new = made[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(new, skip_special_tokens=True)).strip()


def _rank() -> int:
    return torch.distributed.get_rank() if _is_shared() else 0


def _world() -> int:
    return torch.distributed.get_world_size() if _is_shared() else 1


def _is_shared() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
