"""A static scoreboard from result files alone: a table for each task, protocol and test set, sortable in the browser.

Equal files give equal bytes: no date and no path is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faba_bench.compare import compare
from faba_bench.errors import ResultError
from faba_bench.files.atomic import write_json, write_text
from faba_bench.matrix import identity
from faba_bench.report import html
from faba_bench.result import MODES, load_result
from faba_bench.tables import drawn, noise_note, number, with_interval

_SORT = """<script>
for (const th of document.querySelectorAll("thead th")) {
  th.tabIndex = 0; th.style.cursor = "pointer";
  const sort = () => {
    const body = th.closest("table").tBodies[0], column = th.cellIndex;
    const down = th.getAttribute("aria-sort") !== "descending";
    for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const number = text => { const value = parseFloat(text); return isNaN(value) ? null : value; };
    [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)], [n, m] = [number(x), number(y)];
      const order = n === null || m === null ? (n === null) - (m === null) || x.localeCompare(y) : n - m;
      return (down ? -1 : 1) * order;
    }).forEach(row => body.append(row));
  };
  th.onclick = sort; th.onkeydown = event => { if (event.key === "Enter") sort(); };
}
</script>"""
_HEADER = ("model", "mode", "S_re", "S_ge", "REGE", "S_re to the best", "samples", "intervals over")


def write_leaderboard(folder: Path | str, out: Path | str, *, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Write ``index.html`` and ``leaderboard.json`` to `out` from the result files (``*.json``) of `folder`.

    Returns what leaderboard.json holds: "boards", each with "task", "protocol", "n" and "rows" from the best to the
    worst by strict S_re: "model", "card", per mode the scores, intervals and the paired difference to the best. Results
    that score other samples or labels are in boards of their own. Raises `ResultError` for no results, for files that
    are none, and for two results of one model on one board.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise ResultError(f"{folder}: holds no result files (*.json)")
    boards: list[dict[str, Any]] = []
    for path in paths:
        result = load_result(path)
        own = {**identity(result), "task": result["task"], "protocol": result["protocol"]}
        board = next((board for board in boards if board["identity"] == own), None)
        if board is None:
            board = {"identity": own, "results": {}}
            boards.append(board)
        name = str(result.get("model") or path.stem)
        if name in board["results"]:
            raise ResultError(f"{path}: a second result of {name!r} on {result['task']} {result['protocol']}")
        board["results"][name] = result
    found = [_board(board["results"], samples, seed) for board in boards]
    found.sort(key=lambda board: (board["task"], board["protocol"], -board["n"]))
    whole = {"samples": samples, "seed": seed, "boards": found}
    write_json(Path(out) / "leaderboard.json", whole)
    write_text(Path(out) / "index.html", _page(found))
    return whole


def _board(results: Mapping[str, Mapping[str, Any]], samples: int, seed: int) -> dict[str, Any]:
    def rank(name: str) -> tuple[float, str]:
        value = results[name]["modes"]["strict"]["s_re"]
        return (-1.0 if value is None else float(value)) * -1, name

    order = sorted(results, key=rank)
    first = results[order[0]]
    compared = compare({name: results[name] for name in order}, published=False, samples=samples, seed=seed)
    rows = [
        {
            "model": row["name"],
            "card": results[row["name"]].get("model_card"),
            "n": results[row["name"]]["n"],
            "intervals_over": drawn(results[row["name"]]),
            "modes": row["modes"],
        }
        for row in compared["rows"]
    ]
    board = {"task": first["task"], "protocol": first["protocol"], "n": first["n"], "rows": rows}
    return board | {"note": noise_note(first)}


def _page(boards: Sequence[Mapping[str, Any]]) -> str:
    remark = (
        "Ordered by S_re in strict mode. Brackets are 95% intervals. 'S_re to the best' is the paired difference to "
        "the first row on the same resamples; an asterisk: the interval excludes 0. Click a heading to sort."
    )
    sections = [
        html.Section(f"{board['task']}, {board['protocol']}, {board['n']} samples", _table(board)) for board in boards
    ]
    page = html.page("FABA-Bench scoreboard", sections, subtitle=remark)
    return page.replace("</main>", f"</main>{_SORT}")


def _table(board: Mapping[str, Any]) -> str:
    rows = []
    for row in board["rows"]:
        for mode in MODES:
            body = row["modes"][mode]
            cells = [_cell(row["model"], row["model"], row["card"]), _cell(mode, mode)]
            cells += [_cell(with_interval(body, key), body[key]) for key in ("s_re", "s_ge", "s_rege")]
            gap = body["difference"].get("s_re")
            cells.append(_cell(_gap(gap), gap["value"] if gap else 0.0))
            cells += [_cell(str(row["n"]), row["n"]), _cell(row["intervals_over"], row["intervals_over"])]
            rows.append("<tr>" + "".join(cells) + "</tr>")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in _HEADER)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    return table + (html.note(board["note"]) if board["note"] else "")


def _cell(text: str, value: object, link: str | None = None) -> str:
    shown = html.escape(text)
    if link and link.startswith(("https://", "http://")):
        shown = f'<a rel="noopener noreferrer" href="{html.escape(link)}">{shown}</a>'
    key = "" if value is None else html.escape(str(value))
    return f'<td data-value="{key}">{shown}</td>'


def _gap(gap: Mapping[str, Any] | None) -> str:
    if not gap:
        return ""
    if gap["low"] is None:
        return number(gap["value"])
    star = "*" if gap["low"] > 0 or gap["high"] < 0 else ""
    return f"{gap['value']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]{star}"
