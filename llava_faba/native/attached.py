"""A facial prior for any vision-language model: the model as it is, a projector, and one token behind each picture.

The placeholder is a token that the tokenizer gets and the model's embeddings do not have: where its id stands, the
embedding layer's output is replaced by the projected prior. Nothing else of the model is touched, so that without a
prior it computes to the bit what it computed before.
"""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationMixin, PreTrainedConfig, PreTrainedModel

from llava_faba.emola.normalization import PriorNormalizer
from llava_faba.errors import PriorError
from llava_faba.native.checking import WholeFolder
from llava_faba.native.modeling import projected_layers


class FacialPriorConfig(PreTrainedConfig):
    """``base_config``: the vision-language model's own configuration, as a dictionary. ``prior_token_id``: the
    placeholder. ``hidden_size``: of the embeddings. The rest: see ``EmolaConfig``."""

    model_type = "facial_prior"

    base_config: dict[str, Any] | None = None
    prior_token_id: int = -1
    hidden_size: int = 0
    landmark_feature_hidden_size: int = 0
    facial_prior_expert: str = "precomputed"
    facial_prior_expert_version: str | None = None
    facial_prior_expert_settings: dict[str, Any] | None = None
    facial_prior_sizes: list[int] | None = None
    facial_prior_projector_type: str = "mlp2x_gelu"
    facial_prior_normalization: str = "none"
    facial_prior_statistics: dict[str, Any] | None = None


@dataclass
class _Given:
    """Projected priors on their way to the embedding layer. ``counts``: how many each row of ``input_ids`` has."""

    token: int
    projected: torch.Tensor
    counts: list[int]
    used: int = 0
    mask: torch.Tensor | None = field(default=None, repr=False)


_given: contextvars.ContextVar[_Given | None] = contextvars.ContextVar("given_priors", default=None)
_hooked: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()


class PriorMlp(torch.nn.Module):
    """Priors (n, size) to embeddings (n, hidden); the layers of ``native.modeling.PriorProjector``."""

    def __init__(self, kind: str, size: int, hidden: int) -> None:
        super().__init__()
        self.layers = projected_layers(self, kind, size, hidden)

    def forward(self, priors: torch.Tensor) -> torch.Tensor:
        for number in range(1, self.layers + 1):
            priors = getattr(self, f"linear_{number}")(priors)
            if number < self.layers:
                priors = torch.nn.functional.gelu(priors)
        return priors


class FacialPriorModel(WholeFolder, PreTrainedModel, GenerationMixin):
    """A vision-language model (``vlm``) whose pictures may bring a facial prior each.

    ``facial_priors`` in ``forward`` and ``generate``: float (number of pictures, prior size), raw, in the order of the
    placeholders in ``input_ids``. Inputs without placeholders go to ``vlm`` as they are.
    """

    config_class = FacialPriorConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: FacialPriorConfig) -> None:
        super().__init__(config)
        said = dict(config.base_config or {})
        self.vlm = AutoModelForImageTextToText.from_config(AutoConfig.for_model(said.pop("model_type"), **said))
        self.prior_projector = PriorMlp(
            config.facial_prior_projector_type, config.landmark_feature_hidden_size, config.hidden_size
        )
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.vlm.get_input_embeddings()

    def set_input_embeddings(self, value: torch.nn.Module) -> None:
        self.vlm.set_input_embeddings(value)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.vlm.get_output_embeddings()

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        return self.vlm.prepare_inputs_for_generation(*args, **kwargs)

    def encode_facial_priors(self, facial_priors: torch.Tensor) -> torch.Tensor:
        """Normalize (in float32) and project priors (n, prior size) to embeddings (n, hidden size)."""
        size = self.config.landmark_feature_hidden_size
        if facial_priors.ndim != 2 or facial_priors.shape[1] != size:
            raise PriorError(
                f"facial_priors must have the shape (number of images, {size}), got {tuple(facial_priors.shape)}."
            )
        if self.config.facial_prior_normalization != "none" and facial_priors.dtype in (torch.bfloat16, torch.float16):
            raise PriorError(f"facial_priors came as {facial_priors.dtype}; pass float32, whatever the model's type.")
        normalized = PriorNormalizer.from_config(self.config, size)(facial_priors)
        weight = next(self.prior_projector.parameters())
        return self.prior_projector(normalized.to(device=weight.device, dtype=weight.dtype))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        facial_priors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if labels is not None:
            kwargs["labels"] = labels.masked_fill(labels == self.config.prior_token_id, -100)
        with self._on_their_way(input_ids, facial_priors):
            return self.vlm(input_ids=input_ids, **kwargs)

    @torch.no_grad()
    def generate(
        self, inputs: torch.Tensor | None = None, facial_priors: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        ids = kwargs.pop("input_ids", inputs)
        self.vlm.generation_config = self.generation_config  # what was saved and loaded is this model's
        with self._on_their_way(ids, facial_priors):
            return self.vlm.generate(input_ids=ids, **kwargs)

    @contextlib.contextmanager
    def _on_their_way(self, ids: torch.Tensor | None, priors: torch.Tensor | None) -> Iterator[None]:
        token = self.config.prior_token_id
        counts = [] if ids is None else (ids == token).sum(dim=1).tolist()
        if sum(counts) != (0 if priors is None else len(priors)):
            raise PriorError(
                f"facial_priors has {0 if priors is None else len(priors)} rows for {sum(counts)} placeholders in "
                "input_ids; the processor that 'attach' returned writes one for each picture."
            )
        if priors is None:
            yield
            return
        _hook(self.get_input_embeddings())
        given = _Given(token, self.encode_facial_priors(priors), counts)
        before = _given.set(given)
        try:
            yield
        finally:
            _given.reset(before)
        if not given.used:
            raise PriorError("this model did not embed its input_ids by get_input_embeddings(): the priors were lost.")


def _hook(embeddings: torch.nn.Module) -> None:
    """Once for each layer; what is replaced is a matter of the call, so that threads can share a model."""
    if embeddings not in _hooked:
        embeddings.register_forward_pre_hook(_without_placeholders)
        embeddings.register_forward_hook(_with_priors)
        _hooked.add(embeddings)


def _without_placeholders(_module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    given = _given.get()
    if given is None or not args:
        return None
    given.mask = args[0] == given.token
    return (args[0].masked_fill(given.mask, 0), *args[1:])


def _with_priors(_module: torch.nn.Module, _args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
    given = _given.get()
    if given is None or given.mask is None or not bool(given.mask.any()):
        return None
    mask, tokens = given.mask, given.projected
    times = mask.shape[0] // len(given.counts)  # beams, and several answers to one prompt
    if times > 1:
        tokens = torch.cat([block.repeat(times, 1) for block in tokens.split(given.counts)])
    given.used += 1
    return output.masked_scatter(mask[..., None].expand_as(output), tokens.to(output))
