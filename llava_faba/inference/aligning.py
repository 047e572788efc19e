"""``--align`` of predict and chat: the crop that the model's own expert makes."""

from __future__ import annotations

from typing import Any

from llava_faba.errors import UserError


def aligned(picture: Any, model: Any) -> Any:
    """The aligned ``Crop`` of the (largest) face in an RGB PIL image; of the image itself where no face is found.

    Raises UserError for a model without a facial prior, and for one whose expert cannot align.
    """
    from llava_faba.align.crop import align_face
    from llava_faba.emola.settings import has_prior

    if not has_prior(model.config):
        raise UserError(
            "--align crops by the landmarks of the model's own expert, and this model has none (it is plain LLaVA): "
            "make a crop first, llava-faba align DIR --expert mediapipe-478 --out CROPS, and ask about that."
        )
    return align_face(picture, model.facial_prior_expert())
