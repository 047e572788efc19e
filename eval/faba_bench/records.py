"""Reading annotations and answers, with every problem named and located."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from faba_bench.errors import InputProblems, quote_ids, short
from faba_bench.files import FileProblem
from faba_bench.files.jsonfiles import is_lone_object, iter_items, iter_json_lines
from faba_bench.protocol import AUTask, EmotionTask, Protocol, Rules, ScaleTask, load_protocol, protocol_names
from faba_bench.scale_reader import parse_scale_label

Target = str | tuple[int, ...] | dict[str, float]
CUT_REASONS = ("length", "max_tokens", "max_new_tokens", "max_output_tokens", "model_length")
"""What servers and 'llava-faba bench generate' call the end of an answer that had no more tokens, in small letters."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AU_LABEL = re.compile(r"[0-9]{1,3}(?:, [0-9]{1,3})*")


@dataclass(frozen=True, slots=True)
class Record:
    """One annotation: `question_id` is its "id" or else its position, `target` a class name, AU numbers,
    or numbers by label.

    `reference` is the text under "gpt4", None where the dataset has no texts; `subject` is the person in the picture,
    where the record says so; `fields` are the values of the fields that `load_annotations` was asked for.
    """

    question_id: str | int
    image: str | None
    target: Target
    reference: str | None
    subject: str | None = None
    fields: tuple[str | None, ...] = ()


class Files(NamedTuple):
    """What was scored: annotations and answers, and of which fold they are ("" where there are no folds)."""

    annotations: Path | str | Sequence[Mapping[str, Any]]
    answers: Path | str | Iterable[Mapping[str, Any]]
    fold: str = ""

    def name(self, question_id: str | int) -> str:
        """The question id as a result names it."""
        return f"{self.fold}/{question_id}" if self.fold else str(question_id)


def load_annotations(
    source: Path | str | Sequence[Mapping[str, Any]], task: str, protocol: Protocol, *, fields: Sequence[str] = ()
) -> list[Record]:
    """Read evaluation records ``{"image", "label", "gpt4", "landmark"}``, optionally with "id" and "subject".

    `fields` names further fields to keep, as text (None where a record lacks one).

    `source` is a JSON file with a list, a JSON-lines file, or the list itself.  Raises `InputProblems` that
    lists all bad records, with a hint when the labels belong to another protocol or task.
    """
    rules = protocol.require(task)
    where, raw = _raw_annotations(source)
    count = 0
    problems: list[str] = []
    records: list[Record] = []
    bad_labels: list[object] = []
    first_seen: dict[str, int] = {}
    without_text: list[tuple[int, str | int]] = []
    targets: dict[Any, Any] = {}  # equal ones are one object
    texts: dict[str, str] = {}  # so are equal texts, which a converter writes by the thousand
    for position, item in enumerate(_problems_at_the_end(raw, problems)):
        count += 1
        if not isinstance(item, Mapping):
            problems.append(f"{where}, record {position}: not an object but {type(item).__name__}")
            continue
        identity = item.get("id")
        question_id = position if identity is None else identity
        name = f"{where}, record {position} (id {short(question_id)})"
        if isinstance(question_id, bool) or not isinstance(question_id, str | int):
            problems.append(f"{name}: the id must be a string or an integer")
            continue
        key = str(question_id)
        if key in first_seen:
            problems.append(f"{name}: duplicate id {short(key)}, first used by record {first_seen[key]}")
            continue
        first_seen[key] = position
        target = _target(item, name, rules, problems, bad_labels)
        target = targets.setdefault(target, target) if isinstance(target, str | tuple) else target
        reference = item.get("gpt4")
        if reference is None:
            without_text.append((position, question_id))
        elif not isinstance(reference, str):
            problems.append(f"{name}: 'gpt4' must be a text, not {type(reference).__name__}")
        if target is not None and (reference is None or isinstance(reference, str)):
            image = item.get("image")
            records.append(
                Record(
                    question_id,
                    image if isinstance(image, str) else None,
                    target,
                    texts.setdefault(reference, reference) if reference is not None else None,
                    _field(item, "subject", name, problems),
                    tuple(_field(item, field, name, problems) for field in fields),
                )
            )
    if without_text and (protocol.reference_texts == "required" or len(without_text) < count):
        problems += [
            f"{where}, record {position} (id {short(name)}): no reference text ('gpt4')"
            for position, name in without_text
        ]
    if not count and not problems:
        problems.append(f"{where}: no records")
    if problems:
        raise InputProblems("annotations", problems, _hint(source, bad_labels, task, protocol))
    return records


def iterate_answers(
    source: Path | str | Iterable[Mapping[str, Any]], problems: list[str], aside: dict[str, Any] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield (place, question id as a string, text) for each answer; bad ones are added to `problems`.

    `aside["scores"]` is the "scores" of the answer that was yielded last, None where it has none; `aside["cut"]`
    whether a token limit cut it off, as ``finish_reason`` (of the answer or of its "metadata") says; `aside["model"]`
    the SHA-256 of the model that gave it ("model_sha256" of its "metadata", as ``llava-faba bench generate`` writes).

    `source` is a JSON-lines file with ``question_id`` and ``text``, as LLaVA writes it, or such objects.
    Only one line is held in memory.
    """
    if isinstance(source, str | Path):
        yield from _file_answers(Path(source), problems, aside)
        return
    for number, item in enumerate(source):
        yield from _checked_answer(item, f"answer {number}", problems, aside)


def parse_emotion_label(label: object, rules: EmotionTask) -> str:
    """A class name from a label: a name (any case), an alias, or an index as number or digits.

    Raises ValueError with what is allowed.
    """
    if isinstance(label, int) and not isinstance(label, bool):
        index: int | None = label
    elif isinstance(label, str):
        word = label.strip().lower()
        for name in rules.classes:
            if name.lower() == word:
                return name
        if word in rules.aliases:
            return rules.aliases[word]
        index = int(word) if re.fullmatch(r"[0-9]{1,3}", word) else None
    else:
        index = None
    if index is not None and 0 <= index < len(rules.classes):
        return rules.classes[index]
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(rules.classes))
    raise ValueError(f"label {short(label)} is no class; the classes are {listed}")


def parse_au_label(label: object, rules: AUTask) -> tuple[int, ...]:
    """AU numbers from a label such as "1, 4, 25"; "" means none; a list of integers will do as well.

    Raises ValueError for another layout and for numbers outside the vocabulary.
    """
    if isinstance(label, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in label):
        numbers = [int(number) for number in label]
    elif isinstance(label, str) and not label.strip():
        numbers = []
    elif isinstance(label, str) and _AU_LABEL.fullmatch(label):
        # As written: the authors compare strings, so a "01" would silently never match.
        if any(part != str(int(part)) for part in label.split(", ")):
            raise ValueError(f"label {short(label)} has leading zeros; write '1, 4, 25'")
        numbers = [int(part) for part in label.split(", ")]
    else:
        raise ValueError(f"label {short(label)} is no list of action units; write '1, 4, 25' (a comma and a space)")
    unknown = sorted(set(numbers) - set(rules.vocabulary))
    if unknown:
        vocabulary = " ".join(map(str, rules.vocabulary))
        raise ValueError(f"label {short(label)}: AU {quote_ids(unknown)} outside the vocabulary {vocabulary}")
    return tuple(dict.fromkeys(numbers))


def parse_label(label: object, rules: Rules) -> Target:
    """`parse_au_label`, `parse_emotion_label` or `parse_scale_label`, whichever the rules are for."""
    if isinstance(rules, ScaleTask):
        return parse_scale_label(label, rules.labels, rules.low, rules.high)
    return parse_au_label(label, rules) if isinstance(rules, AUTask) else parse_emotion_label(label, rules)


def _field(item: Mapping[str, Any], field: str, name: str, problems: list[str]) -> str | None:
    """A field's value as text, so that 7 and "7" are one; None where it is missing, null or blank."""
    value = item.get(field)
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN of a table is no one
        return None
    if not isinstance(value, str | int | float):
        problems.append(f"{name}: {field!r} must be a text or a number, not {short(value)}")
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return sys.intern(str(value).strip())


def _target(
    item: Mapping[str, Any],
    name: str,
    rules: Rules,
    problems: list[str],
    bad_labels: list[object],
) -> Target | None:
    if isinstance(rules, ScaleTask) and isinstance(item.get(rules.field), Mapping):
        item = {**item, "label": item[rules.field]}
    if "label" not in item:
        problems.append(f"{name}: no 'label'")
        return None
    try:
        return parse_label(item["label"], rules)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        bad_labels.append(item["label"])
        return None


def _hint(
    source: Path | str | Sequence[Mapping[str, Any]], bad_labels: Sequence[object], task: str, protocol: Protocol
) -> str:
    """Name the protocols that all labels would fit, when this one is wrong for them."""
    if not bad_labels:
        return ""
    try:
        raw = list(_raw_annotations(source)[1])
    except (FileProblem, InputProblems):
        return ""
    labels = [item["label"] for item in raw if isinstance(item, Mapping) and "label" in item]
    fitting = []
    for name in protocol_names():
        other = load_protocol(name)
        for other_task in other.tasks:
            if (name, other_task) != (protocol.name, task) and _all_fit(labels, other.require(other_task)):
                fitting.append(f"--task {other_task} --protocol {name}")
    if not fitting:
        return protocol.note
    return f"all labels fit {' or '.join(fitting)}: wrong protocol for these labels?"


def _all_fit(labels: Iterable[object], rules: Rules) -> bool:
    try:
        for label in labels:
            parse_label(label, rules)
    except ValueError:
        return False
    return True


def _raw_annotations(source: Path | str | Sequence[Mapping[str, Any]]) -> tuple[str, Iterable[Any]]:
    """What to call the source, and its items; of a file they are read as they are asked for."""
    if not isinstance(source, str | Path):
        return "annotations", source
    try:
        items = iter_items(source)
        head = list(itertools.islice(items, 2))
    except FileProblem as error:
        raise InputProblems("annotations", str(error).split("\n  ")) from error
    if is_lone_object(source, head) and "image" not in head[0]:
        raise InputProblems("annotations", [f"{source}: the file must hold a list of records, not an object"])
    return str(source), itertools.chain(head, items)


def _problems_at_the_end(items: Iterable[Any], problems: list[str]) -> Iterator[Any]:
    """The items; a fault that makes the file unreadable behind some of them takes the place of all other problems."""
    try:
        yield from items
    except FileProblem as error:
        problems[:] = str(error).split("\n  ")


def _file_answers(path: Path, problems: list[str], aside: dict[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    try:
        for number, item in iter_json_lines(path, problems=problems):
            yield from _checked_answer(item, f"{path}, line {number}", problems, aside)
    except FileProblem as error:
        problems.append(f"cannot read {error}")


def _checked_answer(
    item: object, place: str, problems: list[str], aside: dict[str, Any] | None
) -> Iterator[tuple[str, str, str]]:
    if not isinstance(item, Mapping):
        problems.append(f"{place}: not an object but {type(item).__name__}")
        return
    question_id = item.get("question_id")
    if isinstance(question_id, bool) or not isinstance(question_id, str | int):
        problems.append(f"{place}: 'question_id' must be a string or an integer, not {short(question_id)}")
        return
    text = item.get("text")
    if not isinstance(text, str):
        problems.append(f"{place} (question_id {short(question_id)}): 'text' must be a text, not {short(text)}")
        return
    if aside is not None:
        aside["scores"] = item.get("scores")
        aside["cut"] = _is_cut(item)
        aside["model"] = _model_of(item)
    yield place, str(question_id), text


def _model_of(item: Mapping[str, Any]) -> str | None:
    metadata = item.get("metadata")
    digest = metadata.get("model_sha256") if isinstance(metadata, Mapping) else None
    return sys.intern(digest) if isinstance(digest, str) and _SHA256.fullmatch(digest) else None


def _is_cut(item: Mapping[str, Any]) -> bool:
    metadata = item.get("metadata")
    for holder in (item, metadata if isinstance(metadata, Mapping) else {}):
        reason = holder.get("finish_reason")
        if isinstance(reason, str) and reason.lower() in CUT_REASONS:
            return True
    return False
