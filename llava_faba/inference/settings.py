"""What a generation run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llava_faba.devices import AUTO, DTYPES, choose_device, choose_dtype
from llava_faba.errors import UserError, nearest
from llava_faba.inference.label_scores import LabelQuestions

DEVICES = ("cpu", "cuda")
TEMPERATURE = 1.0
"""Of sampled answers, the model's own probabilities: the share of them that names something says how likely it is."""


@dataclass(frozen=True)
class GenerateSettings:
    """What an answer depends on besides model, image and prompt, and how fast it is made.

    ``conversation``: name of LLaVA's conversation template; None: the one that the checkpoint was trained with.
    ``dtype``: "float32", "float16" or "bfloat16". ``store``: a priors store to read priors from; without it the model
    computes them. ``device``: "cpu" or "cuda" or "cuda:N"; with "cuda", worker k uses GPU k.
    "auto" becomes what it stands for on this machine (``llava_faba.devices``), in both.
    ``engine``: one of ``engines.kinds.NAMES``; None: what takes such a folder. Of "vllm": ``tensor_parallel`` and
    ``data_parallel`` GPUs of a server that is started, or the address of a running one, ``endpoint``.
    ``label_scores``: the protocol whose labels get scores beside each answer (module ``label_scores``); None: none.
    ``samples``: how many sampled answers to add to each greedy one (module ``sampling``).

    Raises UserError for values that cannot be.
    """

    conversation: str | None = None
    max_new_tokens: int = 512
    dtype: str = "float32"
    device: str = "cpu"
    store: str | None = None
    batch_size: int = 16
    workers: int = 1
    engine: str | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    endpoint: str | None = None
    label_scores: str | None = None
    samples: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size", "workers", "tensor_parallel", "data_parallel"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.samples < 0:
            raise UserError(f"samples must be 0 or more, not {self.samples}.")
        if self.device == AUTO:
            object.__setattr__(self, "device", choose_device(AUTO))
        if self.dtype == AUTO:
            chosen = choose_dtype(AUTO, choose_device(self.device))
            object.__setattr__(self, "dtype", str(chosen).removeprefix("torch."))
        for name, known in (("dtype", DTYPES), ("device", DEVICES)):
            value = getattr(self, name)
            one_gpu = name == "device" and value.startswith("cuda:") and value[5:].isdecimal()
            if value not in known and not one_gpu:
                raise UserError(f"{name} must be one of {', '.join(known)}, not '{value}'.{nearest(value, known)}")

    def key_parts(self) -> list[Any]:
        """What of these settings an answer's key covers: how it was decoded, not how fast."""
        own = [] if self.engine in (None, "llava") else [self.engine]
        more: list[Any] = []
        if self.label_scores is not None:
            more.append(["label_scores", LabelQuestions(self.label_scores).digest])
        if self.samples:
            more.append(["samples", self.samples, "temperature", TEMPERATURE])
        return [self.conversation, self.max_new_tokens, self.dtype, *own, *more]
