"""What a text says of each unit, written down mention by mention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from faba_bench.strict.pairs import Pair
from faba_bench.strict.said import Said


class Unit(NamedTuple):
    """What a mention stands for; `how` is "named" for numbers and names, "facs" or "plain" for descriptions."""

    units: tuple[int, ...]
    how: str


@dataclass
class Ledger:
    """What a text says of each unit, by how it names it."""

    affirmed: dict[int, None] = field(default_factory=dict)
    hedged: dict[int, None] = field(default_factory=dict)
    denied: dict[int, None] = field(default_factory=dict)
    denied_by_name: dict[int, None] = field(default_factory=dict)
    described: dict[int, None] = field(default_factory=dict)
    everyday: dict[int, None] = field(default_factory=dict)
    mentioned: dict[int, None] = field(default_factory=dict)
    unclear: dict[int, None] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    recent: list[Said] = field(default_factory=list)  # named units of the last sentence
    silent: bool = False
    everything: bool = False

    def structured(self, number: int, state: bool) -> None:
        """A structure's word on a unit."""
        (self.affirmed if state else self.denied)[number] = None

    def say(self, unit: Unit, sign: int, hedged: bool = False) -> None:
        """One mention with its sign."""
        for number in unit.units:
            if unit.how == "named":
                self.mentioned[number] = None
            if sign < 0:
                self.denied[number] = None
                if unit.how == "named":
                    self.denied_by_name[number] = None
            elif sign > 0:
                if unit.how == "named":
                    (self.hedged if hedged else self.affirmed)[number] = None
                else:
                    (self.described if unit.how == "facs" else self.everyday)[number] = None

    def take_back(self, unit: Unit) -> None:
        """A later sentence denies what one before it named: "... None of these is visible"."""
        for number in unit.units:
            self.affirmed.pop(number, None)
            self.hedged.pop(number, None)
            self.denied[number] = None

    def result(self, structured: bool) -> tuple[tuple[int, ...], bool]:
        """Units that are present, and whether the text says anything of units."""
        found = dict(self.affirmed)
        found.update((number, None) for number in self.hedged if number not in self.denied)
        spoken = bool(found) or structured
        found.update((number, None) for number in self.described if number not in self.denied_by_name)
        if not spoken:
            found.update((number, None) for number in self.everyday)
        parsed = bool(found or self.denied or self.silent or structured)
        if self.everything and not found:
            return (), False
        return tuple(found), parsed
