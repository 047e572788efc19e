"""Seeing it train: greedy answers to a small evaluation set every few steps, scored as FABA-Bench scores them.

Every process answers its share and scores all answers, so that all come to the same decision about the best
checkpoint, whose weights they must gather together under ZeRO-3.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faba_bench.files.atomic import write_text

from llava_faba.data.priors import NumpyPriors, PriorSource, StoredPriors
from llava_faba.errors import PriorError, RecordError, UserError
from llava_faba.model.config import has_prior, prior_size
from llava_faba.priors.store import PriorStore
from llava_faba.training.pausing import gathered, undisturbed
from llava_faba.training.template import training_template

BEST_FOLDER = "best-rege"
ANSWERS_FOLDER = "faba_eval"
# Of the scorer's two modes the one in which an answer that cannot be read counts as wrong.
BEST_KEY = "eval_strict_rege"


class FabaEvaluation:
    """An evaluation set, and what a model in training answers to it.

    ``args``: LLaVA's TrainingArguments with the flags ``--faba_eval_*``; ``data_args``: its DataArguments.

    Raises RecordError, UserError or PriorError at construction for annotations, images or priors that would only fail
    after hours of training.
    """

    def __init__(self, args: Any, data_args: Any, config: Any, tokenizer: Any) -> None:
        from faba_bench import BenchError, load_protocol

        from llava_faba.records.questions import questions_of
        from llava_faba.records.training import read_records

        self.args, self.data_args, self.tokenizer = args, data_args, tokenizer
        self.records = read_records(args.faba_eval_annotations)
        self.questions = questions_of(self.records, args.faba_eval_task)
        self.folder = Path(args.faba_eval_image_folder or data_args.image_folder or ".")
        try:
            load_protocol(args.faba_eval_protocol).require(args.faba_eval_task)
        except BenchError as error:
            raise UserError(f"--faba_eval_protocol: {error}") from error
        self._check_images()
        self.score([{**question, "text": ""} for question in self.questions])  # annotations that cannot be scored
        self.priors = self._load_priors(config)

    def run(self, model: Any, step: int) -> dict[str, float]:
        """Answer and score; every process must call it at the same step. Leaves no trace in the model's state.

        Returns the scores in percent under ``eval_MODE_s_re``, ``_s_ge`` and ``_rege``.
        """
        with undisturbed(model):
            answers = gathered(self._answer_share(model))
        ordered = [{**question, "text": answers[index]} for index, question in enumerate(self.questions)]
        result = self.score(ordered)
        if self.args.should_save:
            path = Path(self.args.output_dir) / ANSWERS_FOLDER / f"step-{step}.jsonl"
            write_text(path, "".join(json.dumps(answer) + "\n" for answer in ordered))
        scores = {
            f"eval_{mode}_{name}": float(body[f"s_{key}"])
            for mode, body in result["modes"].items()
            for name, key in (("s_re", "re"), ("s_ge", "ge"), ("rege", "rege"))
            if body[f"s_{key}"] is not None
        }
        return {**scores, "eval_unreadable": float(result["modes"]["strict"]["n_unparsed"])}

    def score(self, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """``faba_bench.score`` of all answers. Raises UserError for annotations that it refuses."""
        import faba_bench

        arguments = self.args.faba_eval_task, self.args.faba_eval_protocol, self.records, answers
        try:
            return faba_bench.score(*arguments, bootstrap=0)
        except faba_bench.BenchError as error:
            raise UserError(f"--faba_eval_annotations {self.args.faba_eval_annotations}: {error}") from error

    def _check_images(self) -> None:
        lost = [record["image"] for record in self.records if not (self.folder / record["image"]).is_file()]
        if lost:
            raise RecordError(
                f"{self.args.faba_eval_annotations}: {len(lost)} images are not in {self.folder}, {lost[0]} for one; "
                "pass --faba_eval_image_folder."
            )

    def _load_priors(self, config: Any) -> torch.Tensor | None:
        if not has_prior(config):
            return None
        store = self.args.faba_eval_store or self.data_args.facial_prior_store
        source: PriorSource = StoredPriors(PriorStore.open(store)) if store else NumpyPriors(self.folder, self.records)
        rows = []
        for question, record in zip(self.questions, self.records, strict=True):
            name = f"{self.args.faba_eval_annotations}, question {question['question_id']}"
            prior = source.get(record)
            if prior is None:
                raise PriorError(
                    f"{name}: no facial prior: name its .npy file under 'landmark', or pass --faba_eval_store (made by "
                    "'llava-faba priors extract')."
                )
            if prior.size != prior_size(config):
                raise PriorError(f"{name}: its prior has {prior.size} numbers, the model needs {prior_size(config)}.")
            rows.append(prior)
        return torch.from_numpy(np.stack(rows))

    def _answer_share(self, model: Any) -> dict[int, str]:
        """This process's answers.

        Under ZeRO-3 all must make the same calls, and LLaVA embeds the text row by row: shares are filled up to one
        length, so that batches have as many rows everywhere.
        """
        world, size = self.args.world_size, self.args.per_device_eval_batch_size
        share = list(range(self.args.process_index, len(self.questions), world))
        filled = share + (share or [0])[-1:] * (math.ceil(len(self.questions) / world) - len(share))
        answers: dict[int, str] = {}
        for start in range(0, len(filled), size):
            batch = filled[start : start + size]
            answers.update(zip(batch, self._answer(model, batch), strict=True))
        return {index: answers[index] for index in share}

    def _answer(self, model: Any, batch: list[int]) -> list[str]:
        from llava.mm_utils import process_images

        from llava_faba.images import open_image
        from llava_faba.inference.answer import answer_batch, to_model

        pictures = [open_image(self.folder / self.questions[index]["image"]) for index in batch]
        images = process_images(pictures, self.data_args.image_processor, model.config)
        return answer_batch(
            (self.tokenizer, model, None, 0),
            to_model(images, model),
            [self.questions[index]["text"] for index in batch],
            None if self.priors is None else self.priors[batch],
            image_sizes=[picture.size for picture in pictures],
            conversation=training_template(),
            max_new_tokens=self.args.faba_eval_max_new_tokens,
        )
