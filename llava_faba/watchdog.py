"""Worker processes end with their parent, also when it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Called in a worker of multiprocessing: when the parent is gone, this process ends at once with exit code 1.

    After kill -9 nobody tells the workers; they would wait, or go on for hours and keep their GPUs. Does nothing in a
    process that has no parent of multiprocessing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def outlive_termination() -> None:
    """Called in a loader process of torch: SIGTERM is for the one who trains, who ends its loaders itself.

    A launcher or a scheduler sends it to all. A loader that died of it would break training off before it has saved.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
