"""The report's plots as PNG, by matplotlib; importing this module without matplotlib is an ImportError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from faba_bench.files.atomic import replacing
from faba_bench.result import MODES


def write(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``per_label.png`` and, for emotions, one confusion matrix per mode; returns the paths."""
    written = [_bars(result, folder / "per_label.png")]
    for mode in MODES:
        confusion = result["modes"][mode].get("confusion")
        if confusion:
            written.append(_matrix(confusion, mode, folder / f"confusion_{mode}.png"))
    return written


def _bars(result: Mapping[str, Any], path: Path) -> Path:
    value = "f1" if result["task"] == "au" else "accuracy"
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, mode in enumerate(MODES):
        table = result["modes"][mode]["per_label"]
        heights = [100 * (row[value] or 0.0) for row in table.values()]
        axes.bar([index + 0.38 * number for index in range(len(table))], heights, width=0.36, label=mode)
    table = result["modes"]["strict"]["per_label"]
    prefix = "AU" if result["task"] == "au" else ""
    names = [f"{prefix}{label}\nn={row['support']}" for label, row in table.items()]
    axes.set_xticks([index + 0.19 for index in range(len(names))], names, fontsize=8)
    axes.set_ylim(0, 100)
    axes.set_ylabel("F1, percent" if value == "f1" else "accuracy, percent")
    axes.legend(frameon=False, ncols=2, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=160)
    return path


def _matrix(confusion: Mapping[str, Any], mode: str, path: Path) -> Path:
    figure = Figure(figsize=(7, 5.4), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion["counts"]]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(confusion["counts"]):
        for x, count in enumerate(row):
            axes.text(x, y, str(count), ha="center", va="center", color="white" if shares[y][x] > 0.6 else "black")
    axes.set_xticks(range(len(confusion["columns"])), confusion["columns"], rotation=35, ha="right")
    axes.set_yticks(range(len(confusion["rows"])), confusion["rows"])
    axes.set_xlabel(f"answer ({mode} mode)")
    axes.set_ylabel("label")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=160)
    return path
