"""When to send: a rate limit that all workers share, and growing pauses after failures."""

from __future__ import annotations

import random
import threading
import time

LONGEST_PAUSE = 120.0


class Pace:
    """At most ``per_minute`` requests, evenly spaced; ``hold`` stops everybody for a while."""

    def __init__(self, per_minute: float | None = None) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait(self) -> bool:
        """Sleep until it is this caller's turn; False when the run was stopped meanwhile."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        return self.sleep(turn - time.monotonic())

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes within the next ``seconds``."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + min(seconds, LONGEST_PAUSE))

    def sleep(self, seconds: float) -> bool:
        """Sleep unless the run is stopped; False when it was."""
        return not self._stopped.wait(max(0.0, seconds))

    def stop(self) -> None:
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()


def backoff(attempt: int, first: float, wish: float | None, rng: random.Random) -> float:
    """Seconds before the attempt after ``attempt`` (from 0): doubling, jittered, never less than the
    server's wish.

    Without jitter, workers that failed together would come back together.
    """
    pause: float = first * 2.0**attempt * rng.uniform(0.5, 1.0)
    return min(max(pause, wish or 0.0), LONGEST_PAUSE)
