"""The list of a store's images that do not show exactly one readable face."""

from __future__ import annotations

import json
from pathlib import Path

from llava_faba.experts import PriorStatus
from llava_faba.priors.layout import write_atomically
from llava_faba.priors.store import PriorStore

PROBLEMS = "problems.jsonl"


def write_problems(store: PriorStore) -> Path:
    """Write ``problems.jsonl`` into the store: {"image", "status", "note"} a line. Returns its path."""
    lines = [
        json.dumps({"image": entry.image, "status": entry.status, "note": entry.note})
        for entry in store.entries()
        if entry.status != PriorStatus.FOUND.value
    ]
    path = store.path / PROBLEMS
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    return path
