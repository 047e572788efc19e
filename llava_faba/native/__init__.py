"""EmoLA as a transformers model: nothing of LLaVA, no torchvision, no remote code.

Importing this package registers its classes with transformers' Auto classes, once::

    import llava_faba.native
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)

``llava-faba checkpoint to-transformers`` makes such a folder of an EmoLA checkpoint.

==================================  ================================================================
``EmolaConfig``                     LLaVA's configuration and what the prior needs
``EmolaForConditionalGeneration``   the model
``EmolaProcessor``                  pictures and text to what the model takes, priors included
``EmolaImageProcessor``             LLaVA's own picture preprocessing, on PIL whatever is installed
``attach``                          a facial prior for a vision-language model of another kind
``FacialPriorConfig``               what ``attach`` makes: its configuration,
``FacialPriorModel``                its model, around the model that was given,
``FacialPriorProcessor``            and its processor
``register``                        what importing this package does; harmless when repeated
==================================  ================================================================
"""

from llava_faba.emola.versions import check_transformers
from llava_faba.errors import UserError

try:
    check_transformers()
except UserError as error:  # what cannot be imported here says so as any module does
    raise ImportError(str(error)) from error

from llava_faba.native.attached import FacialPriorConfig, FacialPriorModel
from llava_faba.native.attaching import FacialPriorProcessor, attach
from llava_faba.native.configuration import EmolaConfig
from llava_faba.native.image_processing import EmolaImageProcessor
from llava_faba.native.modeling import EmolaForConditionalGeneration
from llava_faba.native.processing import EmolaProcessor
from llava_faba.native.registering import register

__all__ = [
    "EmolaConfig",
    "EmolaForConditionalGeneration",
    "EmolaImageProcessor",
    "EmolaProcessor",
    "FacialPriorConfig",
    "FacialPriorModel",
    "FacialPriorProcessor",
    "attach",
    "register",
]

register()
