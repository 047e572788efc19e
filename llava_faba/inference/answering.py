"""A loaded model that answers batches of questions about image files, and says of each what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llava.mm_utils import process_images

from llava_faba.errors import PriorError, UserError
from llava_faba.images import open_image
from llava_faba.inference.answer import generate_batch, prompt_ids, to_model
from llava_faba.inference.settings import GenerateSettings
from llava_faba.model.config import expert_name, has_prior, prior_size
from llava_faba.priors.store import PriorStore
from llava_faba.priors.writer import comparable_settings

Question = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One question's answer, or the reason why it has none (``error``, with its traceback where it is no UserError)."""

    question_id: str
    text: str = ""
    token_ids: tuple[int, ...] = ()
    error: str | None = None
    trace: str = ""
    is_cut: bool = False
    prior_status: str | None = None


@dataclass(frozen=True)
class Prepared:
    """Questions whose images were read: as LLaVA's ``process_images`` leaves them, float32, on the CPU."""

    questions: list[Question]
    images: Any
    sizes: list[tuple[int, int]]
    priors: torch.Tensor | None
    statuses: list[str | None]


class Answerer:
    """The model in one process.

    Raises UserError for a checkpoint or store that cannot be used, an expert that cannot make priors, and an unknown
    conversation template.
    """

    def __init__(
        self,
        model_path: str,
        model_base: str | None,
        image_folder: str | Path,
        settings: GenerateSettings,
        gpu: int = 0,
    ) -> None:
        from llava_faba.compat.half import check_can_compute
        from llava_faba.model.loading import load_model

        self.settings, self.folder = settings, Path(image_folder)
        if settings.device == "cuda" and torch.cuda.device_count() <= gpu:
            raise UserError(
                f"worker {gpu + 1} needs a GPU of its own, but this machine shows {torch.cuda.device_count()}; pass a "
                "smaller --workers, or --device cpu."
            )
        device = f"cuda:{gpu}" if settings.device == "cuda" else settings.device
        check_can_compute(settings.dtype, device)
        self.loaded = load_model(model_path, model_base, device=device, dtype=getattr(torch, settings.dtype))
        self.model = self.loaded[1]
        prompt_ids("", self.loaded[0], self.model.config, settings.conversation)  # an unknown template is told at once
        self.store: PriorStore | None = None
        if has_prior(self.model.config):
            if settings.store is None:
                self.model.facial_prior_expert()
            else:
                self.store = PriorStore.open(settings.store)
                check_store(self.store, self.model.config)

    def answer_all(self, batches: Iterator[list[Question]]) -> Iterator[Result]:
        """Answers to batch after batch; while one is decoded, the images of the next are prepared."""
        with ThreadPoolExecutor(1) as pool:
            waiting: tuple[list[Question], Future[Prepared]] | None = None
            for batch in batches:
                upcoming = (batch, pool.submit(self.prepare, batch))
                if waiting is not None:
                    yield from self._finish(*waiting)
                waiting = upcoming
            if waiting is not None:
                yield from self._finish(*waiting)

    def prepare(self, questions: Sequence[Question]) -> Prepared:
        """Read and preprocess images and get their priors. Raises UserError for the first that fails."""
        pictures = [open_image(self.folder / question["image"]) for question in questions]
        images = process_images(pictures, self.loaded[2], self.model.config)
        sizes = [picture.size for picture in pictures]
        priors = None
        statuses: list[str | None] = [None] * len(questions)
        if self.store is not None:
            priors = torch.from_numpy(np.stack([self.store.get(question["image"]) for question in questions]))
        elif has_prior(self.model.config):
            computed = self.model.compute_facial_priors(images, sizes)
            priors, statuses = torch.from_numpy(computed.features), [status.value for status in computed.statuses]
        return Prepared(list(questions), images, sizes, priors, statuses)

    def decode(self, prepared: Prepared, *, with_logits: bool = False) -> tuple[list[Any], list[torch.Tensor] | None]:
        """``generate_batch`` with these settings."""
        return generate_batch(
            self.loaded,
            to_model(prepared.images, self.model),
            [question["text"] for question in prepared.questions],
            prepared.priors,
            image_sizes=prepared.sizes,
            conversation=self.settings.conversation,
            max_new_tokens=self.settings.max_new_tokens,
            with_logits=with_logits,
        )

    def _finish(self, batch: list[Question], preparing: Future[Prepared]) -> list[Result]:
        try:
            prepared = preparing.result()
            answers, _ = self.decode(prepared)
        except Exception as error:  # one bad image, or too little memory: the others of the batch must not suffer
            if len(batch) == 1:
                return [Result(_id(batch[0]), error=_reason(error), trace=_trace(error))]
            return [result for question in batch for result in self._alone(question)]
        return [
            Result(_id(question), answer.text, tuple(answer.token_ids), prior_status=status, is_cut=answer.is_cut)
            for question, answer, status in zip(batch, answers, prepared.statuses, strict=True)
        ]

    def _alone(self, question: Question) -> list[Result]:
        future: Future[Prepared] = Future()
        try:
            future.set_result(self.prepare([question]))
        except Exception as error:
            future.set_exception(error)
        return self._finish([question], future)


def check_store(store: PriorStore, config: Any) -> None:
    """Raise PriorError when a store's priors are not those that the model was trained on."""
    if store.size != prior_size(config):
        raise PriorError(
            f"{store.path} holds priors of {store.size} numbers, but the model was trained on {prior_size(config)}."
        )
    named = expert_name(config)
    if named not in ("precomputed", store.expert):
        raise PriorError(
            f"{store.path} was made by the expert '{store.expert}', but the model was trained on priors of '{named}'; "
            f"run 'llava-faba priors extract --expert {named}'."
        )
    trained, made = getattr(config, "facial_prior_expert_settings", None) or {}, comparable_settings(store.settings)
    other = [name for name, value in comparable_settings(trained).items() if made.get(name, value) != value]
    if other and named == store.expert:
        raise PriorError(
            f"{store.path} was made with {other[0]}={made[other[0]]!r}, but the model was trained on priors with "
            f"{other[0]}={trained[other[0]]!r}; extract them with the model's settings (--set)."
        )


def _id(question: Question) -> str:
    return str(question["question_id"])


def _trace(error: Exception) -> str:
    return "" if isinstance(error, UserError) else "".join(traceback.format_exception(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
