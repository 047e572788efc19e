"""The EmoLA model: LLaVA plus one token made from a facial prior.

``config``         what a checkpoint says about its prior
``projector``      the module that turns a prior into a token
``normalization``  what is done to a prior before the projector
``emola``          the model class
``online``         the prior computed from the image tensor that LLaVA gets
``dispatch``       LLaVA's class or ours, by what the config says
``checkpoints``    what lies in a model folder, and whether it is safe to read
``loading``        ``load_model``
``upstream_builder``  the same care for LLaVA's own ``load_pretrained_model``

These modules import torch and llava at module level; import them late.
"""

from llava_faba.upstream import import_llava

# Before any module of this package is begun: a LLaVA with the plugin hook calls register() while it is imported, and
# that needs them whole.
import_llava()
