"""One request until it is answered: growing pauses, and everybody waits where the server asks for it."""

from __future__ import annotations

import random
from collections.abc import Callable

from faba_bench.chat.client import Rejected, Retryable
from faba_bench.chat.pacing import Pace, backoff
from faba_bench.chat.replies import Reply


def persist(send: Callable[[], Reply], pace: Pace, attempts: int, first_pause: float, name: str) -> Reply:
    """What `send` returns at last; pauses are jittered by `name`. Raises `Retryable` after the last attempt, and
    `Rejected` when the run was stopped."""
    rng = random.Random(name)
    for attempt in range(attempts):
        if not pace.wait():
            raise Rejected("the run was stopped")
        try:
            return send()
        except Retryable as error:
            if attempt + 1 == attempts:
                raise
            pause = backoff(attempt, first_pause, error.after, rng)
            if error.everyone:
                pace.hold(pause)
            if not pace.sleep(pause):
                raise Rejected("the run was stopped") from error
    raise ValueError(f"attempts must be 1 or more, not {attempts}")
