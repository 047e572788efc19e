"""Plots of a dataset's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faba_bench.files.atomic import replacing

from llava_faba.datatools.stats import Figures
from llava_faba.errors import UserError
from llava_faba.packages import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = "#4c72b0"


def plot(figures: Figures, folder: Path, stem: str) -> list[Path]:
    """Write ``<stem>-words.png``, ``-labels.png`` and, for AUs, ``-co-occurrence.png``; returns what was
    written.

    Raises ``UserError`` when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"'--plots' needs matplotlib: {install_command('data')}") from error
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {}
    if figures.words:
        drawings["words"] = _words
    if figures.aus or figures.emotions:
        drawings["labels"] = _labels
    if len(figures.aus) > 1:
        drawings["co-occurrence"] = _co_occurrence
    written = []
    for name, draw in drawings.items():
        # No pyplot: it keeps global state and wants a display's backend.
        picture = Figure(figsize=(7, 6 if name == "co-occurrence" else 4), layout="constrained")
        FigureCanvasAgg(picture)
        draw(picture.add_subplot(), figures)
        path = folder / f"{stem}-{name}.png"
        with replacing(path) as partial:
            picture.savefig(partial, format="png", dpi=150)
        written.append(path)
    return written


def _words(axes: Axes, figures: Figures) -> None:
    axes.hist(figures.words, bins=min(40, max(figures.words) - min(figures.words) + 1), color=_BAR)
    mean = sum(figures.words) / len(figures.words)
    axes.axvline(mean, color="black", linestyle="--", linewidth=1, label=f"mean {mean:.1f}")
    axes.set(xlabel="words per answer", ylabel="samples", title=Path(figures.file).name)
    axes.legend()


def _labels(axes: Axes, figures: Figures) -> None:
    pairs = [*figures.emotions.most_common(), *((f"AU{au}", figures.aus[au]) for au in sorted(figures.aus))]
    names, counts = zip(*pairs, strict=True)
    bars = axes.bar(range(len(names)), counts, color=_BAR)
    axes.bar_label(bars, fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set(ylabel="samples", title=Path(figures.file).name)


def _co_occurrence(axes: Axes, figures: Figures) -> None:
    """How often the column's AU is active when the row's is, in percent."""
    numbers, counts = figures.co_occurrence()
    shares = [[100 * value / max(row[i], 1) for value in row] for i, row in enumerate(counts)]
    image = axes.imshow(shares, vmin=0, vmax=100, cmap="Blues")
    names = [f"AU{au}" for au in numbers]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 60 else "black"
            axes.text(j, i, f"{share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set(xlabel="... is active as well (%)", ylabel="when this AU is active", title=Path(figures.file).name)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
