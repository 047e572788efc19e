"""Which class LLaVA builds: its own for plain checkpoints, ours where there is a facial prior.

What a caller further up knows and LLaVA does not pass down travels in context variables: set for the length of one
call, each thread its own.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_training_emola: contextvars.ContextVar[bool] = contextvars.ContextVar("training_emola", default=False)
_checkpoint_folder: contextvars.ContextVar[Path | None] = contextvars.ContextVar("checkpoint_folder", default=None)


@contextlib.contextmanager
def building_emola() -> Iterator[None]:
    """While inside, a plain LLaVA base is built as EmoLA: training adds the projector that it does not have yet."""
    token = _training_emola.set(True)
    try:
        yield
    finally:
        _training_emola.reset(token)


@contextlib.contextmanager
def loading_from(folder: Path) -> Iterator[None]:
    """While inside, relative paths in a config are looked for beside this checkpoint as well."""
    token = _checkpoint_folder.set(folder)
    try:
        yield
    finally:
        _checkpoint_folder.reset(token)


def llava_or_emola(original: Any) -> Any:
    """A stand-in for the class global ``LlavaLlamaForCausalLM``, to be loaded from, not to be instantiated."""
    from llava_faba.model.config import EmolaConfig, has_prior, resolve_vision_tower
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    class LlavaOrEmola(original):
        @classmethod
        def from_pretrained(cls, path: Any, *args: Any, config: Any = None, **kwargs: Any) -> Any:
            values = EmolaConfig.get_config_dict(path)[0] if config is None else config.to_dict()
            if not has_prior(values) and not _training_emola.get():
                if config is not None:
                    kwargs["config"] = config
                return original.from_pretrained(path, *args, **kwargs)
            emola_config = EmolaConfig.from_dict({**values, "model_type": EmolaConfig.model_type})
            resolve_vision_tower(emola_config, _checkpoint_folder.get(), path)
            return EmolaLlamaForCausalLM.from_pretrained(path, *args, config=emola_config, **kwargs)

    return LlavaOrEmola
