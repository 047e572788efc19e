"""When to send: `faba_bench.chat.pacing`."""

from __future__ import annotations

from faba_bench.chat.pacing import LONGEST_PAUSE, Pace, backoff

__all__ = ["LONGEST_PAUSE", "Pace", "backoff"]
