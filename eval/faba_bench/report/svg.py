"""Plots as SVG markup, drawn without any library.

Colours are variables of the page's style with fixed fall-backs, so that a plot also works as a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from faba_bench.report.html import escape

_COLOURS = ("var(--one,#2a6fbb)", "var(--two,#d9822b)", "var(--three,#3a9464)", "var(--four,#9158b8)")
_INK = "var(--ink,#1d2530)"
_SOFT = "var(--soft,#5b6675)"
_LINE = "var(--line,#d9dee5)"
_WIDTH = 760
Bounds = Sequence[float] | None


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    top: float | None = None,
    intervals: Mapping[str, Sequence[Bounds]] | None = None,
    notes: Sequence[str] | None = None,
    y_label: str = "",
) -> str:
    """Vertical bars, one group a label, one bar a series; None draws no bar but a dash.

    `notes` is a second line under each label, `intervals` (low, high) per series and label.
    """
    left, right, above, below, height = 46, 10, 30, 46, 300
    drawn = [value for values in series.values() for value in values if value is not None]
    drawn += [bounds[1] for row in (intervals or {}).values() for bounds in row if bounds]
    peak = top if top is not None else nice_top(drawn)
    plot_width, plot_height = _WIDTH - left - right, height - above - below
    group = plot_width / max(len(labels), 1)
    bar = min(34.0, group * 0.8 / max(len(series), 1))
    parts = [_axes(left, above, plot_width, plot_height, peak, y_label), _legend(list(series), left)]
    for index, label in enumerate(labels):
        middle = left + group * (index + 0.5)
        for number, (name, values) in enumerate(series.items()):
            x = middle + bar * (number - len(series) / 2)
            bounds = intervals[name][index] if intervals and name in intervals else None
            colour = _COLOURS[number % len(_COLOURS)]
            parts.append(_bar(x, bar, values[index], peak, above, plot_height, colour, f"{label}, {name}"))
            if bounds:
                parts.append(_whisker(x + bar / 2, bounds, peak, above, plot_height))
        parts.append(_text(middle, height - below + 16, label, size=12))
        if notes:
            parts.append(_text(middle, height - below + 32, notes[index], size=11, colour=_SOFT))
    return _svg(height, parts, f"bar chart: {', '.join(series)}")


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str = "",
    y_label: str = "",
    from_zero: bool = False,
) -> str:
    """Lines through (xs, ys) per series, such as training losses; points that are not finite are left out."""
    left, right, above, below, height = 56, 14, 30, 42, 300
    points = {
        name: [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for name, (xs, ys) in series.items()
    }
    everything = [point for line in points.values() for point in line] or [(0.0, 0.0), (1.0, 1.0)]
    low_x, high_x = _span([x for x, _ in everything])
    low_y, high_y = _span([y for _, y in everything] + ([0.0] if from_zero else []))
    width, tall = _WIDTH - left - right, height - above - below

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * (x - low_x) / (high_x - low_x), above + tall * (high_y - y) / (high_y - low_y)

    parts = [_legend(list(series), left)]
    for step in range(5):
        y = low_y + (high_y - low_y) * step / 4
        x = low_x + (high_x - low_x) * step / 4
        down, across = place(low_x, y)[1], place(x, low_y)[0]
        parts.append(_rule(left, down, left + width, down))
        parts.append(_text(left - 6, down + 4, f"{y:.3g}", size=11, anchor="end", colour=_SOFT))
        parts.append(_text(across, height - below + 16, f"{x:.4g}", size=11, colour=_SOFT))
    for number, line in enumerate(points.values()):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    parts.append(_text(left + width / 2, height - 8, x_label, size=12, colour=_SOFT))
    parts.append(_text(left, above - 18, y_label, size=12, anchor="start", colour=_SOFT) if len(series) < 2 else "")
    return _svg(height, parts, f"line chart: {', '.join(series)}")


def heatmap(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A matrix of counts, such as a confusion matrix; shades say the share of the row."""
    left, above = 100, 46
    cell_width = (_WIDTH - left - 10) / max(len(columns), 1)
    cell = 34
    parts = [_text(left + cell_width * (i + 0.5), above - 10, name, size=12) for i, name in enumerate(columns)]
    parts.append(_text(left, 16, "answer →", size=11, anchor="start", colour=_SOFT))
    parts.append(_text(left - 8, 16, "label ↓", size=11, anchor="end", colour=_SOFT))
    for index, (name, row) in enumerate(zip(rows, counts, strict=True)):
        y = above + cell * index
        total = sum(row)
        parts.append(_text(left - 8, y + cell / 2 + 4, name, size=12, anchor="end"))
        for column, count in enumerate(row):
            x = left + cell_width * column
            share = count / total if total else 0.0
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{cell_width - 2:.1f}" height="{cell - 2}" rx="3" '
                f'style="fill:rgba(var(--heat,42,111,187),{0.06 + 0.74 * share:.3f})">'
                f"<title>{escape(name)} answered as {escape(columns[column])}: {count} "
                f"({100 * share:.1f}%)</title></rect>"
            )
            strong = "700" if column < len(rows) and rows[index] == columns[column] else "400"
            parts.append(_text(x + cell_width / 2 - 1, y + cell / 2 + 4, str(count), size=12, weight=strong))
    return _svg(above + cell * len(rows) + 8, parts, "confusion matrix")


def histogram(series: Mapping[str, Sequence[float]], *, bins: int = 20, x_label: str = "", y_label: str = "") -> str:
    """How often values fall into equal bins; the last bin takes everything above the 99th percentile."""
    values = sorted(value for items in series.values() for value in items)
    if not values:
        return bar_chart([], {name: [] for name in series}, y_label=y_label)
    limit = values[min(len(values) - 1, int(0.99 * len(values)))]
    width = max(1, math.ceil((limit + 1) / bins))
    used = min(bins, int(limit // width) + 1)
    counts: dict[str, list[float | None]] = {}
    for name, items in series.items():
        tally = [0] * used
        for value in items:
            tally[min(used - 1, int(value // width))] += 1
        counts[name] = [float(count) for count in tally]
    labels = [str(index * width) for index in range(used)]
    labels[-1] += "+"
    return bar_chart(labels, counts, y_label=f"{y_label} by {x_label}" if x_label else y_label)


def nice_top(values: Sequence[float]) -> float:
    """A round number at or above the largest value."""
    peak = max(values, default=0.0)
    if peak <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(peak))
    return next(step * unit for step in (1.0, 1.2, 1.6, 2.0, 2.4, 4.0, 6.0, 8.0, 10.0) if step * unit >= peak * 0.999)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axes(left: float, above: float, width: float, tall: float, peak: float, y_label: str) -> str:
    parts = []
    for step in range(5):
        y = above + tall * (1 - step / 4)
        parts.append(_rule(left, y, left + width, y))
        parts.append(_text(left - 6, y + 4, f"{peak * step / 4:.4g}", size=11, anchor="end", colour=_SOFT))
    parts.append(_text(_WIDTH - 10, 14, y_label, size=12, anchor="end", colour=_SOFT))
    return "".join(parts)


def _legend(names: Sequence[str], left: float) -> str:
    if len(names) < 2:
        return ""
    parts, x = [], left
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="5" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 16, 15, name, size=12, anchor="start"))
        x += 34 + 7.2 * len(name)
    return "".join(parts)


def _bar(
    x: float,
    width: float,
    value: float | None,
    peak: float,
    above: float,
    tall: float,
    colour: str,
    what: str,
) -> str:
    base = above + tall
    if value is None:
        return _text(x + width / 2, base - 4, "–", size=12, colour=_SOFT)
    height = max(tall * min(max(value / peak, 0.0), 1.0), 1.0)  # a zero is a line, no value is a dash
    return (
        f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{max(width - 2, 1):.1f}" height="{height:.1f}" '
        f'fill="{colour}"><title>{escape(what)}: {value:.4g}</title></rect>'
    )


def _whisker(x: float, bounds: Sequence[float], peak: float, above: float, tall: float) -> str:
    low, high = (above + tall * (1 - min(max(bound / peak, 0.0), 1.0)) for bound in bounds)
    return f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" style="stroke:{_INK}" stroke-width="1.5"/>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="stroke:{_LINE}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "middle",
    colour: str = _INK,
    weight: str = "400",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'style="fill:{colour}">{escape(text)}</text>'
    )


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui,DejaVu Sans,sans-serif">{"".join(parts)}</svg>'
    )
