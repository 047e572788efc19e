"""transformers' Auto classes learn the names of this package."""

from __future__ import annotations

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from llava_faba.native.attached import FacialPriorConfig, FacialPriorModel
from llava_faba.native.attaching import FacialPriorProcessor
from llava_faba.native.configuration import EmolaConfig
from llava_faba.native.image_processing import EmolaImageProcessor
from llava_faba.native.modeling import EmolaForConditionalGeneration
from llava_faba.native.processing import EmolaProcessor


def register() -> None:
    """Make ``AutoConfig``, ``AutoModelForImageTextToText``, ``AutoProcessor`` and ``AutoImageProcessor`` know EmoLA."""
    AutoConfig.register(EmolaConfig.model_type, EmolaConfig, exist_ok=True)
    AutoModelForImageTextToText.register(EmolaConfig, EmolaForConditionalGeneration, exist_ok=True)
    # One class for both backends: torchvision's pixels differ by up to 0.015 from those that the model was trained on.
    backends = {"pil": EmolaImageProcessor, "torchvision": EmolaImageProcessor}
    AutoImageProcessor.register(EmolaConfig, image_processor_classes=backends, exist_ok=True)
    AutoProcessor.register(EmolaConfig, EmolaProcessor, exist_ok=True)
    AutoConfig.register(FacialPriorConfig.model_type, FacialPriorConfig, exist_ok=True)
    AutoModelForImageTextToText.register(FacialPriorConfig, FacialPriorModel, exist_ok=True)
    AutoProcessor.register(FacialPriorConfig, FacialPriorProcessor, exist_ok=True)
