"""The ablation's table: what the prior and its normalization bring, over several seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_faba.demo.report import NAMES, TASK_NAMES
from llava_faba.demo.settings import NO_PRIOR


def summarize(root: Path, results: dict[int, Any], variants: Sequence[str]) -> dict[str, Any]:
    """Write ablation.json and ablation.md from results (seed to task to model name to result), and print the table."""
    import faba_bench

    table: dict[str, Any] = {}
    for task in TASK_NAMES:
        table[task] = {}
        for name in (*variants, "majority", "random"):
            modes = [results[seed][task][name]["modes"]["reference"] for seed in results]
            row: dict[str, Any] = {key: [mode[key] for mode in modes] for key in ("s_re", "s_ge", "s_rege")}
            if name in variants and name != NO_PRIOR.name:
                row["gain"] = [
                    faba_bench.paired_bootstrap(results[s][task][name], results[s][task][NO_PRIOR.name])
                    for s in results
                ]
            table[task][name] = row
    text = _markdown(table, sorted(results))
    (root / "ablation.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    (root / "ablation.md").write_text(text, encoding="utf-8")
    print(text)
    return table


def _markdown(table: dict[str, Any], seeds: Sequence[int]) -> str:
    lines = []
    for task, title in TASK_NAMES.items():
        lines += [f"### {title}", ""]
        heads = [f"S_re, seed {seed}" for seed in seeds]
        lines.append(f"| model | {' | '.join(heads)} | mean S_re | mean REGE | gain over no prior [95%], per seed |")
        lines.append("|---|" + "---|" * (len(seeds) + 3))
        for name, row in table[task].items():
            values = " | ".join(f"{value:.1f}" for value in row["s_re"])
            gains = "; ".join(f"{g['value']:+.1f} [{g['low']:+.1f}, {g['high']:+.1f}]" for g in row.get("gain", []))
            means = f"{statistics.mean(row['s_re']):.1f} | {statistics.mean(row['s_rege']):.1f}"
            lines.append(f"| {NAMES[name]} | {values} | {means} | {gains} |")
        lines.append("")
    return "\n".join(lines)
