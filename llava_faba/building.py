"""One at a time: whatever builds torch modules.

While transformers loads a model it changes torch for the whole process: parameters are made on the meta device, random
initialisation is switched off, and the default type is the model's. A module that another thread builds meanwhile has
no numbers in it, for good. So loading, and everything else of ours that builds modules, holds this lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.RLock()


@contextlib.contextmanager
def building_modules() -> Iterator[None]:
    """Hold the lock; a thread that has it may take it again."""
    with _lock:
        yield
