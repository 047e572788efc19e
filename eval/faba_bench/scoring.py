"""Scoring answers: parse each one as it is read, then aggregate.

Texts are not kept: an answer is parsed when its line is read, and what stays is one small object a
sample, so memory grows with the number of annotations and not with the length of the answers.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from faba_bench import aggregate, cautions, clusters
from faba_bench import bootstrap as resampling
from faba_bench import groups as fairness
from faba_bench.errors import BenchError, InputProblems, quote_ids, short
from faba_bench.label_scores import LabelScores, measure
from faba_bench.protocol import SCALE_TASKS, AUTask, EmotionTask, Protocol, load_protocol
from faba_bench.reading import Parsed, Reader, reader_of
from faba_bench.records import Record, iterate_answers, load_annotations
from faba_bench.result import MODES, SCHEMA_VERSION
from faba_bench.templates import are_templates

_TEMPLATES = "the reference texts are a converter's sentences about the labels: no S_ge and no REGE against them"


def score(
    task: str,
    protocol: str,
    annotations: Sequence[Mapping[str, Any]] | Path | str,
    answers: Iterable[Mapping[str, Any]] | Path | str,
    *,
    seed: int = 0,
    bootstrap: int = 1000,
    allow_missing: bool = False,
    cluster: str | None = None,
    label_scores: bool = True,
    groups: Sequence[str] = (),
) -> dict[str, Any]:
    """Score answers against annotations in both modes.

    Args:
        task: "au" or "emotion"; "au_intensity" and "va" are scored by `faba_bench.scale.score_scale`.
        protocol: a protocol's name or the path of a protocol file.
        annotations: evaluation records (design section 5), or a JSON file of them.
        answers: objects with "question_id" and "text", or a JSON-lines file of them, in any order.
        seed: of the bootstrap.
        bootstrap: how many resamples; 0 leaves the intervals out.
        allow_missing: score records without an answer as empty answers, with a warning.
        cluster: the field of the records whose samples belong together, such as a person's; the bootstrap draws its
            values. Default: "subject" where records have it; "none" draws samples whatever they have.
        label_scores: measure the answers' "scores" per label, where they have any (needs scikit-learn).
        groups: fields of the records, such as "gender", whose values are measured apart (`faba_bench.groups`).

    Returns:
        The output object: "task", "protocol", "n", "modes" with "reference" and "strict".  Keys that begin
        with "s_" are percent, everything else is a fraction or a count.

    Raises:
        InputProblems: lists every bad record, bad answer, and missing, duplicate or unknown question id.
        ProtocolError: an unknown protocol or one without the task.
    """
    if task in SCALE_TASKS:
        if groups:
            raise BenchError(f"groups are measured for the tasks au and emotion, not for {task}")
        from faba_bench.scale import score_scale

        return score_scale(
            task,
            protocol,
            annotations,
            answers,
            seed=seed,
            bootstrap=bootstrap,
            allow_missing=allow_missing,
            cluster=cluster,
        )
    resampling.check_draws(bootstrap, seed)
    rules_of = load_protocol(protocol)
    records = load_annotations(annotations, task, rules_of, fields=(*clusters.fields(cluster), *groups))
    people = clusters.of_records(records, cluster, rules_of)
    rules = rules_of.require(task)
    templates = rules_of.reference_texts != "required" and are_templates(records)
    if templates:
        records = [replace(record, reference=None) for record in records]
    readers = {mode: reader_of(mode, rules) for mode in MODES}
    probabilities = LabelScores(rules, len(records))
    cut: list[str] = []
    models: set[str] = set()
    parsed, empty, missing = _read_all(
        records, answers, readers, allow_missing, cut, models, probabilities if label_scores else None
    )
    measured, notes = measure(
        probabilities,
        [record.target for record in records],
        units=people.units,
        draws=0 if people.is_single else bootstrap,
        seed=seed,
    )
    with_thoughts = sum(item.had_thoughts for item in parsed["strict"])
    reading_warnings = cautions.of_reading(records, parsed["strict"])
    modes = {
        mode: _mode_body(task, mode, rules, records, parsed[mode] if groups else _given_away(parsed[mode]))
        for mode in MODES
    }
    _add_intervals(task, rules, modes, bootstrap, seed, people)
    by_group, group_notes = fairness.measure(
        groups,
        records,
        len(clusters.fields(cluster)),
        modes,
        lambda mode, rows: _mode_body(
            task, mode, rules, [records[row] for row in rows], [parsed[mode][row] for row in rows]
        ),
        task=task,
        labels=score_rules(rules_of, task),
        units=people.units,
        draws=0 if people.is_single else bootstrap,
        seed=seed,
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "task": task,
        "protocol": rules_of.name,
        "protocol_version": rules_of.version,
        "n": len(records),
        "seed": seed,
        "bootstrap": bootstrap,
        "cluster": people.field,
        "n_clusters": people.count if people.field else None,
        "n_with_thoughts": with_thoughts,
        "n_cut": len(cut),
        "answered_by": sorted(models),
        "warnings": [
            *cautions.of_cut_answers(cut, len(records)),
            *cautions.of_models(models),
            *([_TEMPLATES] if templates else []),
            *people.warnings,
            *reading_warnings,
            *cautions.of_scores(rules_of, task, modes, empty, missing),
            *notes,
            *group_notes,
        ],
        "groups": by_group,
        "label_scores": measured,
        "modes": modes,
    }


def score_rules(protocol: Protocol, task: str) -> tuple[Any, ...]:
    """The labels that a task's table holds: scored AU numbers, or class names."""
    rules = protocol.require(task)
    return rules.scored if isinstance(rules, AUTask) else rules.classes


def _read_all(
    records: Sequence[Record],
    answers: Iterable[Mapping[str, Any]] | Path | str,
    readers: Mapping[str, Reader],
    allow_missing: bool,
    cut: list[str],
    models: set[str],
    probabilities: LabelScores | None = None,
) -> tuple[dict[str, list[Parsed]], list[str], list[str]]:
    """Parsed answers per mode in the annotations' order, and the ids of empty and missing answers."""
    position = {str(record.question_id): index for index, record in enumerate(records)}
    numbers, before = array("q", bytes(8 * len(records))), ""  # of the line that answers a record, from 1; 0: none
    slots: dict[str, list[Parsed | None]] = {mode: [None] * len(records) for mode in readers}
    alike: dict[Any, Parsed] = {}
    problems: list[str] = []
    unknown: list[str] = []
    empty: list[str] = []
    aside: dict[str, Any] = {}
    for place, key, text in iterate_answers(answers, problems, aside):
        if aside["cut"]:
            cut.append(key)
        if aside["model"]:
            models.add(aside["model"])
        index = position.get(key)
        if index is None:
            unknown.append(key)
            problems.append(f"{place}: unknown question id {short(key)}, no annotation has it")
            continue
        if numbers[index]:
            first = f"{before} {numbers[index] - 1}"
            problems.append(f"{place}: duplicate question id {short(key)}, first answered at {first}")
            continue
        before, _, number = place.rpartition(" ")  # "FILE, line 7" or "answer 7"
        numbers[index] = int(number) + 1
        if not text.strip():
            empty.append(key)
        if probabilities is not None:
            probabilities.add(index, aside["scores"], place, problems)
        if not problems:  # with a problem there will be no result: only look for more problems
            for mode, read in readers.items():
                slots[mode][index] = _kept(read(text, records[index].reference), alike)
    missing = [str(record.question_id) for record, number in zip(records, numbers, strict=True) if not number]
    if missing and not allow_missing:
        count = "1 record has" if len(missing) == 1 else f"{len(missing)} records have"
        problems.append(f"{count} no answer, question ids missing: {quote_ids(missing, 100)}")
    if problems:
        raise InputProblems("answers", problems, _answers_hint(unknown, missing, records))
    for mode, read in readers.items():
        for key in missing:
            index = position[key]
            slots[mode][index] = read("", records[index].reference)
    return cast("dict[str, list[Parsed]]", slots), empty, missing  # every slot is filled: all answered, or read as ""


def _kept(item: Parsed, alike: dict[Any, Parsed]) -> Parsed:
    """`item`, or the one that is like it: without a text to compare with, most answers are read alike."""
    if item.rouge_l is not None:
        return item
    value = tuple(item.value) if isinstance(item.value, list) else item.value
    key = (value, item.unparsed, item.evidence, item.had_thoughts, item.ambiguous)
    return alike.setdefault(key, item)


def _answers_hint(unknown: Sequence[str], missing: Sequence[str], records: Sequence[Record]) -> str:
    if len(missing) == len(records) and unknown:
        return (
            f"no id matches: annotations use ids such as {str(records[0].question_id)!r}, "
            f"answers such as {unknown[0]!r}; are they from the same question file?"
        )
    return ""


def _mode_body(
    task: str, mode: str, rules: AUTask | EmotionTask, records: Sequence[Record], parsed: Iterable[Parsed]
) -> dict[str, Any]:
    shared: dict[Any, list[Any]] = {}  # equal targets are one list: nobody changes them in place
    samples = [
        _row(record, item, shared.setdefault(record.target, list(record.target)) if task == "au" else record.target)
        for record, item in zip(records, parsed, strict=True)
    ]
    unparsed = sum(sample["unparsed"] for sample in samples)
    body: dict[str, Any] = {
        "n_scored": len(samples) - (unparsed if mode == "reference" else 0),
        "n_unparsed": unparsed,
    }
    if isinstance(rules, AUTask):
        table = _au_body(rules, mode, samples)
    else:
        table = aggregate.emotion_table(
            [sample["parsed"] for sample in samples],
            [sample["target"] for sample in samples],
            rules.classes,
            mode,
            strangers=_strangers(mode, rules),
        )
    s_re = aggregate.percent(table["macro_f1"] if task == "au" else table["accuracy"])
    s_ge = aggregate.percent(aggregate.mean_or_none([sample["rouge_l"] for sample in samples]))
    body |= {"s_re": s_re, "s_ge": s_ge, "s_rege": None if s_re is None or s_ge is None else s_re + s_ge}
    return body | table | {"samples": samples}


def _given_away(items: list[Parsed]) -> Iterator[Parsed]:
    """The items, each let go when it was given."""
    items.reverse()
    while items:
        yield items.pop()


class _Row:
    """Its attributes' dict shares its keys with all others of its kind: half the memory of one written out."""

    question_id: Any
    parsed: Any
    target: Any
    rouge_l: float | None
    unparsed: bool
    evidence: str


def _row(record: Record, item: Parsed, target: Any) -> dict[str, Any]:
    row = _Row()
    row.question_id, row.parsed, row.target = record.question_id, item.value, target
    row.rouge_l, row.unparsed, row.evidence = item.rouge_l, item.unparsed, sys.intern(item.evidence)
    return row.__dict__


def _strangers(mode: str, rules: EmotionTask) -> list[str]:
    """Classes that the mode can read out of an answer though the protocol has them not."""
    if mode == "strict":
        return []
    from faba_bench.reference.emotion import CLASSES

    return [name for name in CLASSES if name not in rules.classes]


def _au_body(rules: AUTask, mode: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    guess = aggregate.au_indicator([sample["parsed"] for sample in samples], rules.scored)
    truth = aggregate.au_indicator([sample["target"] for sample in samples], rules.scored)
    table = aggregate.au_table(guess, truth, rules.scored, mode)
    used = [row for row in table.values() if row["status"] == "scored"]
    return {
        "per_label": table,
        "macro_f1": aggregate.mean_or_none([row["f1"] for row in used]),
        "mean_accuracy": aggregate.mean_or_none([row["accuracy"] for row in used]),
        "labels_left_out": [int(label) for label, row in table.items() if row["status"] != "scored"],
    }


def _add_intervals(
    task: str,
    rules: AUTask | EmotionTask,
    modes: dict[str, dict[str, Any]],
    samples: int,
    seed: int,
    people: clusters.Clusters,
) -> None:
    labels = rules.scored if isinstance(rules, AUTask) else rules.classes
    units = people.units
    arrays = {mode: aggregate.Samples(task, mode, body["samples"], labels, units) for mode, body in modes.items()}
    found = resampling.intervals(arrays, 0 if people.is_single else samples, seed)
    for mode, body in modes.items():
        for name, bounds in found[mode].items():
            body[f"{name}_ci"] = bounds
        if people.field:
            for sample, person in zip(body["samples"], people.values, strict=True):
                sample["cluster"] = person
