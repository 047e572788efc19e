"""The demo's result: the REGE table on the terminal, report.json, and one page with curves and faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import read_json

from llava_faba.demo.base import BaseSize

EMOLA, NO_PRIOR = "emola", "no_prior"
NAMES = {
    EMOLA: "EmoLA (pose removed, standardized)",
    NO_PRIOR: "plain LLaVA (no prior)",
    "majority": "floor: one constant answer",
    "random": "floor: a random training answer",
}
TASK_NAMES = {"au": "Action units (F1)", "emotion": "Emotion (accuracy)"}
_GALLERY = 12
_NOTE = (
    "A demo: two public-domain portraits, warped and varied by a program, and a LLaVA of {millions:.1f} million "
    "parameters trained in minutes. The numbers show that the whole chain works and what a facial prior adds here; "
    "they say nothing about EmoLA-7B on FABA-Instruct."
)


@dataclass(frozen=True)
class Made:
    """Where the demo's steps have left what the report shows; ``checkpoints`` and ``answers`` by model name."""

    data: Path
    priors: Path
    base: Path
    checkpoints: Mapping[str, Path]
    answers: Mapping[str, Path]


def score(made: Made, seed: int) -> dict[str, dict[str, Any]]:
    """FABA-Bench results: task to model (and floor) name to the scorer's output. ``seed``: of the random floor."""
    import faba_bench

    from llava_faba.demo.floors import majority_answers, random_answers
    from llava_faba.records.questions import read_jsonl

    results: dict[str, dict[str, Any]] = {}
    people = read_json(made.data / "identities.json")["images"]
    for task in TASK_NAMES:
        train = read_json(made.data / f"train_{task}_anno.json")
        evaluation = [
            {**record, "subject": people[record["image"]]["identity"]}
            for record in read_json(made.data / f"eval_{task}_anno.json")
        ]
        ids = {str(record["id"]) for record in evaluation}
        answers = {
            name: [line for line in read_jsonl(file) if str(line["question_id"]) in ids]
            for name, file in made.answers.items()
        }
        answers["majority"] = majority_answers(train, evaluation, task)
        answers["random"] = random_answers(train, evaluation, seed)
        results[task] = {name: faba_bench.score(task, "faba", evaluation, lines) for name, lines in answers.items()}
    return results


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of report.json: per task and model the reference-mode scores, and what the prior gains."""
    import faba_bench

    report: dict[str, Any] = {}
    for task, by_model in results.items():
        report[task] = {}
        for name, result in by_model.items():
            mode = result["modes"]["reference"]
            report[task][name] = {key: mode[key] for key in ("s_re", "s_ge", "s_rege", "s_re_ci")}
            report[task][name]["n"] = result["n"]
            report[task]["intervals"] = {key: result[key] for key in ("n", "cluster", "n_clusters")}
        gain: Mapping[str, float | None]
        try:
            gain = faba_bench.paired_bootstrap(by_model[EMOLA], by_model[NO_PRIOR], metric="s_re")
        except faba_bench.ResultError:  # no answer of one model could be read: nothing to compare
            gain = {"value": None, "low": None, "high": None}
        report[task]["gain_over_no_prior"] = gain
    return report


def terminal_table(report: dict[str, Any]) -> str:
    """The REGE table, for a terminal."""
    lines = []
    for task, title in TASK_NAMES.items():
        lines += ["", f"{title:<36}{'S_re':>7}  {'95% interval':<16}{'S_ge':>7}{'REGE':>8}"]
        lines += [f"  {row[0]:<34}{row[1]:>7}  {row[2]:<16}{row[3]:>7}{row[4]:>8}" for row in _rows(report[task])]
        gain = report[task]["gain_over_no_prior"]
        lines.append(f"  gain of the prior in S_re: {_gain(gain)} (paired bootstrap)")
    return "\n".join(lines) + "\n"


def _gain(gain: Mapping[str, float | None]) -> str:
    if gain["value"] is None:
        return "none to tell: of one model no answer could be read"
    return f"{gain['value']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}]"


def _drawn(intervals: dict[str, Any]) -> str:
    records = f"{intervals['n']} test records"
    return f"the {intervals['n_clusters']} made-up people of {records}" if intervals["cluster"] else records


def _rows(scores: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, values in scores.items():
        if name in NAMES:
            interval = values["s_re_ci"]
            shown = f"[{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "-"
            numbers = ["-" if values[key] is None else f"{values[key]:.1f}" for key in ("s_re", "s_ge", "s_rege")]
            rows.append([NAMES[name], numbers[0], shown, numbers[1], numbers[2]])
    return rows


def page(made: Made, report: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    """The page: tables, training curves, and test faces with their answers."""
    from faba_bench.report import html, svg

    from llava_faba.model.checkpoints import inspect_checkpoint

    sections = []
    for task, title in TASK_NAMES.items():
        gain = report[task]["gain_over_no_prior"]
        table = html.table(["model", "S_re", "95% interval", "S_ge", "REGE"], _rows(report[task]))
        remark = html.note(
            f"Gain of the prior in S_re: {_gain(gain)} points with its 95% interval "
            f"(paired bootstrap over {_drawn(report[task]['intervals'])}, reference mode)."
        )
        sections.append(html.Section(title, table + remark))
    chart = svg.line_chart(_curves(made), x_label="training step", y_label="loss")
    sections.append(html.Section("Training", html.figure(chart, caption="Loss, logged every 10 steps")))
    for task in TASK_NAMES:
        sections.append(html.Section(f"Test faces: {TASK_NAMES[task]}", _gallery(made, task, results[task])))
    millions = inspect_checkpoint(made.base).parameters() / 1e6
    return html.page("EmoLA demo", sections, subtitle=_NOTE.format(millions=millions))


def _curves(made: Made) -> dict[str, tuple[list[float], list[float]]]:
    curves = {}
    for name, folder in made.checkpoints.items():
        state = read_json(folder / "trainer_state.json")
        points = [(entry["step"], entry["loss"]) for entry in state["log_history"] if "loss" in entry]
        curves[NAMES[name]] = ([float(x) for x, _ in points], [float(y) for _, y in points])
    return curves


def _gallery(made: Made, task: str, results: dict[str, Any]) -> str:
    from faba_bench.questions import QUESTIONS
    from faba_bench.report import gallery, images

    from llava_faba.experts import create_expert
    from llava_faba.priors.store import PriorStore
    from llava_faba.records.questions import read_jsonl

    records = read_json(made.data / f"eval_{task}_anno.json")
    answers = {
        name: {str(line["question_id"]): line["text"] for line in read_jsonl(file)}
        for name, file in made.answers.items()
    }
    samples = {str(s["question_id"]): s for s in results[EMOLA]["modes"]["reference"]["samples"]}
    store = PriorStore.open(made.priors)
    expert = create_expert(store.expert, store.settings)
    cards = []
    for record in records[:: max(1, len(records) // _GALLERY)][:_GALLERY]:
        key = str(record["id"])
        side = BaseSize().image
        points = expert.landmarks(store.get(record["image"]), (side, side))
        cards.append(
            gallery.Card(
                title=record["image"],
                picture=images.picture(made.data / record["image"], points, alt=f"test face {key}"),
                facts=[
                    ("label", record["label"]),
                    ("EmoLA", _shown(samples[key]["parsed"])),
                    ("prior", store.status(record["image"])),
                ],
                texts=[
                    ("question", QUESTIONS[task]),
                    ("EmoLA", answers[EMOLA][key]),
                    ("no prior", answers[NO_PRIOR][key]),
                    ("reference", record["gpt4"]),
                ],
            )
        )
    return gallery.gallery(cards)


def _shown(parsed: Any) -> str:
    if parsed is None:
        return "unparsed"
    return ", ".join(str(value) for value in parsed) if isinstance(parsed, list) else str(parsed)
