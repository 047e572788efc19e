"""Scores per label: how likely a model is to say each emotion's wordings, and yes rather than no to each AU.

An emotion's likelihood is the probability of its wordings as the next words of an answer that begins with `EMOTION`,
divided by that of all classes; an AU's is that of yes against no as the first word of the answer to `AU`. The
probability of a wording is the product of its tokens', NOT normalised by their number: it is that of saying it, so
long wordings are not favoured. A wording that goes on as another's (``sad``, ``sadness``) is counted without it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from faba_bench.files.digests import sha256_json
from faba_bench.protocol import EmotionTask, load_protocol
from faba_bench.questions import QUESTIONS

from llava_faba.errors import UserError
from llava_faba.records.vocabulary import au_phrase

if TYPE_CHECKING:
    import torch

EMOTION = "The face conveys {wording}"
AU = "Is {unit} visible in this face? Answer with yes or no."
YES, NO = ("Yes", "yes"), ("No", "no")
DIGITS = 6
"""Significant digits of a score in an answers file."""


@dataclass(frozen=True)
class Asking:
    """A question, and the whole answers to it that are compared, by label; `label` of an AU: whose "yes" counts."""

    question: str
    answers: Mapping[str, tuple[str, ...]]
    label: str | None = None


class Reader(Protocol):
    """What a model must be able to do: token ids of a turn, and logits behind the last of them."""

    def turn_ids(self, picture: int, question: str, answer: str) -> list[int]:
        """Ids of the conversation about picture number `picture` up to the answer's end, without an end token."""

    def last_logits(self, pictures: Sequence[int], rows: Sequence[Sequence[int]], keep: int) -> torch.Tensor:
        """(rows, keep, vocabulary): logits behind each of the last `keep` tokens of rows of ids about pictures."""


class LabelQuestions:
    """What is asked for the scores of a protocol's labels. Raises UserError for a protocol without AUs and classes."""

    def __init__(self, protocol: str) -> None:
        rules = load_protocol(protocol)
        self.protocol, self._by_task = protocol, dict[str, list[Asking]]()
        if rules.au is not None:
            self._by_task["au"] = [
                Asking(AU.format(unit=au_phrase(number)), {"yes": YES, "no": NO}, f"AU{number}")
                for number in rules.au.vocabulary
            ]
        if rules.emotion is not None:
            self._by_task["emotion"] = [Asking(QUESTIONS["emotion"], _wordings(rules.emotion, protocol))]
        if not self._by_task:
            raise UserError(f"the protocol '{protocol}' has neither AUs nor emotions, so no scores per label.")

    @property
    def digest(self) -> str:
        """Says by content what is asked: other wordings give other scores."""
        asked = {
            task: [(one.question, {label: list(words) for label, words in one.answers.items()}) for one in askings]
            for task, askings in self._by_task.items()
        }
        return sha256_json(asked)[:16]

    def of(self, question: str) -> list[Asking]:
        """What is asked beside a question of a question file. Raises UserError for one of no task of the protocol."""
        for task, text in QUESTIONS.items():
            if question == text and task in self._by_task:
                return self._by_task[task]
        known = " or ".join(f"'{QUESTIONS[task]}'" for task in self._by_task)
        raise UserError(
            f"--label-scores: '{question[:80]}' is no question of the protocol '{self.protocol}', which asks {known}."
        )


def label_scores(reader: Reader, asked: Sequence[Sequence[Asking]], rows_at_once: int) -> list[dict[str, float]]:
    """The scores of pictures 0, 1, ... by label, each in [0, 1]; an emotion's add up to 1.

    `asked`: per picture. `rows_at_once`: how many token rows go through the model together.
    Raises UserError where the model's numbers are not finite.
    """
    works = [
        _Work(picture, one, {label: _ids(reader, picture, one, label) for label in one.answers})
        for picture, askings in enumerate(asked)
        for one in askings
    ]
    # Rows of one length share a batch: less padding.
    rows = sorted(((work, row) for work in works for row in work.rows), key=lambda one: (len(one[1]), one[0].picture))
    for start in range(0, len(rows), rows_at_once):
        chunk = rows[start : start + rows_at_once]
        keep = max(len(row) - work.start + 1 for work, row in chunk)
        logits = reader.last_logits([work.picture for work, _ in chunk], [row for _, row in chunk], keep)
        told = logits.float().log_softmax(-1).double().cpu()
        for (work, row), values in zip(chunk, told, strict=True):
            work.take(row, values)
    found: list[dict[str, float]] = [{} for _ in asked]
    for work in works:
        found[work.picture] |= work.shares()
    return found


class _Work:
    """One asking about one picture: its candidates as token ids, and what is known of their probabilities."""

    def __init__(self, picture: int, asking: Asking, ids: Mapping[str, Sequence[tuple[int, ...]]]) -> None:
        self.picture, self._asking = picture, asking
        self._labels: dict[tuple[int, ...], str] = {}
        for label, candidate in ((label, one) for label, found in ids.items() for one in found):
            if self._labels.setdefault(candidate, label) != label:
                raise UserError(
                    f"--label-scores: {self._labels[candidate]} and {label} have a wording of the same tokens."
                )
        candidates = list(self._labels)
        common = _common(candidates)
        self.start = min(common, *(len(one) - 1 for one in candidates))
        """Where the candidates' own tokens begin."""
        self.rows = _maximal([one[:-1] for one in candidates])
        self._logs: dict[tuple[int, ...], float] = {}

    def take(self, row: tuple[int, ...], values: torch.Tensor) -> None:
        """`values`: (at least as many as are needed, vocabulary), log-probabilities behind the last tokens of `row`."""
        first = len(row) - len(values)  # `values[k]` stands behind the token first + k
        for candidate in self._labels:
            if candidate[:-1] == row[: len(candidate) - 1]:
                at = range(self.start, len(candidate))
                told = [float(values[place - 1 - first, candidate[place]]) for place in at]
                self._logs[candidate] = math.fsum(told)

    def shares(self) -> dict[str, float]:
        """Of each label its share of the probability of all; of an AU that of yes."""
        best = max(self._logs.values())
        if not math.isfinite(best) or any(math.isnan(value) for value in self._logs.values()):
            raise UserError("the model's probabilities are not finite numbers, so there are no scores per label.")
        said = {candidate: math.exp(value - best) for candidate, value in self._logs.items()}
        own = dict.fromkeys(self._asking.answers, 0.0)
        for candidate, label in self._labels.items():
            longer = math.fsum(said[one] for one in _next_longer(candidate, said))
            own[label] += max(0.0, said[candidate] - longer)
        total = math.fsum(own.values())
        shares = {label: float(f"{value / total:.{DIGITS}g}") for label, value in own.items()}
        return shares if self._asking.label is None else {self._asking.label: shares["yes"]}


def _wordings(rules: EmotionTask, protocol: str) -> dict[str, tuple[str, ...]]:
    """Whole answers by class: its name and the protocol's other words for it."""
    found = {}
    for name in rules.classes:
        words = dict.fromkeys([name.lower(), *(word for word, of in rules.aliases.items() if of == name)])
        found[name] = tuple(EMOTION.format(wording=word) for word in words)
    if len(found) < 2:
        raise UserError(f"the protocol '{protocol}' has one class alone: there is nothing to compare.")
    return found


def _ids(reader: Reader, picture: int, asking: Asking, label: str) -> list[tuple[int, ...]]:
    return [tuple(reader.turn_ids(picture, asking.question, answer)) for answer in asking.answers[label]]


def _common(rows: Sequence[tuple[int, ...]]) -> int:
    """How many ids all rows begin with."""
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))


def _maximal(rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those that no other one begins with: a forward of these has seen all."""
    kept: list[tuple[int, ...]] = []
    for row in sorted(set(rows), key=len, reverse=True):
        if not any(one[: len(row)] == row for one in kept):
            kept.append(row)
    return kept


def _next_longer(candidate: tuple[int, ...], among: Mapping[tuple[int, ...], Any]) -> list[tuple[int, ...]]:
    """Candidates that begin with this one, but with no other one that does."""
    longer = [one for one in among if len(one) > len(candidate) and one[: len(candidate)] == candidate]
    return [one for one in longer if not any(len(other) < len(one) and one[: len(other)] == other for other in longer)]
