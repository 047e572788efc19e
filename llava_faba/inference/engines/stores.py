"""Whether a store's priors are those that a model was trained on."""

from __future__ import annotations

from typing import Any

from llava_faba.emola.settings import UNNAMED_EXPERT, expert_name, prior_size, stands_for_reference
from llava_faba.errors import PriorError
from llava_faba.model.prior_origin import PriorOrigin
from llava_faba.priors.store import PriorStore


def check_store(store: PriorStore, config: Any) -> None:
    """Raise UserError when a store's priors are not those that the model was trained on: another size, expert, version
    of it, or other settings; both are named."""
    if store.size != prior_size(config):
        raise PriorError(
            f"{store.path} holds priors of {store.size} numbers, but the model was trained on {prior_size(config)}."
        )
    named = expert_name(config)
    if named not in (UNNAMED_EXPERT, store.expert) and not stands_for_reference(store.expert, named):
        raise PriorError(
            f"{store.path} was made by the expert '{store.expert}', but the model was trained on priors of '{named}'; "
            f"run 'llava-faba priors extract --expert {named}'."
        )
    origin = PriorOrigin.of(config, "the model")
    if origin is not None and named == store.expert:
        origin.check_made_by(store.expert_version, store.settings, f"the store {store.path}")
