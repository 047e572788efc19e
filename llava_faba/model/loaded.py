"""What ``load_model`` returns."""

from __future__ import annotations

from typing import Any, NamedTuple


class LoadedModel(NamedTuple):
    """A model and what belongs to it; unpacks as the four that LLaVA's builder returns.

    ``tokenizer``: LLaMA's, slow. ``model``: EmoLA or LLaVA's class, in eval mode. ``image_processor``: the vision
    tower's. ``context_len``: tokens that the model can hold.
    """

    tokenizer: Any
    model: Any
    image_processor: Any
    context_len: int
