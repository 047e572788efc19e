"""Whether this machine has what a recipe's steps need: the plan's own numbers beside its memory and disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_faba.doctor.finding import Finding
from llava_faba.recipe.expansion import Graph
from llava_faba.recipe.planning import shown_size

_MEMINFO = Path("/proc/meminfo")


def findings(graph: Graph, rows: Sequence[dict[str, Any]]) -> list[Finding]:
    """What ``llava-faba doctor --plan`` says: inputs, memory, disk, and which steps nothing is known of.

    ``rows``: what ``planning.plan`` gave. An error: an input is missing, or a known need is larger than what there is.
    """
    left = [row for row in rows if row["state"] != "done"]
    found = [_inputs(graph), _memory(left, _memory_here()), _disk(left, graph.root)]
    untold = [row["id"] for row in left if row["memory_bytes"] is None and row["disk_bytes"] is None]
    if untold:
        found.append(
            Finding(
                "note",
                "not told",
                f"neither memory nor disk of {', '.join(untold)} can be told before its inputs are there",
                details={"steps": untold},
            )
        )
    return found


def _inputs(graph: Graph) -> Finding:
    if not graph.missing:
        return Finding("ok", "inputs", "all are there")
    return Finding(
        "error", "inputs", "; ".join(graph.missing), "give each with --set", details={"missing": list(graph.missing)}
    )


def _memory(left: Sequence[dict[str, Any]], here: int | None) -> Finding:
    known = [row for row in left if row["memory_bytes"]]
    if not known:
        return Finding("ok", "memory", "no step to go has a known need")
    row = max(known, key=lambda row: row["memory_bytes"])
    need = row["memory_bytes"]
    text = f"{row['id']} needs {shown_size(need)} ({row['told_by']})"
    details = {"step": row["id"], "needed": need, "here": here}
    if here is None:
        return Finding("note", "memory", f"{text}; what this machine has cannot be told", details=details)
    if need > here:
        remedy = "run it on a GPU or host with more, or share it among more processes"
        return Finding("error", "memory", f"{text}, this machine has {shown_size(here)}", remedy, details)
    return Finding("ok", "memory", f"{text}, of {shown_size(here)}", details=details)


def _disk(left: Sequence[dict[str, Any]], root: Path) -> Finding:
    need = sum(row["disk_bytes"] or 0 for row in left)
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    details = {"needed": need, "free": free}
    text = (
        f"{shown_size(need)} are needed for the steps that it can be told of, {shown_size(free)} are free below {there}"
    )
    if need > free:
        return Finding("error", "disk", text, "choose another --root, or make room", details)
    return Finding("ok", "disk", text, details=details)


def _memory_here() -> int | None:
    """Bytes of main memory; a GPU's own memory is not looked at."""
    if not _MEMINFO.is_file():
        return None
    lines = _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines()
    found = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    return next(found, None)
