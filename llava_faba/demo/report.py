"""The demo's result: the REGE table on the terminal, report.json, and one page with curves and faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llava_faba.demo.settings import EMOLA, NO_PRIOR, DemoSettings

NAMES = {
    "emola": "EmoLA (pose removed, standardized)",
    "emola_standardized": "EmoLA (standardized)",
    "emola_raw": "EmoLA (raw prior, as the paper)",
    "no_prior": "plain LLaVA (no prior)",
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


def write_report(settings: DemoSettings, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write report.json and report.html from the scorer's results (task to model name to result)."""
    report = summary(results)
    report["settings"] = {"seed": settings.seed, "n_train": settings.n_train, "epochs": settings.epochs}
    (settings.root / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (settings.root / "report.html").write_text(_page(settings, report, results), encoding="utf-8")
    return report


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
        try:
            gain = faba_bench.paired_bootstrap(by_model[EMOLA.name], by_model[NO_PRIOR.name], metric="s_re")
        except faba_bench.ResultError:  # no answer of one model could be read: nothing to compare
            gain = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
        report[task]["gain_over_no_prior"] = gain
    return report


def print_table(report: dict[str, Any]) -> None:
    """The REGE table, for a terminal."""
    for task, title in TASK_NAMES.items():
        print(f"\n{title:<36}{'S_re':>7}  {'95% interval':<16}{'S_ge':>7}{'REGE':>8}")
        for row in _rows(report[task]):
            print(f"  {row[0]:<34}{row[1]:>7}  {row[2]:<16}{row[3]:>7}{row[4]:>8}")
        gain = report[task]["gain_over_no_prior"]
        print(
            f"  gain of the prior in S_re: {gain['value']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}] "
            "(paired bootstrap)"
        )


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


def _page(settings: DemoSettings, report: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    from faba_bench.report import html, svg

    from llava_faba.model.checkpoints import inspect_checkpoint

    sections = []
    for task, title in TASK_NAMES.items():
        gain = report[task]["gain_over_no_prior"]
        table = html.table(["model", "S_re", "95% interval", "S_ge", "REGE"], _rows(report[task]))
        remark = html.note(
            f"Gain of the prior in S_re: {gain['value']:+.1f} points, 95% interval {gain['low']:+.1f} to "
            f"{gain['high']:+.1f} (paired bootstrap over {_drawn(report[task]['intervals'])}, reference mode)."
        )
        sections.append(html.Section(title, table + remark))
    chart = svg.line_chart(_curves(settings), x_label="training step", y_label="loss")
    sections.append(html.Section("Training", html.figure(chart, caption="Loss, logged every 10 steps")))
    for task in TASK_NAMES:
        sections.append(html.Section(f"Test faces: {TASK_NAMES[task]}", _gallery(settings, task, results[task])))
    millions = inspect_checkpoint(settings.base).parameters() / 1e6
    return html.page("EmoLA demo", sections, subtitle=_NOTE.format(millions=millions))


def _curves(settings: DemoSettings) -> dict[str, tuple[list[float], list[float]]]:
    curves = {}
    for variant in (EMOLA, NO_PRIOR):
        state = _read_json(settings.adapter(variant) / "trainer_state.json")
        points = [(entry["step"], entry["loss"]) for entry in state["log_history"] if "loss" in entry]
        curves[NAMES[variant.name]] = ([float(x) for x, _ in points], [float(y) for _, y in points])
    return curves


def _gallery(settings: DemoSettings, task: str, results: dict[str, Any]) -> str:
    from faba_bench.questions import QUESTIONS
    from faba_bench.report import gallery, images

    from llava_faba.experts import create_expert
    from llava_faba.priors.store import PriorStore
    from llava_faba.records.questions import read_jsonl

    records = _read_json(settings.data / f"eval_{task}_anno.json")
    answers = {
        variant.name: {str(line["question_id"]): line["text"] for line in read_jsonl(settings.answers(variant))}
        for variant in (EMOLA, NO_PRIOR)
    }
    samples = {str(s["question_id"]): s for s in results[EMOLA.name]["modes"]["reference"]["samples"]}
    store = PriorStore.open(settings.priors)
    expert = create_expert(store.expert, store.settings)
    cards = []
    for record in records[:: max(1, len(records) // _GALLERY)][:_GALLERY]:
        key = str(record["id"])
        side = settings.size.image
        points = expert.landmarks(store.get(record["image"]), (side, side))
        cards.append(
            gallery.Card(
                title=record["image"],
                picture=images.picture(settings.data / record["image"], points, alt=f"test face {key}"),
                facts=[
                    ("label", record["label"]),
                    ("EmoLA", _shown(samples[key]["parsed"])),
                    ("prior", store.status(record["image"])),
                ],
                texts=[
                    ("question", QUESTIONS[task]),
                    ("EmoLA", answers[EMOLA.name][key]),
                    ("no prior", answers[NO_PRIOR.name][key]),
                    ("reference", record["gpt4"]),
                ],
            )
        )
    return gallery.gallery(cards)


def _shown(parsed: Any) -> str:
    if parsed is None:
        return "unparsed"
    return ", ".join(str(value) for value in parsed) if isinstance(parsed, list) else str(parsed)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
