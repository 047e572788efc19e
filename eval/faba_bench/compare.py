"""Results side by side: scores with intervals, paired differences, and published figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.bootstrap import METRICS, check_draws, detectable, interval, paired_draws
from faba_bench.clusters import OnePerson
from faba_bench.errors import ResultError
from faba_bench.files.atomic import write_text
from faba_bench.result import MODES, check_comparable, load_result
from faba_bench.tables import latex_table, markdown_table, noise_note, number, text_table, with_interval

if TYPE_CHECKING:
    from faba_bench.report import html

_TITLES = {"s_re": "S_re", "s_ge": "S_ge", "s_rege": "REGE"}


def compare_files(
    paths: Sequence[Path | str],
    *,
    names: Sequence[str] | None = None,
    published: bool = True,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Load result files and compare them: see `compare`.  Names default to file names without suffix."""
    if names is not None and len(names) != len(paths):
        raise ResultError(f"{len(names)} names for {len(paths)} results")
    shown = list(names) if names is not None else _file_names([Path(path) for path in paths])
    results = [load_result(path) for path in paths]
    return compare(dict(zip(shown, results, strict=True)), published=published, samples=samples, seed=seed)


def compare(
    results: Mapping[str, Mapping[str, Any]], *, published: bool = True, samples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compare results of the same task, protocol and samples; the first is the baseline.

    Returns "task", "protocol", "n", "cluster" (the field whose values were resampled, None for samples), "rows" (name,
    and per mode the scores, their intervals and "difference": {metric: {"value", "low", "high", "detectable"}} to the
    first, in percentage points) and "published" (name and the authors' figures, which have no samples and so neither
    intervals nor differences).  "detectable" is the smallest true difference that these samples show in four of five
    cases (`faba_bench.bootstrap.detectable`).
    """
    check_draws(samples, seed, least=1)
    if not results:
        raise ResultError("nothing to compare")
    names = list(results)
    first = results[names[0]]
    for name, result in results.items():
        if (result["task"], result["protocol"]) != (first["task"], first["protocol"]):
            raise ResultError(
                f"{name} is task {result['task']}, protocol {result['protocol']}; "
                f"{names[0]} is task {first['task']}, protocol {first['protocol']}"
            )
    for name in names[1:]:
        check_comparable(first, results[name])
    rows = [_row(name, results[name], None if index == 0 else first, samples, seed) for index, name in enumerate(names)]
    return {
        "task": first["task"],
        "protocol": first["protocol"],
        "n": first["n"],
        "cluster": next((result["cluster"] for result in results.values() if result.get("cluster")), None),
        "baseline": names[0],
        "rows": rows,
        "published": published_rows(first["task"], first["protocol"]) if published else [],
    }


def published_rows(task: str, protocol: str) -> list[dict[str, Any]]:
    """Figures that the authors reported for this task and protocol (reference scorer)."""
    data = json.loads(resources.files("faba_bench").joinpath("published.json").read_text(encoding="utf-8"))
    return [row for row in data["rows"] if (row["task"], row["protocol"]) == (task, protocol)]


def field_figures() -> list[dict[str, Any]]:
    """The literature's figures: "name", "protocol", "task", "metric", "value", "source", "date", "split", "conditions",
    "flags" ("quoted": not read in the source itself)."""
    data = json.loads(resources.files("faba_bench").joinpath("published.json").read_text(encoding="utf-8"))
    return list(data["field"])


def comparison_rows(comparison: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each result in both modes, then the published figures, labelled as such."""
    header = ["model", "mode", *_TITLES.values(), *(f"Δ {title}" for title in _TITLES.values())]
    rows = []
    for row in comparison["rows"]:
        for mode in MODES:
            body = row["modes"][mode]
            cells = [with_interval(body, metric) for metric in METRICS]
            rows.append(
                [
                    row["name"],
                    mode,
                    *cells,
                    *(_difference(body["difference"].get(metric)) for metric in METRICS),
                ]
            )
    for row in comparison["published"]:
        rows.append([row["name"], "reference", *(number(row[metric]) for metric in METRICS), "", "", ""])
    return header, rows


def remarks(comparison: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the rows: what the differences are, and whose the published figures are."""
    found = []
    if len(comparison["rows"]) > 1:
        over = f"values of {comparison['cluster']!r}" if comparison["cluster"] else "samples"
        found.append(
            f"Δ: difference to {comparison['baseline']} in percentage points with its 95% interval, paired bootstrap "
            f"over the same {over}; * excludes 0."
        )
        found += _detectable(comparison)
    if noise_note(comparison):
        found.append(noise_note(comparison))
    if comparison["published"]:
        found.append("Rows marked (published) are the authors' own figures and were not computed here.")
        sizes = sorted({row["n"] for row in comparison["published"]} - {comparison["n"]})
        if sizes:
            found.append(
                f"They are of {' or '.join(map(str, sizes))} samples and these results of {comparison['n']}: "
                "another test set, so the numbers do not compare."
            )
    return found


def _detectable(comparison: Mapping[str, Any]) -> list[str]:
    """The smallest differences that these samples could show, for each pair of results."""
    found = []
    for row in comparison["rows"][1:]:
        parts = []
        for mode in MODES:
            sizes = {
                _TITLES[metric]: difference["detectable"]
                for metric, difference in row["modes"][mode]["difference"].items()
                if difference["detectable"] is not None
            }
            if sizes:
                parts.append(f"{mode} " + ", ".join(f"{title} {size:.1f}" for title, size in sizes.items()))
        if parts:
            found.append(
                f"Smallest difference of {row['name']} to {comparison['baseline']} that this test set could show (5% "
                f"level, 80% power), in points: {'; '.join(parts)}."
            )
    return found


def render(comparison: Mapping[str, Any], form: str = "text") -> str:
    """The comparison as "text", "markdown", "latex" or "json"."""
    if form == "json":
        return json.dumps(comparison, indent=1)
    header, rows = comparison_rows(comparison)
    if form == "markdown":
        return "\n\n".join([markdown_table(header, rows), *remarks(comparison)])
    if form == "latex":
        notes = [f"% {remark}" for remark in remarks(comparison)]
        return "\n".join([*notes, latex_table(header, rows).replace("Δ", r"$\Delta$")])
    title = f"task {comparison['task']}, protocol {comparison['protocol']}, {comparison['n']} samples"
    return "\n".join([title, "", text_table(header, rows), "", *remarks(comparison)])


def write_comparison(comparison: Mapping[str, Any], path: Path | str) -> None:
    """Write the comparison as a self-contained HTML page."""
    from faba_bench.report import html, svg

    header, rows = comparison_rows(comparison)
    names = [row["name"] for row in comparison["rows"]] + [row["name"] for row in comparison["published"]]
    bodies = [row["modes"]["reference"] for row in comparison["rows"]] + list(comparison["published"])
    series = {_TITLES[metric]: [body[metric] for body in bodies] for metric in METRICS}
    whiskers = {_TITLES[metric]: [body.get(f"{metric}_ci") for body in bodies] for metric in METRICS}
    marks = [str(index + 1) for index in range(len(names))]
    key = "; ".join(f"{mark}: {name}" for mark, name in zip(marks, names, strict=True))
    chart = svg.bar_chart(marks, series, intervals=whiskers, y_label="reference mode, percent")
    title = f"FABA-Bench: {comparison['task']} on {comparison['protocol']}"
    text = html.page(
        title,
        [
            html.Section(
                "Scores", html.table(header[:5], [row[:5] for row in rows]) + html.note(" ".join(remarks(comparison)))
            ),
            *_difference_section(header, rows),
            html.Section("Reference mode", html.figure(chart, caption=key)),
        ],
        subtitle=f"{len(comparison['rows'])} models, {comparison['n']} samples",
    )
    write_text(path, text)


def _difference_section(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[html.Section]:
    from faba_bench.report import html

    different = [[*row[:2], *row[5:]] for row in rows if any(row[5:])]
    if not different:
        return []
    return [html.Section("Differences, percentage points", html.table([*header[:2], *header[5:]], different))]


def _row(
    name: str, result: Mapping[str, Any], baseline: Mapping[str, Any] | None, samples: int, seed: int
) -> dict[str, Any]:
    modes: dict[str, Any] = {}
    for mode in MODES:
        body = result["modes"][mode]
        kept = {key: body.get(key) for metric in METRICS for key in (metric, f"{metric}_ci")}
        kept["difference"] = {}
        for metric in METRICS:
            if baseline is None or body[metric] is None or baseline["modes"][mode][metric] is None:
                continue
            kept["difference"][metric] = _paired(result, baseline, mode, metric, samples, seed)
        modes[mode] = kept
    return {"name": name, "modes": modes}


def _paired(
    result: Mapping[str, Any], baseline: Mapping[str, Any], mode: str, metric: str, samples: int, seed: int
) -> dict[str, float | None]:
    try:
        value, drawn = paired_draws(result, baseline, mode=mode, metric=metric, samples=samples, seed=seed)
    except OnePerson:
        value = result["modes"][mode][metric] - baseline["modes"][mode][metric]
        return {"value": value, "low": None, "high": None, "detectable": None}
    low, high = interval(drawn) or (None, None)
    return {"value": value, "low": low, "high": high, "detectable": detectable(drawn)}


def _difference(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    if found["low"] is None:
        return f"{found['value']:+.2f} [no interval]"
    star = "*" if found["low"] > 0 or found["high"] < 0 else ""
    return f"{found['value']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]{star}"


def _file_names(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    whole = [str(path) for path in paths]
    if len(set(whole)) != len(whole):
        raise ResultError("the same result file is given twice")
    return whole
