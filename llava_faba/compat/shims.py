"""The table of shims: what newer transformers, accelerate and peft break in LLaVA, and what fixes it.

LLaVA was written for transformers 4.36 to 4.37; one shim fixes a fault of its own. A shim names the attribute that it
replaces and the function of ours that makes the replacement from the original; the function's docstring names the
upstream change that it answers. A function that finds nothing to fix gives the original back, so that every shim is
switched on by what is there and none by a version number: ``versions`` is what we know, and tests hold it to what is
switched on with each pinned stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llava_faba.compat.replacement import Replacement

MISSING: Any = object()  # what a factory gets as the original when the attribute is not there


@dataclass(frozen=True)
class Shim(Replacement):
    """One fix; ``why`` names the change that it answers, ``versions`` the releases that made it, as a requirement.

    Of a class method the factory gets, and gives back, the function that takes the class first.

    Shims of packages that LLaVA imports go in before it is imported, shims of LLaVA's own modules afterwards and
    before the seams; the order of the table is the order of application.
    """

    versions: str = ""

    @property
    def in_llava(self) -> bool:
        return self.module.split(".")[0] == "llava"

    @property
    def in_training(self) -> bool:
        """Whether LLaVA's training code alone needs it, of what is outside LLaVA."""
        return self.module == "transformers.trainer"


SHIMS: tuple[Shim, ...] = (
    Shim(
        "layernorm-layers",
        "transformers.trainer:ALL_LAYERNORM_LAYERS",
        "llava_faba.compat.reexports:layernorm_layers",
        "transformers 5 no longer exports it from transformers.trainer; without it LLaVA's trainer does not import",
        "transformers>=5",
    ),
    Shim(
        "hub-folder",
        "huggingface_hub:HfFolder",
        "llava_faba.compat.reexports:hub_folder",
        "huggingface_hub 1 has dropped it; without it gradio 4, which LLaVA's web page needs, does not import",
        "huggingface-hub>=1",
    ),
    Shim(
        "slow-tokenizer",
        "transformers:AutoTokenizer.from_pretrained",
        "llava_faba.compat.tokens:honour_use_fast",
        "transformers 5 ignores use_fast=False, and its LLaMA tokens differ from those that LLaVA was trained on",
        "transformers>=5",
    ),
    Shim(
        "quantization-precision",
        "transformers:PreTrainedModel.from_pretrained",
        "llava_faba.compat.quantization:float16_beside_quantized",
        "transformers 5 leaves what is not quantized in the type of the files, 4.x made it float16",
        "transformers>=5",
    ),
    Shim(
        "quantization-skips",
        "transformers:PreTrainedModel.from_pretrained",
        "llava_faba.compat.quantization:skips_by_part_of_name",
        "transformers 5 no longer finds llm_int8_skip_modules in the middle of a name, and quantizes the projectors",
        "transformers>=5",
    ),
    Shim(
        "quantization-flags",
        "transformers:PreTrainedModel.from_pretrained",
        "llava_faba.compat.quantization:flags_as_config",
        "transformers 5 no longer takes load_in_4bit and load_in_8bit, which LLaVA passes for --load-4bit and --bits",
        "transformers>=5",
    ),
    Shim(
        "cache-into-llama",
        "transformers:LlamaForCausalLM.forward",
        "llava_faba.compat.cache_name:forward_by_old_name",
        "transformers 5.24 calls past_key_values cache; LLaVA's forward hands it on by the old name",
        "transformers>=5.24",
    ),
    Shim(
        "cache-of-llama",
        "transformers:LlamaForCausalLM.prepare_inputs_for_generation",
        "llava_faba.compat.cache_name:inputs_by_old_name",
        "transformers 5.24 hands LLaVA's forward, while it generates, a cache that it does not take",
        "transformers>=5.24",
    ),
    Shim(
        "cache-into-mistral",
        "transformers:MistralForCausalLM.forward",
        "llava_faba.compat.cache_name:forward_by_old_name",
        "transformers 5.24 calls past_key_values cache; LLaVA's forward hands it on by the old name",
        "transformers>=5.24",
    ),
    Shim(
        "cache-of-mistral",
        "transformers:MistralForCausalLM.prepare_inputs_for_generation",
        "llava_faba.compat.cache_name:inputs_by_old_name",
        "transformers 5.24 hands LLaVA's forward, while it generates, a cache that it does not take",
        "transformers>=5.24",
    ),
    Shim(
        "vision-tower-precision",
        "llava.model.multimodal_encoder.clip_encoder:CLIPVisionModel",
        "llava_faba.compat.precision:float32_tower",
        "transformers 5 loads weights in the type that they were saved in where 4.x loaded float32",
        "transformers>=5",
    ),
    Shim(
        "worker-pictures",
        "llava.mm_utils:load_image_from_base64",
        "llava_faba.compat.pictures:rgb_from_base64",
        "the model worker pads pictures in their own mode; all other programs of LLaVA convert to RGB first",
        "llava>=1.2",
    ),
    Shim(
        "config-rope",
        "llava.model.language_model.llava_llama:LlavaConfig.to_dict",
        "llava_faba.compat.configs:rope_for_older_readers",
        "transformers 5 saves rotary embeddings under a name that 4.x does not read",
        "transformers>=5",
    ),
    Shim(
        "config-base-model",
        "llava.model.language_model.llava_llama:LlavaConfig.to_diff_dict",
        "llava_faba.compat.configs:base_model_named",
        "transformers 5 no longer saves the base model's name, which a folder of projectors is loaded by",
        "transformers>=5",
    ),
    Shim(
        "trainer-tokenizer",
        "llava.train.train:LLaVATrainer",
        "llava_faba.compat.trainer:accept_tokenizer",
        "transformers 5 calls the Trainer's argument tokenizer processing_class",
        "transformers>=5",
    ),
    Shim(
        "trainer-sampler",
        "llava.train.train:LLaVATrainer",
        "llava_faba.compat.trainer:accept_dataset",
        "transformers 4.51 and later hand the dataset to _get_train_sampler",
        "transformers>=4.51",
    ),
    Shim(
        "trainer-checkpoint",
        "llava.train.train:LLaVATrainer",
        "llava_faba.compat.trainer:save_without_metrics",
        "transformers 4.47 and later no longer hand metrics to _save_checkpoint",
        "transformers>=4.47",
    ),
    Shim(
        "trainer-rotation",
        "llava.train.train:LLaVATrainer",
        "llava_faba.compat.trainer:rotate_as_method",
        "transformers 5 has made the method _rotate_checkpoints a function, so that no trainer can override it",
        "transformers>=5",
    ),
    Shim(
        "training-precision",
        "llava.train.train:train",
        "llava_faba.compat.precision:train_from_float32",
        "transformers 5 takes torch_dtype=None as the type of the files, 4.x took it as float32",
        "transformers>=5",
    ),
    Shim(
        "adapter-precision",
        "llava.train.train:train",
        "llava_faba.compat.precision:adapters_in_model_dtype",
        "peft 0.12 and later make adapters float32 in a bf16 model, which ZeRO-3 refuses with an AssertionError",
        "peft>=0.12",
    ),
    Shim(
        "adapter-config",
        "llava.train.train:train",
        "llava_faba.compat.configs:adapters_for_older_readers",
        "peft 0.8 and later write settings into adapter_config.json that 0.7 refuses to read",
        "peft>=0.8",
    ),
    Shim(
        "training-flags",
        "llava.train.train:train",
        "llava_faba.compat.flags:translate_flags",
        "transformers 5 has dropped flags that LLaVA's scripts use, and wants to be told of a CPU",
        "transformers>=5",
    ),
)
