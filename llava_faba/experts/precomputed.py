"""``precomputed``: the records' own vectors, of any size; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llava_faba.errors import ExpertError
from llava_faba.experts.base import Picture, PriorExpert, PriorResult


class PrecomputedExpert(PriorExpert):
    """Stands for priors that were made elsewhere; input: none; output layout and normalisation: the maker's."""

    name: ClassVar[str] = "precomputed"

    def __init__(self, size: int = 0) -> None:
        self.size = size

    @property
    def settings(self) -> dict[str, Any]:
        return {"size": self.size}

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        raise ExpertError(
            "this model was trained on precomputed facial priors and cannot make its own: pass facial_priors= "
            "(one row per image), or give the name of the expert that made them as facial_prior_expert in the "
            "checkpoint's config.json."
        )
