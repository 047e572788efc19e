"""What every engine gives back, and how an engine that holds its model in its own process answers batches."""

from __future__ import annotations

import abc
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llava_faba.errors import UserError
from llava_faba.inference.label_scores import LabelQuestions, Reader, label_scores
from llava_faba.inference.sampling import seeds_of
from llava_faba.inference.settings import GenerateSettings

Question = dict[str, Any]
P = TypeVar("P", bound="Statuses")


@dataclass(frozen=True)
class Result:
    """One question's answer, or the reason why it has none (``error``, with its traceback where it is no UserError).

    ``scores``: a number in [0, 1] for each label (``label_scores``), None where none were asked for.
    ``samples``: the texts of sampled answers, as many as were asked for."""

    question_id: str
    text: str = ""
    token_ids: tuple[int, ...] = ()
    error: str | None = None
    trace: str = ""
    is_cut: bool = False
    prior_status: str | None = None
    scores: dict[str, float] | None = None
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """``text``, and ``token_ids`` that it was decoded from: the end token included, padding not.

    ``is_cut``: it has no end token, for ``max_new_tokens`` were all that it might have.
    """

    text: str
    token_ids: list[int]
    is_cut: bool = False


class Statuses(abc.ABC):
    """A prepared batch: ``statuses`` of its priors, None where they were given."""

    statuses: list[str | None]


class BatchEngine(abc.ABC, Generic[P]):
    """An engine that answers batch after batch; ``P`` is what it makes of a batch before the model sees it."""

    settings: GenerateSettings

    @abc.abstractmethod
    def prepare(self, questions: Sequence[Question]) -> P:
        """Read and preprocess images and get their priors. Raises UserError for the first that fails."""

    @abc.abstractmethod
    def decode(
        self, prepared: P, *, with_logits: bool = False, seeds: Sequence[int] | None = None
    ) -> tuple[list[Answer], list[Any] | None]:
        """Greedy answers, and on request the logits behind each token: per position (batch, vocabulary).

        ``seeds``, one a question: sampled answers instead (``sampling``)."""

    @abc.abstractmethod
    def reader(self, prepared: P) -> Reader:
        """What ``label_scores`` reads of the pictures of this batch."""

    @abc.abstractmethod
    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What tokens decode to, without special ones and surrounding spaces."""

    def answer_all(self, batches: Iterator[list[Question]]) -> Iterator[Result]:
        """Answers to batch after batch; while one is decoded, the images of the next are prepared."""
        with ThreadPoolExecutor(1) as pool:
            waiting: tuple[list[Question], Future[P]] | None = None
            for batch in batches:
                upcoming = (batch, pool.submit(self.prepare, batch))
                if waiting is not None:
                    yield from self._finish(*waiting)
                waiting = upcoming
            if waiting is not None:
                yield from self._finish(*waiting)

    def _finish(self, batch: list[Question], preparing: Future[P]) -> list[Result]:
        try:
            prepared = preparing.result()
            answers, _ = self.decode(prepared)
            scores = self._scores(batch, prepared)
            samples = self._samples(batch, prepared)
        except Exception as error:  # one bad image, or too little memory: the others of the batch must not suffer
            if len(batch) == 1:
                return [failed(batch[0], error)]
            return [result for question in batch for result in self._alone(question)]
        return [
            Result(
                id_of(question),
                answer.text,
                tuple(answer.token_ids),
                prior_status=status,
                is_cut=answer.is_cut,
                scores=own,
                samples=drawn,
            )
            for question, answer, status, own, drawn in zip(
                batch, answers, prepared.statuses, scores, samples, strict=True
            )
        ]

    def _samples(self, batch: list[Question], prepared: P) -> list[tuple[str, ...]]:
        names = [id_of(question) for question in batch]
        drawn = [
            [answer.text for answer in self.decode(prepared, seeds=seeds_of(names, number))[0]]
            for number in range(self.settings.samples)
        ]
        return list(zip(*drawn, strict=True)) if drawn else [()] * len(batch)

    def _scores(self, batch: list[Question], prepared: P) -> Sequence[dict[str, float] | None]:
        if self.settings.label_scores is None:
            return [None] * len(batch)
        asked = LabelQuestions(self.settings.label_scores)
        return label_scores(
            self.reader(prepared), [asked.of(question["text"]) for question in batch], self.settings.batch_size
        )

    def _alone(self, question: Question) -> list[Result]:
        future: Future[P] = Future()
        try:
            future.set_result(self.prepare([question]))
        except Exception as error:
            future.set_exception(error)
        return self._finish([question], future)


def failed(question: Question, error: Exception) -> Result:
    """The result of a question that ended with ``error``."""
    known = isinstance(error, UserError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return Result(id_of(question), error=reason, trace="" if known else "".join(traceback.format_exception(error)))


def id_of(question: Question) -> str:
    return str(question["question_id"])
