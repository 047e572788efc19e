"""The table that a recipe ends in: ``python -m llava_faba.recipe.table OUT --results DIR... --names NAME...``.

Results of one task and protocol stand together, beside the published rows, with paired differences to the first of
them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench.bootstrap import paired_bootstrap
from faba_bench.compare import METRICS, compare, field_figures, render, write_comparison
from faba_bench.console.program import run
from faba_bench.errors import ResultError
from faba_bench.files.atomic import write_json, write_text
from faba_bench.result import load_result

from llava_faba.errors import UserError

_MODES = ("reference", "strict")


def main() -> int:
    """Read the results; write report.json, report.md, report.txt and a page a table. Returns the exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("out", type=Path)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="folders of score steps")
    parser.add_argument("--names", nargs="+", required=True, help="a name each, or one for each run of so many")
    parser.add_argument("--title", default="")
    args = parser.parse_args()
    return run("recipe table", lambda: _write(args), errors=(UserError,))


def _write(args: argparse.Namespace) -> int:
    runs = len(args.results) // len(args.names)
    if runs * len(args.names) != len(args.results):
        raise UserError(f"{len(args.names)} names for {len(args.results)} results")
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for index, folder in enumerate(args.results):
        result = load_result(folder / "result.json")
        name = args.names[index // runs] + (f", run {index % runs + 1}" if runs > 1 else "")
        group = groups.setdefault((result["task"], result["protocol"]), {})
        if name in group:
            raise UserError(f"two results of task {result['task']} are called '{name}'")
        group[name] = result
    tables = [compare(group) for group in groups.values()]
    means = [_means(args.names, group) for group in groups.values()] if runs > 1 else []
    field = [_field(task, protocol) for task, protocol in groups]
    write_json(args.out / "report.json", {"title": args.title, "tables": tables, "means": means, "field": field})
    for form, suffix in (("markdown", "md"), ("text", "txt")):
        parts = [render(table, form) for table in tables]
        parts += [_field_text(rows) for rows in field if rows]
        parts += [_means_text(mean) for mean in means]
        head = f"# {args.title}" if form == "markdown" else args.title
        write_text(args.out / f"report.{suffix}", "\n\n".join([head, *parts]) + "\n")
    for table in tables:
        write_comparison(table, args.out / f"{table['task']}.html")
    return 0


def _field(task: str, protocol: str) -> list[dict[str, Any]]:
    """The literature's figures of this task and protocol, but for those of single AUs."""
    wanted = [row for row in field_figures() if (row["task"], row["protocol"]) == (task, protocol)]
    return [row for row in wanted if row["metric"] in METRICS]


def _field_text(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["Published figures, none computed here (faba-bench published: source, split and conditions of each)", ""]
    for row in rows:
        flags = f" ({', '.join(row['flags'])})" if row["flags"] else ""
        lines.append(f"- {row['name']}: {row['metric']} {row['value']:.1f}{flags}, {row['split']}, {row['date']}")
    return "\n".join(lines)


def _means(names: Sequence[str], group: dict[str, Any]) -> dict[str, Any]:
    """Of each model: S_re's mean, lowest and highest over its runs, and the gain of each run over the first model's."""
    means: dict[str, Any] = {}
    first = None
    for name in dict.fromkeys(names):
        runs = [result for key, result in group.items() if key.startswith(f"{name}, run ")]
        if not runs:
            continue
        means[name] = {
            mode: {"mean": statistics.mean(values), "low": min(values), "high": max(values), "runs": len(values)}
            for mode in _MODES
            if (values := [r["modes"][mode]["s_re"] for r in runs if r["modes"][mode]["s_re"] is not None])
        }
        if first is None:
            first = runs
            continue
        means[name]["gains"] = [_gain(one, other) for one, other in zip(runs, first, strict=True)]
    return means


def _gain(one: Any, other: Any) -> dict[str, float] | None:
    try:
        return paired_bootstrap(one, other, metric="s_re")
    except ResultError:  # no answer of one of them could be read
        return None


def _means_text(means: dict[str, Any]) -> str:
    names = list(means)
    lines = [f"S_re over runs: mean [lowest, highest]; gain of each run over {names[0]}'s [95%], reference mode", ""]
    for name, found in means.items():
        values = {mode: found[mode] for mode in _MODES if mode in found}
        parts = [f"{mode} {m['mean']:.2f} [{m['low']:.2f}, {m['high']:.2f}]" for mode, m in values.items()]
        gains = [
            "none to tell" if g is None else f"{g['value']:+.1f} [{g['low']:+.1f}, {g['high']:+.1f}]"
            for g in found.get("gains", [])
        ]
        lines.append(f"- {name}: {'; '.join(parts) or 'no value'}" + (f"; gains {'; '.join(gains)}" if gains else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
