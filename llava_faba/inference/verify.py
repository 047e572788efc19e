"""Whether batched answers are those that the model gives one at a time.

In float32 they are, up to rounding: where the two best tokens are nearly equally good, a batch may choose the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.files.atomic import write_text

from llava_faba.errors import UserError
from llava_faba.inference.engines.kinds import choose_engine
from llava_faba.inference.settings import GenerateSettings
from llava_faba.inference.workers import batch_engine
from llava_faba.records.questions import read_jsonl

if TYPE_CHECKING:
    import torch

    from llava_faba.inference.engines.base import BatchEngine

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """An answer that is another one when asked for alone, or whose text is not what its own tokens say.

    ``position``: of the first token that differs, from 0; -1 where the text was changed (``alone`` says how).
    ``margin``: by how much the logit of the token chosen alone exceeds that of the token in the file. ``near_tie``: the
    margin is at most ``TOLERANCE``. ``alone``: the other text.
    """

    question_id: str
    position: int
    margin: float
    near_tie: bool
    alone: str


@dataclass(frozen=True)
class Verification:
    """``checked`` answers, the ones that differ by a near tie, and the ones that differ without that excuse."""

    checked: int
    near_ties: list[Difference]
    different: list[Difference]


def verify_answers(
    model_path: str,
    questions: Sequence[dict[str, Any]],
    image_folder: Path,
    answers_file: Path,
    settings: GenerateSettings,
    *,
    count: int | None = None,
    model_base: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Ask ``count`` of the answered questions again (spread evenly; None: all), each alone, and compare the tokens.

    vLLM's answers are compared with those of transformers.
    Reads ``answers_file`` as ``generate_answers`` wrote it and writes ``<answers_file>.verified.json``.
    Raises UserError for an answers file without token ids.
    """
    settings = replace(settings, engine=choose_engine(settings.engine, model_path))
    stored = {str(answer["question_id"]): answer for answer in read_jsonl(answers_file)}
    answered = [question for question in questions if str(question["question_id"]) in stored]
    chosen = _spread(answered, count)
    answerer = batch_engine(settings.engine)(model_path, model_base, image_folder, settings)
    differences = _changed_texts(answered, stored, answerer)
    changed = {difference.question_id for difference in differences}
    for done, question in enumerate(chosen, 1):
        if str(question["question_id"]) in changed:
            continue
        line = stored[str(question["question_id"])]
        answers, logits = answerer.decode(answerer.prepare([question]), with_logits=True)
        difference = compare(line, answers[0], logits or [])
        if difference is not None:
            differences.append(difference)
        if progress:
            progress(done, len(chosen))
    verification = Verification(
        len(changed | {str(question["question_id"]) for question in chosen}),
        [difference for difference in differences if difference.near_tie],
        [difference for difference in differences if not difference.near_tie],
    )
    report = {"tolerance": TOLERANCE, "dtype": settings.dtype, **asdict(verification)}
    path = answers_file.with_name(answers_file.name + ".verified.json")
    write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return verification


def _changed_texts(
    questions: Sequence[dict[str, Any]], stored: dict[str, dict[str, Any]], engine: BatchEngine[Any]
) -> list[Difference]:
    """All answers whose text is not what their tokens decode to, or whose prompt is not the question."""
    found = []
    for question in questions:
        line = stored[str(question["question_id"])]
        tokens, name = _tokens_of(line), str(question["question_id"])
        if line.get("text") != engine.texts([tokens])[0]:
            found.append(Difference(name, -1, 0.0, False, "its text is not what its tokens decode to"))
        elif line.get("prompt") != question["text"]:
            found.append(Difference(name, -1, 0.0, False, "its prompt is not the question"))
    return found


def _tokens_of(stored: dict[str, Any]) -> list[int]:
    metadata = stored.get("metadata")
    tokens = metadata.get("token_ids") if isinstance(metadata, dict) else None
    if not isinstance(tokens, list) or any(type(token) is not int or token < 0 for token in tokens):
        raise UserError(
            f"the answer to question {stored['question_id']} holds no token ids to compare with; it was not written "
            "by 'llava-faba bench generate'."
        )
    return tokens


def compare(stored: dict[str, Any], alone: Any, logits: Sequence[torch.Tensor]) -> Difference | None:
    """The difference between a stored answer line and the ``Answer`` given alone, None when their tokens are equal.

    ``logits``: per position (1, vocabulary), from which ``alone`` was chosen.
    """
    tokens = _tokens_of(stored)
    if tokens == alone.token_ids:
        return None
    pairs = enumerate(zip(tokens, alone.token_ids, strict=False))
    # Equal up to the shorter one's end cannot be: the shorter one ends with an end token.
    position = next((index for index, (left, right) in pairs if left != right), None)
    if position is None:
        position = min(len(tokens), len(alone.token_ids)) - 1
        margin = float("inf")
    else:
        row = logits[position][0]
        margin = float(row[alone.token_ids[position]] - row[tokens[position]])
    return Difference(str(stored["question_id"]), position, margin, margin <= TOLERANCE, alone.text)


def _spread(questions: Sequence[dict[str, Any]], count: int | None) -> list[dict[str, Any]]:
    if count is None or count >= len(questions):
        return list(questions)
    return [questions[index * len(questions) // count] for index in range(count)]
