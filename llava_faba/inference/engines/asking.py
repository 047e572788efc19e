"""What both engines of native folders do: questions as chat messages, pictures, and priors with their status."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llava_faba.emola.online import priors_of_pictures
from llava_faba.emola.settings import expert_name, prior_size
from llava_faba.errors import UserError
from llava_faba.experts import create_expert
from llava_faba.inference.engines.kinds import settings_of
from llava_faba.inference.engines.stores import check_store
from llava_faba.priors.store import PriorStore
from llava_faba.records.vocabulary import IMAGE_TOKEN

if TYPE_CHECKING:
    from PIL.Image import Image


class PriorSource:
    """Priors of pictures, from a store or by the expert that the folder names; several threads may ask.

    Raises UserError subclasses where the store is of another expert, and where the expert cannot compute here.
    """

    def __init__(self, model_path: str, store: str | None) -> None:
        config = settings_of(model_path)
        self._lock = threading.Lock()
        self._store = None if store is None else PriorStore.open(store)
        if self._store is not None:
            check_store(self._store, config)
        else:
            described = getattr(config, "facial_prior_expert_settings", None) or {}
            self._expert = create_expert(expert_name(config), described, size=prior_size(config))

    def of(self, names: Sequence[str], pictures: Sequence[Image]) -> tuple[np.ndarray, list[str | None]]:
        """float32 (n, prior size), raw, and a status each: None where it was stored."""
        if self._store is not None:
            return np.stack([self._store.get(name) for name in names]), [None] * len(names)
        with self._lock:
            result = priors_of_pictures(self._expert, pictures)
        return result.features, [status.value for status in result.statuses]


def message(question: str, image: dict[str, Any]) -> dict[str, Any]:
    """A user's turn, the picture in front. Raises UserError for a question that places a picture itself."""
    if IMAGE_TOKEN in question:
        raise UserError(f"'{IMAGE_TOKEN}' in the question: the picture is put before every question, so leave it out.")
    return {"role": "user", "content": [image, {"type": "text", "text": question}]}


def prompt_of(processor: Any, turns: Sequence[dict[str, Any]]) -> str:
    """The text before the next answer, by the chat template of a native folder's processor."""
    return str(processor.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False))


def tokenizing(processor: Any, prompt: str) -> dict[str, bool]:
    """How a processor is called for a prompt: some templates write the first token themselves."""
    first = processor.tokenizer.bos_token
    return {"add_special_tokens": not (first and prompt.startswith(first))}
