"""Which class LLaVA builds: its own for plain checkpoints, ours where there is a facial prior.

What a caller further up knows and LLaVA does not pass down travels in context variables: set for the length of one
call, each thread its own.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from llava_faba.building import building_modules

_as_emola: contextvars.ContextVar[bool] = contextvars.ContextVar("as_emola", default=False)
_OUTPUT, _IMAGE_PROJECTOR = "lm_head", "mm_projector"


@contextlib.contextmanager
def training_base(*, as_emola: bool) -> Iterator[None]:
    """While inside, what is loaded is the base of a training.

    ``as_emola``: a plain LLaVA base is built as EmoLA: training adds the projector that it does not have yet.
    """
    token = _as_emola.set(as_emola)
    try:
        yield
    finally:
        _as_emola.reset(token)


def llava_or_emola(original: Any) -> Any:
    """A stand-in for the class global ``LlavaLlamaForCausalLM``, to be loaded from, not to be instantiated."""
    from llava_faba.model.checkpoints import forget_quantization
    from llava_faba.model.config import EmolaConfig, has_prior
    from llava_faba.model.emola import EmolaLlamaForCausalLM
    from llava_faba.model.handing_over import hand_over_path, restore_loaded
    from llava_faba.vetting.kinds import read

    class LlavaOrEmola(original):
        @classmethod
        def from_pretrained(cls, path: Any, *args: Any, config: Any = None, **kwargs: Any) -> Any:
            with building_modules():
                private = hand_over_path(path, cache_dir=kwargs.get("cache_dir"))
                values = read(private / "config.json") if config is None else config.to_dict()
                if not has_prior(values) and not _as_emola.get():
                    if config is not None:
                        kwargs["config"] = config
                    model = original.from_pretrained(str(private), *args, **kwargs)
                else:
                    if config is not None:
                        forget_quantization(values)
                    emola_config = EmolaConfig.from_dict({**values, "model_type": EmolaConfig.model_type})
                    kwargs = _keep_projectors_unquantized(kwargs)
                    model = EmolaLlamaForCausalLM.from_pretrained(str(private), *args, config=emola_config, **kwargs)
                for one in model if isinstance(model, tuple) else (model,):
                    restore_loaded(one)
                return model

    return LlavaOrEmola


def _keep_projectors_unquantized(options: dict[str, Any]) -> dict[str, Any]:
    """``--bits``, ``--load-4bit`` and ``--load-8bit``: bitsandbytes must leave both projectors alone.

    LLaVA says so for its own one when it trains. When it loads it does not, and then cannot put an adapter's
    projector into its quantized place.
    """
    import copy

    from llava_faba.compat.quantization import quantization_of
    from llava_faba.model.projector import PROJECTOR_NAME

    quantization = quantization_of(options)
    if not hasattr(quantization, "llm_int8_skip_modules"):  # none, or another package's
        return options
    skipped = quantization.llm_int8_skip_modules
    if skipped is None:
        skipped = [_OUTPUT, _IMAGE_PROJECTOR]  # the first is what transformers leaves alone when nothing is named
    quantization = copy.deepcopy(quantization)  # the caller's stays as it is
    quantization.llm_int8_skip_modules = [*skipped, PROJECTOR_NAME]
    return {**options, "quantization_config": quantization}
