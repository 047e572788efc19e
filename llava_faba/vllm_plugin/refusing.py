"""What an EmoLA folder meets in a vLLM that the plugin is not written for: a sentence, before anything is loaded."""

from __future__ import annotations

from typing import Any, NoReturn

from transformers import AutoConfig, PretrainedConfig


def refuse(reason: str) -> None:
    """Make ``AutoConfig`` raise ValueError with ``reason`` for model folders of the type "emola"."""

    class Refused(PretrainedConfig):
        model_type = "emola"

        @classmethod
        def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> NoReturn:
            raise ValueError(reason)

    AutoConfig.register(Refused.model_type, Refused, exist_ok=True)
