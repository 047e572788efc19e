"""Results as plain text, Markdown and LaTeX tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faba_bench.files.terminal import printable
from faba_bench.result import MODES

_METRICS = (("s_re", "S_re"), ("s_ge", "S_ge"), ("s_rege", "REGE"))


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(body: Mapping[str, Any], metric: str) -> str:
    """ "56.12 [50.31, 61.40]", or the number alone where no interval was computed."""
    bounds = body.get(f"{metric}_ci")
    text = number(body[metric])
    return f"{text} [{number(bounds[0])}, {number(bounds[1])}]" if bounds else text


def headline_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and one row per mode: the three scores with intervals, and how many samples they are of."""
    titles = [f"S_re ({measure(result)})", *(title for _, title in _METRICS[1:])]
    header = ["mode", *titles, "scored", "unparsed"]
    if result["task"] == "emotion":
        header.append("mean class accuracy")
    rows = []
    for mode in MODES:
        body = result["modes"][mode]
        row = [mode, *(with_interval(body, key) for key, _ in _METRICS)]
        row += [f"{body['n_scored']} of {result['n']}", str(body["n_unparsed"])]
        if result["task"] == "emotion":
            row.append(number(_percent(body["mean_class_accuracy"])))
        rows.append(row)
    return header, rows


def drawn(result: Mapping[str, Any]) -> str:
    """What the intervals resample: "samples", or "41 values of 'subject'"."""
    return f"{result['n_clusters']} values of {result['cluster']!r}" if result.get("cluster") else "samples"


def noise_note(result: Mapping[str, Any]) -> str:
    """How far the assignment of folds alone moves the scores of this protocol, "" where nobody has said so."""
    from faba_bench.protocol import load_protocol, protocol_names

    if result["task"] != "au" or result["protocol"] not in protocol_names():
        return ""
    noise = load_protocol(result["protocol"]).noise
    if not noise:
        return ""
    return (
        f"Fold assignment alone moves mean F1 on {load_protocol(result['protocol']).title} by "
        f"+-{100 * noise['f1']:.1f} points ({noise['source']}): smaller differences to figures of other papers "
        "say nothing."
    )


def measure(result: Mapping[str, Any]) -> str:
    """What S_re is."""
    return "mean F1" if result["task"] == "au" else "accuracy"


def label_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and one row per label: both modes side by side, then what the strict mode counted; percent."""
    value, others = ("f1", ("precision", "recall")) if result["task"] == "au" else ("accuracy", ("precision", "f1"))
    names = {"f1": "F1"}
    header = ["label", "support", *(f"{names.get(value, value)} ({mode})" for mode in MODES)]
    header += [f"{names.get(key, key)} (strict)" for key in others] + ["answered (strict)"]
    bodies = [result["modes"][mode]["per_label"] for mode in MODES]
    rows = []
    for label, strict in bodies[1].items():
        shown = f"AU{label}" if result["task"] == "au" else label
        cells = [_label_cell(body[label], value) for body in bodies]
        cells += [number(_percent(strict[key])) for key in others]
        rows.append([shown, str(strict["support"]), *cells, str(strict["predicted"])])
    return header, rows


def count_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and one row per mode: how many samples were scored, and the means beside the three scores."""
    au = result["task"] == "au"
    means = (
        {"mean_accuracy": "mean accuracy"}
        if au
        else {"mean_class_accuracy": "mean class accuracy", "macro_f1": "mean F1"}
    )
    header = ["mode", "scored", "unparsed", *means.values()]
    rows = []
    for mode in MODES:
        body = result["modes"][mode]
        row = [mode, f"{body['n_scored']} of {result['n']}", str(body["n_unparsed"])]
        rows.append(row + [number(_percent(body[key])) for key in means])
    return header, rows


def fold_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and one row per fold: its size, and the three scores in both modes."""
    header = ["fold", "samples", *(f"{title} ({mode})" for mode in MODES for _, title in _METRICS)]
    rows = []
    for fold in result["folds"]:
        scores = [number(fold["modes"][mode][key]) for mode in MODES for key, _ in _METRICS]
        rows.append([fold["name"], str(fold["n"]), *scores])
    return header, rows


def group_rows(result: Mapping[str, Any], field: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the groups of a field, both modes, then the largest gaps."""
    section = result["groups"][field]
    header = [field, "mode", "samples", "people", *(title for _, title in _METRICS)]
    rows = []
    for value, group in section["values"].items():
        people = "" if group["n_clusters"] is None else str(group["n_clusters"])
        shown = f"{value} (too small)" if group["small"] else value
        for mode, body in group["modes"].items():
            scores = [with_interval(body, key) for key, _ in _METRICS]
            rows.append([shown, mode, str(group["n"]), people, *scores])
    for mode, gaps in section["gaps"].items():
        rows.append(["largest gap", mode, "", "", *(_gap(gaps[key]) for key, _ in _METRICS)])
    return header, rows


def _gap(gap: Mapping[str, Any] | None) -> str:
    if gap is None:
        return number(None)
    bounds = f" [{number(gap['ci'][0])}, {number(gap['ci'][1])}]" if gap["ci"] else ""
    return f"{number(gap['value'])}{bounds} ({gap['highest']} over {gap['lowest']})"


def score_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the measures of the answers' scores per label: their means first, fractions."""
    found = result["label_scores"]
    keys = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "brier": "Brier", "ece": "ECE"}
    header = ["scores of", "samples", "support", *keys.values()]
    means = []
    for key in keys:
        bounds = found.get(f"{key}_ci")
        text = number(found[key], 3)
        means.append(f"{text} [{number(bounds[0], 3)}, {number(bounds[1], 3)}]" if bounds else text)
    rows = [["mean over labels", str(found["n"]), "", *means]]
    for label, row in found.get("per_label", {}).items():
        shown = f"AU{label}" if result["task"] == "au" else label
        rows.append([shown, str(row["n"]), str(row["support"]), *(number(row[key], 3) for key in keys)])
    return header, rows


def confusion_rows(result: Mapping[str, Any], mode: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the confusion matrix of an emotion result; rows are targets."""
    confusion = result["modes"][mode]["confusion"]
    header = ["target \\ answer", *confusion["columns"]]
    pairs = zip(confusion["rows"], confusion["counts"], strict=True)
    return header, [[name, *map(str, counts)] for name, counts in pairs]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An aligned table for a terminal."""
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        first, *others = (pair for pair in zip(row, widths, strict=True))
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub-flavoured Markdown table, the first column to the left, the others to the right."""
    lines = [_markdown_row(header), "|" + ":--|" + "--:|" * (len(header) - 1)]
    return "\n".join(lines + [_markdown_row(row) for row in rows])


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A LaTeX ``tabular`` with booktabs rules, inside ``table`` when there is a caption."""
    body = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
    body += [_latex_row(header), r"\midrule", *(_latex_row(row) for row in rows)]
    body += [r"\bottomrule", r"\end{tabular}"]
    if caption:
        body = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(caption)}}}", *body, r"\end{table}"]
    return "\n".join(body)


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    special = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
        "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
    }  # fmt: skip
    return "".join(special.get(character, character) for character in text)


def summary(result: Mapping[str, Any]) -> str:
    """What ``faba-bench score`` prints."""
    parts = [
        f"{title(result)} (protocol version {result['protocol_version']})",
        "",
        *([text_table(*fold_rows(result)), "", "mean of the folds"] if "folds" in result else []),
        text_table(*headline_rows(result)),
        "",
        text_table(*label_rows(result)),
    ]
    if noise_note(result):
        parts += ["", noise_note(result)]
    if "confusion" in result["modes"]["strict"]:
        parts += ["", "confusion (strict)", text_table(*confusion_rows(result, "strict"))]
    for field in result.get("groups", ()):
        parts += ["", text_table(*group_rows(result, field))]
    if result.get("label_scores"):
        parts += ["", text_table(*score_rows(result))]
    if result["warnings"]:
        parts += ["", *(f"warning: {warning}" for warning in result["warnings"])]
    return "\n".join(parts)


def _label_cell(row: Mapping[str, Any], value: str) -> str:
    if row["status"] != "scored":
        return str(row["status"])
    return number(_percent(row[value]))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """Text for a Markdown cell: no cell of its own, no HTML, no link or picture, no control characters, one line."""
    shown = printable(text).replace("\n", " ").replace("\t", " ")
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(
        "\\" + letter if letter in "\\|`[]*_!" and _active(shown, i) else letter for i, letter in enumerate(shown)
    )


def _active(text: str, place: int) -> bool:
    """Would the character at ``place`` be Markdown? An underscore inside a word is none, nor a lone "!"."""
    letter = text[place]
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if letter == "_":
        return not (before.isalnum() and after.isalnum())
    return letter != "!" or after == "["


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"


def markdown_document(result: Mapping[str, Any]) -> str:
    """The tables of a result as a Markdown file, or as a block to paste."""
    parts = [
        f"### {title(result)}",
        *([markdown_table(*fold_rows(result))] if "folds" in result else []),
        markdown_table(*headline_rows(result)),
        markdown_table(*label_rows(result)),
    ]
    parts += [noise_note(result)] if noise_note(result) else []
    parts += [markdown_table(*group_rows(result, field)) for field in result.get("groups", ())]
    if result.get("label_scores"):
        parts.append(markdown_table(*score_rows(result)))
    if "confusion" in result["modes"]["strict"]:
        parts += [f"Confusion ({mode}):\n\n" + markdown_table(*confusion_rows(result, mode)) for mode in MODES]
    return "\n\n".join(parts) + "\n"


def latex_document(result: Mapping[str, Any]) -> str:
    """The tables of a result as LaTeX (needs the booktabs package)."""
    parts = ["% needs \\usepackage{booktabs}", latex_table(*headline_rows(result), title(result))]
    if "folds" in result:
        parts.append(latex_table(*fold_rows(result), "Folds, percent"))
    parts.append(latex_table(*label_rows(result), f"Per label, percent: {title(result)}"))
    if "confusion" in result["modes"]["strict"]:
        parts += [latex_table(*confusion_rows(result, mode), f"Confusion, {mode} mode") for mode in MODES]
    return "\n\n".join(parts) + "\n"


def title(result: Mapping[str, Any]) -> str:
    """One line that says what was scored."""
    folds = f", mean of {len(result['folds'])} folds" if "folds" in result else ""
    return f"FABA-Bench, task {result['task']}, protocol {result['protocol']}, {result['n']} samples{folds}"
