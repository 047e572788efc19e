"""The page of one scored answers file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faba_bench import tables
from faba_bench.files.atomic import write_text
from faba_bench.protocol import load_protocol
from faba_bench.questions import QUESTIONS
from faba_bench.records import Files, Record, iterate_answers, load_annotations
from faba_bench.report import html, svg
from faba_bench.report.gallery import Card, gallery
from faba_bench.report.images import Landmarks, inside_folder, load_landmarks, picture
from faba_bench.result import MODES

_TITLES = (("s_re", "S_re"), ("s_ge", "S_ge"), ("s_rege", "REGE"))


@dataclass
class Texts:
    """What the report needs of the texts: lengths of all, the words of the samples that it shows."""

    lengths: list[float] = field(default_factory=list)
    reference_lengths: list[float] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    records: dict[str, Record] = field(default_factory=dict)


def write_report(
    result: Mapping[str, Any],
    path: Path | str,
    files: Sequence[Files],
    *,
    image_folder: Path | str | None = None,
    landmarks: Path | str | None = None,
    title: str | None = None,
    protocol: str | None = None,
    shown: int = 6,
) -> None:
    """Write one self-contained HTML page: scores, plots, warnings, and the `shown` worst and best samples.

    `files` are those that were scored, `protocol` the file when it was one of your own; `landmarks` is an npz
    file, see `faba_bench.report.images.load_landmarks`.
    """
    points = load_landmarks(landmarks) if landmarks is not None else None
    ranked = rank_samples(result)
    worst = ranked[:shown]
    best = ranked[shown:][::-1][:shown]
    wanted = {str(sample["question_id"]) for sample in [*worst, *best]}
    texts = collect_texts(protocol or result["protocol"], result["task"], files, wanted)
    folder = Path(image_folder) if image_folder is not None else None
    cards = {
        name: gallery([_card(result, sample, texts, folder, points) for sample in samples])
        for name, samples in (("Worst samples", worst), ("Best samples", best))
        if samples
    }
    sections = [
        html.Section("Scores", _headline(result)),
        *_folds(result),
        html.Section("Warnings", html.warnings(result["warnings"])),
        html.Section("Per label", _per_label(result)),
        *_confusion(result),
        *_label_scores(result),
        *_groups(result),
        html.Section("Answer length", _lengths(texts)),
        *(html.Section(name, _ranking_note() + markup) for name, markup in cards.items()),
        html.Section("Tables to copy", _copies(result)),
        html.Section("How this was scored", _method(result)),
    ]
    subtitle = f"{tables.title(result)} (protocol version {result['protocol_version']})"
    write_text(path, html.page(title or "FABA-Bench report", sections, subtitle=subtitle))


def write_plots(result: Mapping[str, Any], folder: Path | str) -> list[Path]:
    """Write the report's plots as SVG files, and as PNG where matplotlib is installed; returns the paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    plots = {"per_label": label_chart(result)}
    for mode in MODES:
        confusion = result["modes"][mode].get("confusion")
        if confusion:
            plots[f"confusion_{mode}"] = svg.heatmap(confusion["rows"], confusion["columns"], confusion["counts"])
    if (result.get("label_scores") or {}).get("reliability"):
        plots["reliability"] = reliability_chart(result)
    written = []
    for name, markup in plots.items():
        path = target / f"{name}.svg"
        write_text(path, markup + "\n")
        written.append(path)
    return written + _write_pngs(result, target)


def rank_samples(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Samples of the strict mode from worst to best: recognition (sample F1, or 0 and 1) plus ROUGE-L."""
    scored = [
        (sample_score(sample) + (sample["rouge_l"] or 0.0), index, sample)
        for index, sample in enumerate(result["modes"]["strict"]["samples"])
    ]
    return [sample for _, _, sample in sorted(scored, key=lambda item: item[:2])]


def sample_score(sample: Mapping[str, Any]) -> float:
    """Recognition of one sample in [0, 1]: F1 between two sets of AUs (1 for two empty ones), or 0 and 1."""
    parsed, target = sample["parsed"], sample["target"]
    if not isinstance(target, list):
        return float(parsed == target)
    total = len(set(parsed)) + len(set(target))
    return 2 * len(set(parsed) & set(target)) / total if total else 1.0


def collect_texts(protocol: str, task: str, files: Sequence[Files], wanted: set[str]) -> Texts:
    """Read the inputs once more; only the texts of `wanted` question ids are kept."""
    texts = Texts()
    for item in files:
        for record in load_annotations(item.annotations, task, load_protocol(protocol)):
            if record.reference is not None:
                texts.reference_lengths.append(float(len(record.reference.split())))
            if item.name(record.question_id) in wanted:
                texts.records[item.name(record.question_id)] = record
        aside: dict[str, Any] = {}
        for _, key, text in iterate_answers(item.answers, [], aside):
            if aside["cut"]:
                texts.cut.add(item.name(key))
            texts.lengths.append(float(len(text.split())))
            if item.name(key) in wanted:
                texts.answers[item.name(key)] = text
    return texts


def label_chart(result: Mapping[str, Any]) -> str:
    """Per-label bars of both modes in percent with the support under each label."""
    value = "f1" if result["task"] == "au" else "accuracy"
    bodies = {mode: result["modes"][mode]["per_label"] for mode in MODES}
    labels = list(bodies["strict"])
    series = {
        mode: [None if row[label][value] is None else 100 * row[label][value] for label in labels]
        for mode, row in bodies.items()
    }
    shown = [f"AU{label}" if result["task"] == "au" else label for label in labels]
    support = [f"n={bodies['strict'][label]['support']}" for label in labels]
    return svg.bar_chart(shown, series, top=100, notes=support, y_label=f"{_value_name(result)}, percent")


def _headline(result: Mapping[str, Any]) -> str:
    items = []
    for mode in MODES:
        body = result["modes"][mode]
        for key, name in _TITLES:
            bounds = body.get(f"{key}_ci")
            detail = f"95% {tables.number(bounds[0])} to {tables.number(bounds[1])}" if bounds else "no interval"
            shown = f"{name} ({tables.measure(result)})" if key == "s_re" else name
            items.append((f"{shown}, {mode}", tables.number(body[key]), detail))
    remark = (
        "REGE = S_re + S_ge. The reference mode reproduces the authors' scorer and compares with published "
        "numbers; the strict mode is the careful reading."
    )
    return (
        html.tiles(items, key="REGE")
        + html.note(" ".join([remark, tables.noise_note(result)]))
        + html.table(*tables.count_rows(result))
    )


def _folds(result: Mapping[str, Any]) -> list[html.Section]:
    if "folds" not in result:
        return []
    remark = (
        "Each fold was scored apart; the scores above are the means of the folds', not those of the pooled samples."
    )
    return [html.Section("Folds", html.note(remark) + html.table(*tables.fold_rows(result)))]


def _per_label(result: Mapping[str, Any]) -> str:
    caption = f"{_value_name(result)} per label; n is the number of samples with the label. A dash has no value."
    return html.figure(label_chart(result), caption=caption) + html.table(*tables.label_rows(result))


def _confusion(result: Mapping[str, Any]) -> list[html.Section]:
    if "confusion" not in result["modes"]["strict"]:
        return []
    parts = []
    for mode in MODES:
        matrix = result["modes"][mode]["confusion"]
        chart = svg.heatmap(matrix["rows"], matrix["columns"], matrix["counts"])
        parts.append(html.figure(chart, caption=f"{mode} mode; shade is the share of the row"))
    return [html.Section("Confusion matrix", "".join(parts))]


def reliability_chart(result: Mapping[str, Any]) -> str:
    """How often labels were true against how likely the scores said they were."""
    curve = result["label_scores"]["reliability"]
    return svg.line_chart(
        {"scores": (curve["mean_score"], curve["share_true"]), "perfect": ([0.0, 1.0], [0.0, 1.0])},
        x_label="mean score of the bin",
        y_label="share that is true",
        from_zero=True,
    )


def _label_scores(result: Mapping[str, Any]) -> list[html.Section]:
    if not result.get("label_scores"):
        return []
    parts = [html.table(*tables.score_rows(result))]
    if "reliability" in result["label_scores"]:
        counts = result["label_scores"]["reliability"]["count"]
        caption = f"All labels, ten bins; scores per bin: {', '.join(map(str, counts))}."
        parts.insert(0, html.figure(reliability_chart(result), caption=caption))
    return [html.Section("Scores per label", "".join(parts))]


def _groups(result: Mapping[str, Any]) -> list[html.Section]:
    remark = (
        "The largest gap is between the two groups farthest apart; groups marked as too small are left out of it. The "
        "two were picked for being apart, so its interval says how sure the difference is, not that it was expected."
    )
    return [
        html.Section(f"Groups: {field}", html.note(remark) + html.table(*tables.group_rows(result, field)))
        for field in result.get("groups", ())
    ]


def _lengths(texts: Texts) -> str:
    series = {"answers": texts.lengths}
    if texts.reference_lengths:
        series["reference texts"] = texts.reference_lengths
    rows = []
    for name, values in series.items():
        ordered = sorted(values) or [0.0]
        quarter = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.0, 0.5, 0.9, 1.0)]
        mean = sum(ordered) / len(ordered)
        rows.append([name, str(len(values)), f"{mean:.1f}", *(f"{value:.0f}" for value in quarter)])
    chart = svg.histogram(series, x_label="length in words", y_label="texts")
    told = (
        html.note(f"{len(texts.cut)} of {len(texts.lengths)} answers were cut by the token limit.") if texts.cut else ""
    )
    return (
        told
        + html.figure(chart)
        + html.table(["", "texts", "mean words", "shortest", "median", "90%", "longest"], rows)
    )


def _card(
    result: Mapping[str, Any],
    sample: Mapping[str, Any],
    texts: Texts,
    folder: Path | None,
    points: Landmarks | None,
) -> Card:
    key = str(sample["question_id"])
    record = texts.records.get(key)
    image = record.image if record else None
    shape = points.points.get(image) if points and image else None
    status = points.status.get(image) if points and image else None
    found = status is None or status == "found"
    path = inside_folder(folder, image) if folder and image else None
    shown = picture(path, shape if found else None, image or "") if path else None
    reference_sample = next(row for row in result["modes"]["reference"]["samples"] if str(row["question_id"]) == key)
    facts = [
        ("label", labels_text(sample["target"])),
        ("parsed, strict", _parsed_text(sample)),
        ("parsed, reference", labels_text(reference_sample["parsed"])),
        *_faults(sample),
        ("ROUGE-L, strict", "none" if sample["rouge_l"] is None else f"{100 * sample['rouge_l']:.1f}"),
    ]
    if status is not None:
        facts.append(("landmarks", status))
    if key in texts.cut:
        facts.append(("answer", "cut by the token limit"))
    answer = texts.answers.get(key)
    written = [
        ("question", QUESTIONS[result["task"]]),
        ("answer", "(missing)" if answer is None else answer),
        ("reference", (record.reference if record else None) or "(none)"),
    ]
    missing = f"not shown: {image}" if image else "no image in the record"
    return Card(f"{key} · {image or 'no image'}", shown, missing, facts, written)


def _parsed_text(sample: Mapping[str, Any]) -> str:
    shown = labels_text(sample["parsed"])
    return shown if sample["evidence"] == shown else f"{shown} ({sample['evidence']})"


def _faults(sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    parsed, target = sample["parsed"], sample["target"]
    if not isinstance(target, list):
        return []
    faults = {
        "missed": [number for number in target if number not in parsed],
        "false": [number for number in parsed if number not in target],
    }
    return [(name, labels_text(numbers)) for name, numbers in faults.items() if numbers]


def labels_text(value: Any) -> str:
    """A parsed or target value for people."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return ", ".join(f"AU{number}" for number in value) or "no AU"
    return str(value)


def _ranking_note() -> str:
    return html.note("Ranked by strict recognition of the sample plus its ROUGE-L.")


def _copies(result: Mapping[str, Any]) -> str:
    return html.details("Markdown", html.preformatted(tables.markdown_document(result))) + html.details(
        "LaTeX", html.preformatted(tables.latex_document(result))
    )


def _method(result: Mapping[str, Any]) -> str:
    measure = "the mean F1 over the scored AUs" if result["task"] == "au" else "accuracy"
    means = ", averaged over the folds," if "folds" in result else ""
    return html.note(
        f"S_re is {measure}{means or ','} S_ge the mean ROUGE-L F against the reference text, both in percent. "
        f"Intervals are 95% percentile bootstrap intervals over {tables.drawn(result)}, {result['bootstrap']} "
        f"resamples, seed {result['seed']}."
    )


def _value_name(result: Mapping[str, Any]) -> str:
    return "F1" if result["task"] == "au" else "Accuracy"


def _write_pngs(result: Mapping[str, Any], folder: Path) -> list[Path]:
    try:
        plot = importlib.import_module("faba_bench.report.png")
    except ImportError:
        return []
    written: list[Path] = plot.write(result, folder)
    return written
