"""EmoLA in vLLM: ``vllm serve DIR`` and ``vllm.LLM(DIR)`` of a folder that ``checkpoint to-transformers`` made.

vLLM finds ``register`` by the entry point ``vllm.general_plugins`` and calls it in each of its processes, for every
model that it serves; nothing of torch or vLLM is imported before.
"""

from __future__ import annotations

from llava_faba.vllm_plugin.versions import SUPPORTED, refusal

__all__ = ["SUPPORTED", "register"]

ARCHITECTURE = "EmolaForConditionalGeneration"


def register() -> None:
    """Make vLLM know EmoLA's configuration, processor and model. Harmless when repeated.

    A release that the plugin is not written for is told when an EmoLA is loaded: other models are none of its business.
    """
    reason = refusal()
    if reason is not None:
        from llava_faba.vllm_plugin.refusing import refuse

        refuse(reason)
        return
    from vllm import ModelRegistry

    import llava_faba.native  # noqa: F401 - transformers' Auto classes learn the names
    from llava_faba.vllm_plugin.rendering import register_renderer

    register_renderer()
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"llava_faba.vllm_plugin.model:{ARCHITECTURE}")
