"""A projector that starts from random numbers must be trained; frozen, it would stay noise for ever."""

from __future__ import annotations

from typing import Any

from llava_faba.errors import UserError
from llava_faba.model.projector import PROJECTOR_NAME

_REMEDIES = {
    PROJECTOR_NAME: (
        "prior projector",
        "leave out --freeze_facial_prior_projector, or start from a trained one (--pretrain_facial_prior_projector)",
    ),
    "mm_projector": (
        "image projector",
        "leave out --freeze_mm_mlp_adapter, train it as well (--tune_mm_mlp_adapter True), or start from a trained one "
        "(--pretrain_mm_mlp_adapter)",
    ),
}


def refuse_frozen_random(model: Any) -> None:
    """Raise UserError where a projector that was made afresh (``starts_untrained``) is not trained in this run."""
    for name, (what, remedy) in _REMEDIES.items():
        projector = getattr(model.get_model(), name, None)
        if projector is None or not getattr(projector, "starts_untrained", False):
            continue
        parameters = list(projector.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            raise UserError(
                f"the {what} is random, for the base model has none, and this run would not train it: {remedy}."
            )
