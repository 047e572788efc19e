"""What a run takes: `faba_bench.chat.cost`."""

from __future__ import annotations

from faba_bench.chat.cost import EXPECTED_OUTPUT, Estimate, Prices, estimate, rough_usage, used

__all__ = ["EXPECTED_OUTPUT", "Estimate", "Prices", "estimate", "rough_usage", "used"]
