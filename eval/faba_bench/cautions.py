"""What a result must not be read without: sentences about its answers, texts and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from faba_bench.errors import quote_ids
from faba_bench.protocol import Protocol
from faba_bench.reading import UNFINISHED, Parsed
from faba_bench.records import Record
from faba_bench.result import MODES


def of_scores(
    protocol: Protocol,
    task: str,
    modes: Mapping[str, Mapping[str, Any]],
    empty: Sequence[str],
    missing: Sequence[str],
) -> list[str]:
    found: list[str] = []
    if missing:
        found.append(f"{_count(missing, 'record')} without an answer, scored as empty: {quote_ids(missing)}")
    if empty:
        found.append(f"{_count(empty, 'answer')} without a word: {quote_ids(empty)}")
    for mode, body in modes.items():
        lost = [sample["question_id"] for sample in body["samples"] if sample["unparsed"]]
        if lost:
            wrong = "counted as wrong" if task == "emotion" else "counted with nothing recognised"
            fate = "left out of S_re" if mode == "reference" else wrong
            found.append(f"{mode}: {_count(lost, 'answer')} unparsed, {fate}: {quote_ids(lost)}")
        textless = sum(sample["rouge_l"] is None for sample in body["samples"])
        if 0 < textless < len(body["samples"]):
            found.append(f"{mode}: {textless} of {len(body['samples'])} samples have no ROUGE and are left out of S_ge")
        for label in body.get("labels_left_out", ()):
            row = body["per_label"][str(label)]
            extra = f", {row['false_positives']} false positives" if row["false_positives"] else ""
            found.append(f"{mode}: AU{label} is {row['status']} (support {row['support']}{extra}), not in the mean")
    if all(sample["rouge_l"] is None for mode in MODES for sample in modes[mode]["samples"]):
        found.append("the annotations hold no reference texts: S_ge and REGE have no value")
    if task == "emotion" and protocol.emotion:
        from faba_bench.reference.emotion import CLASSES

        never = [name for name in protocol.emotion.classes if name not in CLASSES]
        if never:
            found.append(
                f"the reference mode cannot predict {', '.join(never)}: the authors' word lists have no such class"
            )
    return found


def of_cut_answers(cut: Sequence[str], count: int) -> list[str]:
    if not cut:
        return []
    return [
        f"{len(cut)} of {count} answers were cut by the token limit and may lack labels: {quote_ids(cut)}; generate "
        "them again with a higher --max-new-tokens"
    ]


def of_models(models: Collection[str]) -> list[str]:
    if len(models) < 2:
        return []
    named = ", ".join(digest[:12] for digest in sorted(models))
    return [f"the answers were given by {len(models)} different models (SHA-256 {named}): one model's score is of one"]


def of_reading(records: Sequence[Record], strict: Sequence[Parsed]) -> list[str]:
    """What strict mode met while reading: thoughts, and structures that it could not tell."""
    found: list[str] = []
    held = sum(item.had_thoughts for item in strict)
    if held:
        endless = sum(item.evidence == UNFINISHED for item in strict)
        text = (
            f"{held} of {len(strict)} answers held a model's thoughts; strict mode leaves them out, reference mode not"
        )
        found.append(f"{text}; in {endless} they never end, which is no answer" if endless else text)
    foreign = sum(
        record.reference is not None and item.rouge_l is None for record, item in zip(records, strict, strict=True)
    )
    if foreign:
        found.append(
            f"strict: {foreign} reference texts are not in Latin letters, which ROUGE-L's words are made of: no value "
            "for them; the reference mode's value counts white space as the end of a word"
        )
    unclear = [record.question_id for record, item in zip(records, strict, strict=True) if item.ambiguous]
    if unclear:
        found.append(
            f"strict: {_count(unclear, 'answer')} with a list, table or JSON that is unclear: several classes or none, "
            f"or neither yes nor no; unparsed: {quote_ids(unclear)}"
        )
    return found


def _count(items: Sequence[Any], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
