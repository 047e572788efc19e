"""The figures of a dataset: samples, words per answer, label distribution, AU co-occurrence.

These are the figures that the FABA-Instruct paper gives for its data (its dataset table and statistics
figure). A word is what white space separates. Labels are read from ``label``; a record without one is read
from its answer, by the same careful parser that the benchmark uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from llava_faba.datatools import answers
from llava_faba.records import annotation as records
from llava_faba.records.vocabulary import AU_NAMES


@dataclass
class Figures:
    """Figures of one annotation file. ``pairs`` counts records in which both AUs are active, lower number
    first.
    """

    file: str
    kind: str
    task: str | None
    samples: int = 0
    images: int = 0
    subjects: int = 0
    words: list[int] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    aus: Counter[int] = field(default_factory=Counter)
    no_aus: int = 0
    aus_per_sample: Counter[int] = field(default_factory=Counter)
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    emotions: Counter[str] = field(default_factory=Counter)
    without_label: int = 0
    unread: int = 0

    def word_figures(self) -> dict[str, float]:
        """Mean, median, least and most words of an answer; empty when no record has an answer."""
        if not self.words:
            return {}
        ordered = sorted(self.words)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        return {
            "mean": round(sum(ordered) / len(ordered), 2),
            "median": float(median),
            "min": float(ordered[0]),
            "max": float(ordered[-1]),
        }

    def co_occurrence(self) -> tuple[list[int], list[list[int]]]:
        """AU numbers, and the symmetric matrix of counts with each AU's own count on the diagonal."""
        numbers = sorted(self.aus)
        matrix = [[self.aus[a] if a == b else self.pairs[min(a, b), max(a, b)] for b in numbers] for a in numbers]
        return numbers, matrix

    def to_json(self) -> dict[str, Any]:
        numbers, matrix = self.co_occurrence()
        return {
            "file": self.file,
            "kind": self.kind,
            "task": self.task,
            "samples": self.samples,
            "images": self.images,
            "subjects": self.subjects,
            "words_per_answer": self.word_figures(),
            "sources": dict(sorted(self.sources.items())),
            "labels_from_answers": self.without_label,
            "labels_unread": self.unread,
            "aus": {str(au): self.aus[au] for au in numbers},
            "no_aus": self.no_aus,
            "aus_per_sample": {str(count): n for count, n in sorted(self.aus_per_sample.items())},
            "co_occurrence": {"aus": numbers, "counts": matrix},
            "emotions": dict(self.emotions.most_common()),
        }


def describe(path: Path | str, task: str | None = None) -> Figures:
    """Count one annotation file. Raises ``RecordError`` when it cannot be read."""
    path = Path(path)
    content = records.load_records(path)
    kinds = {"training" if records.is_training(record) else "evaluation" for record in content}
    figures = Figures(
        str(path), kinds.pop() if len(kinds) == 1 else "mixed", task or records.guess_task(content, path.name)
    )
    figures.samples = len(content)
    figures.images = len({record["image"] for record in content if isinstance(record.get("image"), str)})
    figures.subjects = len({str(record["subject"]) for record in content if record.get("subject") is not None})
    tasks: Counter[str | None] = Counter()
    for record in content:
        own = task or records.task_of(record, figures.task)
        tasks[own] += 1
        figures.sources[str(record.get("source", "unknown"))] += 1
        answer = records.answer_of(record)
        if answer.strip():
            figures.words.append(len(answer.split()))
        figures.without_label += "label" not in record
        if own == "au":
            _count_aus(figures, record, answer)
        elif own == "emotion":
            _count_emotion(figures, record, answer)
        else:
            figures.unread += 1
    if len(tasks) > 1:
        figures.task = " and ".join(sorted(str(name) for name in tasks if name))
    return figures


def _count_aus(figures: Figures, record: Mapping[str, Any], answer: str) -> None:
    try:
        active = sorted(set(records.parse_au_label(record["label"])))
    except ValueError:
        figures.unread += 1
        return
    except KeyError:
        reading = answers.read_aus(answer)
        if not reading.says_something:
            figures.unread += 1
            return
        active = sorted(reading.stated)
    figures.aus.update(active)
    figures.aus_per_sample[len(active)] += 1
    figures.no_aus += not active
    figures.pairs.update(combinations(active, 2))


def _count_emotion(figures: Figures, record: Mapping[str, Any], answer: str) -> None:
    name: str | None
    try:
        name = records.parse_emotion_label(record["label"])
    except ValueError:
        name = None
    except KeyError:
        name = answers.read_emotion(answer)
    if name is None:
        figures.unread += 1
    else:
        figures.emotions[name] += 1


def to_text(all_figures: Sequence[Figures]) -> str:
    """One table with the files side by side, then the label distributions of each."""
    rows: list[tuple[str, list[str]]] = [
        ("kind", [figures.kind for figures in all_figures]),
        ("task", [figures.task or "unknown" for figures in all_figures]),
        ("samples", [str(figures.samples) for figures in all_figures]),
        ("images", [str(figures.images) for figures in all_figures]),
        ("subjects", [str(figures.subjects or "-") for figures in all_figures]),
    ]
    for key in ("mean", "median", "min", "max"):
        values = [figures.word_figures().get(key) for figures in all_figures]
        rows.append((f"words per answer, {key}", ["-" if v is None else f"{v:g}" for v in values]))
    names = [Path(figures.file).name for figures in all_figures]
    widths = [max(len(name), *(len(cells[i]) for _, cells in rows)) for i, name in enumerate(names)]
    label_width = max(len(label) for label, _ in rows)
    lines = [" " * label_width + "  " + "  ".join(name.rjust(w) for name, w in zip(names, widths, strict=True))]
    for label, cells in rows:
        lines.append(
            label.ljust(label_width) + "  " + "  ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True))
        )
    for figures in all_figures:
        lines += ["", *_distribution(figures)]
    return "\n".join(lines)


def _distribution(figures: Figures) -> list[str]:
    lines = [f"{figures.file}:"]
    total = max(sum(figures.emotions.values()), 1)
    for name, count in figures.emotions.most_common():
        lines.append(f"  {name:<12} {count:>7}  {100 * count / total:5.1f}%")
    total = max(sum(figures.aus_per_sample.values()), 1)
    for au in sorted(figures.aus):
        label = f"AU{au} {AU_NAMES.get(au, '')}".strip()
        lines.append(f"  {label:<28} {figures.aus[au]:>7}  {100 * figures.aus[au] / total:5.1f}%")
    if figures.aus_per_sample:
        lines.append(f"  {'no AU active':<28} {figures.no_aus:>7}  {100 * figures.no_aus / total:5.1f}%")
        common = [f"AU{a}+AU{b} {count}" for (a, b), count in figures.pairs.most_common(5)]
        if common:
            lines.append(f"  most frequent pairs: {', '.join(common)}")
    if figures.without_label:
        lines.append(f"  {figures.without_label} records have no label and were read from their answers")
    if figures.unread:
        lines.append(f"  {figures.unread} records name no label that could be read")
    return lines
