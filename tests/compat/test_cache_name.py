"""The cache's two names: LLaVA's classes generate as LLaMA and Mistral do, without a warning, whatever it is called."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import llava_faba

pytestmark = pytest.mark.newest
IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 3, 2, 4]])
SIZE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": None,
}


@pytest.fixture(autouse=True)
def _registered(registered: None) -> Iterator[None]:
    yield


def pairs() -> dict[str, tuple[Any, Any]]:
    """LLaVA's class and the one below it, with equal weights."""
    from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
    from llava.model.language_model.llava_mistral import LlavaMistralConfig, LlavaMistralForCausalLM
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    found = {}
    for name, (llava, llava_config, plain, plain_config) in {
        "llama": (LlavaLlamaForCausalLM, LlavaConfig, LlamaForCausalLM, LlamaConfig),
        "mistral": (LlavaMistralForCausalLM, LlavaMistralConfig, MistralForCausalLM, MistralConfig),
    }.items():
        torch.manual_seed(0)
        config = llava_config(**SIZE)
        config.pretraining_tp = 1
        ours, theirs = llava(config).eval(), plain(plain_config(**SIZE)).eval()
        theirs.load_state_dict(ours.state_dict())
        found[name] = ours, theirs
    return found


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize(
    "how", [{"do_sample": False}, {"do_sample": False, "num_beams": 3}, {"do_sample": False, "use_cache": False}]
)
def test_llava_generates_what_the_class_below_does_without_a_warning(family, how):
    ours, theirs = pairs()[family]
    expected = theirs.generate(IDS, max_new_tokens=12, **how)[:, -12:]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert torch.equal(ours.generate(IDS, max_new_tokens=12, **how)[:, -12:], expected)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_cache_given_by_hand_is_used(family):
    """Two halves of a prompt, the second with the first's cache, as llava-faba's own batching asks."""
    from transformers import DynamicCache

    ours, _ = pairs()[family]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        whole = ours(input_ids=IDS).logits
        cache = DynamicCache()
        ours(input_ids=IDS[:, :3], past_key_values=cache, use_cache=True)
        rest = ours(
            input_ids=IDS[:, 3:], past_key_values=cache, use_cache=True, position_ids=torch.arange(3, 5)[None]
        ).logits
    assert torch.allclose(whole[:, 3:], rest, atol=1e-5)


def test_only_llavas_models_are_called_otherwise():
    """Where transformers warns of the old name, it goes on warning for models that are not LLaVA's."""
    import inspect

    from transformers import DynamicCache, LlamaForCausalLM

    _, theirs = pairs()["llama"]
    renamed = "cache" in inspect.signature(LlamaForCausalLM.forward).parameters
    with torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        theirs(input_ids=IDS, past_key_values=DynamicCache())
    assert any("past_key_values" in str(one.message) for one in told) is renamed


def test_taken_back():
    from transformers import LlamaForCausalLM

    llava_faba.unregister()
    assert "prepare_inputs_for_generation" not in vars(LlamaForCausalLM) or not hasattr(
        vars(LlamaForCausalLM)["prepare_inputs_for_generation"], "__wrapped__"
    )
