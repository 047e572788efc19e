"""What early releases of PEFT read in ``adapter_config.json``; anything else is an unexpected argument to them."""

from __future__ import annotations

# The authors' pin is an early one.
PEFT_0_4 = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "modules_to_save",
        "peft_type",
        "r",
        "revision",
        "target_modules",
        "task_type",
    }
)
PEFT_0_7 = PEFT_0_4 | {"alpha_pattern", "loftq_config", "megatron_config", "megatron_core", "rank_pattern"}
