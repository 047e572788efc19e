"""LLaVA's own picture preprocessing: on PIL always, to the bit what ``llava.mm_utils.process_images`` gives.

transformers would take a torchvision backend where torchvision is installed; its pixels differ by up to 0.015.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.image_processing_utils import BatchFeature
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from llava_faba.emola import anyres
from llava_faba.native.checking import check_pictures


class EmolaImageProcessor(LlavaImageProcessorPil):
    """Pictures to ``pixel_values`` float32 (n, 3, S, S) and ``image_sizes`` (n, 2), (height, width) of each original.

    ``do_pad``: pad to a square with the mean colour first, as LLaVA-1.5 does. ``image_grid_pinpoints``: LLaVA-1.6's
    resolutions; given, ``pixel_values`` is (n, crops, 3, S, S), the whole picture first and zeros behind the last crop
    of those that have fewer.
    """

    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012 - the attribute's form in transformers
    image_grid_pinpoints: Any = None

    def __init__(self, image_grid_pinpoints: list[list[int]] | None = None, **kwargs: Any) -> None:
        check_pictures({**kwargs, "image_grid_pinpoints": image_grid_pinpoints})
        super().__init__(**kwargs)
        self.image_grid_pinpoints = image_grid_pinpoints

    def _preprocess(self, images: list[np.ndarray], *args: Any, **kwargs: Any) -> BatchFeature:
        return_tensors = kwargs.pop("return_tensors", None)
        sizes = [image.shape[-2:] for image in images]
        if self.image_grid_pinpoints is None:
            data = super()._preprocess(images, *args, **kwargs, return_tensors=None)
            pixels = data["pixel_values"]
        else:
            kwargs["do_pad"] = False
            pixels = []
            for image in images:
                crops = anyres.crops(image, self.image_grid_pinpoints, kwargs["crop_size"]["height"])
                pixels.append(
                    np.stack(super()._preprocess(crops, *args, **kwargs, return_tensors=None)["pixel_values"])
                )
            pixels = anyres.padded(pixels)
        return BatchFeature(
            {"pixel_values": pixels, "image_sizes": np.asarray(sizes, dtype=np.int64)}, tensor_type=return_tensors
        )

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = super().to_dict()
        values["image_processor_type"] = type(self).__name__
        return values
