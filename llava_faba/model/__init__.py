"""The EmoLA model: LLaVA plus one token made from a facial prior.

``config``         what a checkpoint says about its prior
``projector``      the module that turns a prior into a token
``emola``          the model class
``dispatch``       LLaVA's class or ours, by what the config says
``checkpoints``    what lies in a model folder, and whether it is safe to read
``loading``        ``load_model``
``upstream_builder``  the same care for LLaVA's own ``load_pretrained_model``

These modules import torch and llava at module level; import them late.
"""

from llava_faba.upstream import import_llava, package_folder

# Before any module of this package is begun: a LLaVA with the plugin hook calls register() while it is imported, and
# that needs them whole. Without LLaVA, what reads checkpoints still works, for the converters.
if package_folder() is not None:
    import_llava()
