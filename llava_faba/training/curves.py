"""The curves of a run as one picture: loss and, where there was validation, REGE and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.files.atomic import replacing

from llava_faba.packages import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "curves.png"


def draw_curves(history: Sequence[Mapping[str, Any]], folder: Path) -> Path | None:
    """Write ``curves.png`` from a trainer's ``log_history``; returns its path, None when there is nothing to draw.

    Without matplotlib it says so and returns None: a finished training must not fail for a picture.
    """
    losses = _series(history, "loss")
    if not losses[0]:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print(f"{folder / FILE} was not drawn, for want of matplotlib: {install_command('data')}")
        return None
    scores = {mode: _series(history, f"eval_{mode}_rege") for mode in ("strict", "reference")}
    validated = any(steps for steps, _ in scores.values())
    picture = Figure(figsize=(7, 6 if validated else 3.5), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(2 if validated else 1, 1, squeeze=False, sharex=True)[:, 0]
    axes[0].plot(*losses, color="#4c72b0", linewidth=1)
    axes[0].set(ylabel="training loss")
    if validated:
        _draw_scores(axes[1], scores)
    axes[-1].set(xlabel="step")
    with replacing(folder / FILE) as partial:
        picture.savefig(partial, format="png", dpi=120)
    return folder / FILE


def _draw_scores(axes: Axes, scores: Mapping[str, tuple[list[int], list[float]]]) -> None:
    for (mode, series), style in zip(scores.items(), ("-", "--"), strict=True):
        axes.plot(*series, style, marker="o", markersize=3, label=f"REGE, {mode}")
    steps, values = scores["strict"]
    if values:
        best = max(range(len(values)), key=values.__getitem__)
        axes.axvline(steps[best], color="grey", linewidth=0.8, linestyle=":")
    axes.set(ylabel="percent")
    axes.legend()


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    found = [(entry["step"], entry[key]) for entry in history if key in entry]
    return [step for step, _ in found], [value for _, value in found]
