"""A loaded model that answers batches of questions about image files, and says of each what went wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llava.mm_utils import process_images

from llava_faba.emola.online import priors_of_pictures
from llava_faba.errors import UserError
from llava_faba.images import open_image
from llava_faba.inference.answer import generate_batch, prompt_ids, texts, to_model
from llava_faba.inference.conversations import choose_template
from llava_faba.inference.engines.base import BatchEngine, Question, Result, Statuses, failed
from llava_faba.inference.engines.stores import check_store
from llava_faba.inference.llava_reader import LlavaReader, check_can_score
from llava_faba.inference.settings import GenerateSettings
from llava_faba.inference.streaming import Stream, Waiting, can_stream
from llava_faba.model.config import has_prior
from llava_faba.priors.store import PriorStore

__all__ = ["Answerer", "Prepared", "Question", "Result", "check_store"]


@dataclass(frozen=True)
class Prepared(Statuses):
    """Questions whose images were read: as LLaVA's ``process_images`` leaves them, float32, on the CPU."""

    questions: list[Question]
    images: Any
    sizes: list[tuple[int, int]]
    priors: torch.Tensor | None
    statuses: list[str | None]


class Answerer(BatchEngine[Prepared]):
    """The model in one process.

    Raises UserError for a checkpoint or store that cannot be used, an expert that cannot make priors, and an unknown
    conversation template.
    """

    # Not the default: measured slower on a busy two-core machine, for a reason that is not known yet (decision 12).
    streams = False

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
            computed = priors_of_pictures(self.model.facial_prior_expert(), pictures)
            priors, statuses = torch.from_numpy(computed.features), [status.value for status in computed.statuses]
        return Prepared(list(questions), images, sizes, priors, statuses)

    def decode(
        self, prepared: Prepared, *, with_logits: bool = False, seeds: Sequence[int] | None = None
    ) -> tuple[list[Any], list[torch.Tensor] | None]:
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
            seeds=seeds,
        )

    def reader(self, prepared: Prepared) -> LlavaReader:
        name = self.settings.conversation or choose_template(self.model.config, None).name
        check_can_score(name)
        return LlavaReader(self.loaded, name, prepared.images, prepared.sizes, prepared.priors)

    def answer_all(self, batches: Iterator[list[Question]]) -> Iterator[Result]:
        """As ``BatchEngine``'s, but a finished answer makes room for the next question, where the model allows it."""
        more = self.settings.samples or self.settings.label_scores is not None
        if not self.streams or more or not can_stream(self.model):
            yield from super().answer_all(batches)
            return
        settings = self.settings
        stream = Stream(self.loaded, settings.conversation, settings.max_new_tokens, settings.batch_size)
        queue: deque[Waiting] = deque()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._next_ready, batches)
            while (found := coming.result()) is not None:
                coming = pool.submit(self._next_ready, batches)
                ready, failures = found
                yield from failures
                queue.extend(ready)
                yield from self._guarded(stream, lambda: stream.run(queue))
        while stream.rows or queue:
            yield from self._guarded(stream, lambda: stream.run(queue) if queue else stream.finish())

    def _next_ready(self, batches: Iterator[list[Question]]) -> tuple[list[Waiting], list[Result]] | None:
        """The next batch's questions with their pictures, and the results of those that have none; None at the end."""
        batch = next(batches, None)
        if batch is None:
            return None
        try:
            return _ready(self.prepare(batch)), []
        except Exception:  # one bad image: the others must not suffer
            ready, failures = [], []
            for question in batch:
                try:
                    ready += _ready(self.prepare([question]))
                except Exception as error:
                    failures.append(failed(question, error))
            return ready, failures

    def _guarded(self, stream: Stream, decode: Callable[[], Iterator[Result]]) -> Iterator[Result]:
        try:
            yield from decode()
        except Exception as error:  # too little memory, say: each of its rows alone
            rows = stream.given_up()
            if not rows:
                raise
            if len(rows) == 1:
                yield failed(rows[0], error)
            else:
                for question in rows:
                    yield from self._alone(question)

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return texts(rows, self.loaded[0])


def _ready(prepared: Prepared) -> list[Waiting]:
    priors = [None] * len(prepared.questions) if prepared.priors is None else list(prepared.priors)
    rows = zip(prepared.questions, prepared.images, prepared.sizes, priors, prepared.statuses, strict=True)
    return [Waiting(*row) for row in rows]
