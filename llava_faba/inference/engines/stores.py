"""Whether a store's priors are those that a model was trained on."""

from __future__ import annotations

from typing import Any

from llava_faba.emola.settings import expert_name, prior_size
from llava_faba.errors import PriorError
from llava_faba.priors.store import PriorStore
from llava_faba.priors.writer import comparable_settings


def check_store(store: PriorStore, config: Any) -> None:
    """Raise PriorError when a store's priors are not those that the model was trained on."""
    if store.size != prior_size(config):
        raise PriorError(
            f"{store.path} holds priors of {store.size} numbers, but the model was trained on {prior_size(config)}."
        )
    named = expert_name(config)
    if named not in ("precomputed", store.expert):
        raise PriorError(
            f"{store.path} was made by the expert '{store.expert}', but the model was trained on priors of '{named}'; "
            f"run 'llava-faba priors extract --expert {named}'."
        )
    trained, made = getattr(config, "facial_prior_expert_settings", None) or {}, comparable_settings(store.settings)
    other = [name for name, value in comparable_settings(trained).items() if made.get(name, value) != value]
    if other and named == store.expert:
        raise PriorError(
            f"{store.path} was made with {other[0]}={made[other[0]]!r}, but the model was trained on priors with "
            f"{other[0]}={trained[other[0]]!r}; extract them with the model's settings (--set)."
        )
