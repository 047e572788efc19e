"""SmolLM2-135M-Instruct from llama.cpp's GGUF to a LLaMA folder of transformers with a LLaVA-1.5 tokenizer.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The ``gguf`` package reads and dequantizes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import write_json

from llava_faba.errors import UserError
from llava_faba.packages import install_command

END = "</s>"
"""Stands for SmolLM2's ``<|im_end|>`` (token 2): LLaVA's templates end an answer with it."""
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_CONTROL = 3  # GGUF's type of tokens that no text is split into


def convert(gguf_file: Path, folder: Path) -> None:
    """Write config.json, float32 weights and the tokenizer into ``folder``.

    Raises UserError where the ``gguf`` package is missing and for tensors that are not known.
    """
    import torch
    from safetensors.torch import save_file

    gguf = _gguf()
    reader = gguf.GGUFReader(str(gguf_file))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = _config(fields)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = unpermute(values, heads[part])
        state[_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(values))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config, indent=2)
    _write_tokenizer(folder, fields)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection, (heads * width, in), from llama.cpp's order to transformers'.

    llama.cpp turns neighbouring rows (0, 1), (2, 3), ... of a head together, transformers row i and row i + width / 2.
    """
    rows, inner = weight.shape
    width = rows // heads
    return weight.reshape(heads, width // 2, 2, inner).swapaxes(1, 2).reshape(rows, inner)


def _config(fields: Mapping[str, Any]) -> dict[str, Any]:
    def of(name: str) -> Any:
        return fields[f"llama.{name}"]

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": round(of("attention.layer_norm_rms_epsilon"), 9),
        "rope_theta": of("rope.freq_base"),
        "vocab_size": of("vocab_size"),
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.unknown_token_id"],
        "tie_word_embeddings": True,
        "attention_bias": False,
        "torch_dtype": "float32",
    }


def _name(tensor: str) -> str:
    stem = tensor.removesuffix(".weight")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.weight"
    parts = stem.split(".")
    if len(parts) != 3 or parts[0] != "blk" or parts[2] not in _LAYER:
        raise UserError(f"the GGUF file holds a tensor that is not known: {tensor}")
    return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.weight"


def _write_tokenizer(folder: Path, fields: Mapping[str, Any]) -> None:
    """tokenizer.json of byte-level BPE, each digit by itself, as GGUF's pre-tokenizer "smollm" says."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if fields["tokenizer.ggml.model"] != "gpt2" or fields["tokenizer.ggml.pre"] != "smollm":
        raise UserError("the GGUF file's tokenizer is not SmolLM's")
    tokens = list(fields["tokenizer.ggml.tokens"])
    end, unknown = fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.unknown_token_id"]
    tokens[end] = END
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
            "eos_token": END,
            "unk_token": tokens[unknown],
            "pad_token": tokens[unknown],
            "model_max_length": fields["llama.context_length"],
            "clean_up_tokenization_spaces": False,
        },
        indent=2,
    )


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise UserError(f"reading GGUF needs the package gguf: {install_command('demo-real')}") from error
    return gguf
