"""What a run will take, before it starts, and what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXPECTED_OUTPUT = {"au": 350, "emotion": 110}
"""Tokens of a typical answer."""


@dataclass(frozen=True)
class Prices:
    """Price per million tokens, in whatever currency; None when unknown."""

    input: float | None = None
    output: float | None = None

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.input is None or self.output is None:
            return None
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True)
class Estimate:
    """Requests still to send and the tokens they are expected to take."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def to_text(self) -> str:
        money = "unknown (give --price-input and --price-output)" if self.cost is None else f"about {self.cost:.2f}"
        return (
            f"{self.requests} requests, about {self.input_tokens} input and {self.output_tokens} output "
            f"tokens, "
            f"cost: {money}"
        )


def estimate(requests: int, task: str, prompt: str, image_tokens: int, max_tokens: int, prices: Prices) -> Estimate:
    """Four characters are taken for a token; retries are not counted."""
    inputs = requests * (image_tokens + len(prompt) // 4 + 10)
    outputs = requests * min(EXPECTED_OUTPUT[task], max_tokens)
    return Estimate(requests, inputs, outputs, prices.cost(inputs, outputs))


def rough_usage(prompt: str, text: str, image_tokens: int = 800) -> dict[str, int]:
    """Tokens of one request whose server did not count them; four characters are taken for a token."""
    return {"prompt_tokens": image_tokens + len(prompt) // 4 + 10, "completion_tokens": len(text) // 4 + 1}


def used(usages: Iterable[Mapping[str, int]]) -> tuple[int, int]:
    """Input and output tokens that the server counted."""
    totals = [(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)) for usage in usages]
    return sum(one for one, _ in totals), sum(two for _, two in totals)
