"""Experts and their locks, outside of what transformers deep-copies: a lock cannot be copied."""

from __future__ import annotations

import json
import threading
from typing import Any

from llava_faba.experts import PriorExpert, create_expert

_lock = threading.Lock()
_made: dict[str, PriorExpert] = {}


def shared_expert(name: str, settings: dict[str, Any] | None, size: int) -> PriorExpert:
    """This process's one expert with these settings, made on first use. Raises ExpertError as ``create_expert``."""
    key = json.dumps([name, settings or {}, size], sort_keys=True)
    with _lock:
        if key not in _made:
            _made[key] = create_expert(name, settings or {}, size=size)
        return _made[key]
