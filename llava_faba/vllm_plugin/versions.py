"""The releases of vLLM that the plugin is written for."""

from __future__ import annotations

from llava_faba.errors import UserError
from llava_faba.packages import fits

SUPPORTED = ">=0.32,<0.34"
"""0.32 is tested; the plugin overrides methods of vLLM's multimodal processors, which change between releases."""


def refusal() -> str | None:
    """Why EmoLA cannot run in the installed vLLM; None where it can."""
    import vllm

    if not fits(vllm.__version__, SUPPORTED):
        return (
            f"EmoLA needs vLLM {SUPPORTED}, this is {vllm.__version__}. Install such a release, or take "
            "'llava-faba bench generate --engine transformers'."
        )
    from llava_faba.emola.versions import check_transformers

    try:
        check_transformers()
    except UserError as error:
        return str(error)
    return None
