"""``llava-faba recipe plan``: the steps, what is done, and what the rest needs, before anything starts."""

from __future__ import annotations

from typing import Any

from faba_bench.files.jsonfiles import read_json

from llava_faba.recipe.digests import Digests
from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.estimates import Need, need_of
from llava_faba.recipe.expansion import Graph, Step
from llava_faba.recipe.state import Done, Folder, code_version, key_of, read_done


def plan(graph: Graph) -> list[dict[str, Any]]:
    """A row a step: id, title, kind, needs, state ("done", "begun", "to do", "waits" for steps before it), and
    estimates.

    ``seconds``, ``disk_bytes``, ``memory_bytes``: None where they cannot be told; ``told_by`` says what they rest on.
    """
    folder = Folder(graph.root)
    digests = Digests(folder.digests, graph.root)
    states: dict[str, str] = {}
    rows = []
    for step in graph.steps:
        states[step.id] = _state(step, folder, digests, states)
        done = read_done(folder.done(step)) if states[step.id] == "done" else None
        need = Need(done.seconds, None, None, _told(done)) if done else need_of(step)
        rows.append(
            {
                "id": step.id,
                "title": step.title,
                "kind": step.kind_name,
                "needs": list(step.needs),
                "state": states[step.id],
                "seconds": need.seconds,
                "disk_bytes": need.disk,
                "memory_bytes": need.memory,
                "told_by": need.told_by,
            }
        )
    return rows


def _told(done: Done) -> str:
    return "it was done" if done.version == code_version() else f"it was done, by other code ({done.version})"


def _state(step: Step, folder: Folder, digests: Digests, states: dict[str, str]) -> str:
    if any(states[name] != "done" for name in step.needs):
        return "waits"
    try:
        key = key_of(step, digests)
    except RecipeError:
        return "waits"
    done = read_done(folder.done(step))
    if done is not None and done.key == key and step.out.exists():
        return "done" if digests.of(str(step.out)) == done.output else "changed"
    begun = folder.begun(step)
    if type(step.kind).RESUMES and begun.exists() and read_json(begun, error=RecipeError).get("key") == key:
        return "begun"
    return "to do"


def as_text(graph: Graph, rows: list[dict[str, Any]]) -> str:
    """The rows as a table, with sums and what is missing."""
    lines = [f"{graph.recipe.title}", *([graph.recipe.note] if graph.recipe.note else []), ""]
    width = max(len(row["id"]) for row in rows)
    lines.append(f"{'step':<{width}}  {'kind':<18}{'state':<9}{'time':>10}{'disk':>10}{'memory':>10}  rests on")
    for row in rows:
        lines.append(
            f"{row['id']:<{width}}  {row['kind']:<18}{row['state']:<9}{_time(row['seconds']):>10}"
            f"{shown_size(row['disk_bytes']):>10}{shown_size(row['memory_bytes']):>10}  {row['told_by']}"
        )
    left = [row for row in rows if row["state"] != "done"]
    untold = sum(row["seconds"] is None for row in left)
    total = sum(row["seconds"] or 0 for row in left)
    disk = sum(row["disk_bytes"] or 0 for row in left)
    memory = max((row["memory_bytes"] or 0 for row in rows), default=0)
    lines += [
        "",
        f"{len(rows) - len(left)} of {len(rows)} steps are done. To go: {_time(total or None)}, "
        f"{shown_size(disk or None)} of disk, {shown_size(memory or None)} of memory at most"
        + (f"; {untold} steps not counted" if untold else ""),
    ]
    if graph.missing:
        lines += ["", "missing:", *(f"  {sentence}" for sentence in graph.missing)]
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def shown_size(count: float | None) -> str:
    """Bytes for people, in powers of ten; "?" for None."""
    if count is None:
        return "?"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
