"""Small random vision-language models of transformers' own classes, with their own processors.

Their video processors need torchvision, which is not here: they are left out of the processors.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
import transformers
from transformers import PreTrainedTokenizerFast

HIDDEN = 64
_TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 400,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _tokenizer(*special: str, **named: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280 + len(special),
        special_tokens=["<pad>", "<eos>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["What is the emotion of this face?"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<eos>",
        padding_side="left",
        extra_special_tokens=named,
    )


def _processor(cls: Any, *parts: Any, **options: Any) -> Any:
    with mock.patch.object(cls, "check_argument_for_proper_class", lambda *_: None):
        return cls(*parts, None, **options)


def llava() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    picture = transformers.LlavaImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_pad=True
    )
    config = transformers.LlavaConfig(
        vision_config={**_VISION, "model_type": "clip_vision_model", "image_size": 32, "patch_size": 8},
        text_config={**_TEXT, "model_type": "llama"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = transformers.LlavaProcessor(
        picture, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return transformers.LlavaForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>", "<video>")
    pinpoints = [[32, 32], [64, 32], [32, 64], [64, 64]]
    picture = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints
    )
    config = transformers.LlavaOnevisionConfig(
        vision_config={**_VISION, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8},
        text_config={**_TEXT, "model_type": "qwen2"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    processor = _processor(
        transformers.LlavaOnevisionProcessor,
        picture,
        tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def _qwen_tokens() -> tuple[Any, dict[str, int]]:
    """A tokenizer with Qwen's tokens of pictures, and their ids by the names that its configs have for them."""
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _tokenizer(*names)
    ids = tokenizer.convert_tokens_to_ids(list(names))
    return tokenizer, dict(zip(("vision_start", "vision_end", "image", "video"), ids, strict=True))


def qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer, ids = _qwen_tokens()
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": HIDDEN,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **_TEXT,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
        },
        **{f"{name}_token_id": number for name, number in ids.items()},
    )
    picture = transformers.Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28 * 16)
    return transformers.Qwen2_5_VLForConditionalGeneration(config), _processor(
        transformers.Qwen2_5_VLProcessor, picture, tokenizer
    )


def qwen3_vl() -> tuple[Any, Any]:
    tokenizer, ids = _qwen_tokens()
    config = transformers.Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        text_config={
            **_TEXT,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 3, 3],
                "mrope_interleaved": True,
                "rope_theta": 1e4,
            },
        },
        **{f"{name}_token_id": number for name, number in ids.items()},
    )
    picture = transformers.Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, min_pixels=32 * 32, max_pixels=32 * 32 * 16
    )
    return transformers.Qwen3VLForConditionalGeneration(config), _processor(
        transformers.Qwen3VLProcessor, picture, tokenizer
    )


def smolvlm() -> tuple[Any, Any]:
    from transformers.models.smolvlm import processing_smolvlm

    rows = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    names = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    }
    tokenizer = _tokenizer(*names.values(), *rows, "<end_of_utterance>", **names)
    config = transformers.SmolVLMConfig(
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        text_config={**_TEXT, "model_type": "llama"},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    picture = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    with mock.patch.object(processing_smolvlm, "num2words", object()):  # for videos
        processor = _processor(transformers.SmolVLMProcessor, picture, tokenizer, image_seq_len=4)
    return transformers.SmolVLMForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer(*names.values(), **names)
    config = transformers.Gemma3Config(
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        text_config={**_TEXT, "head_dim": 16, "sliding_window": 64},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    picture = transformers.Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    return transformers.Gemma3ForConditionalGeneration(config), transformers.Gemma3Processor(
        picture, tokenizer, image_seq_length=4
    )


KINDS = {
    "llava": llava,
    "llava_onevision": llava_onevision,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "smolvlm": smolvlm,
    "gemma3": gemma3,
}


def make(kind: str) -> tuple[Any, Any]:
    """(model in eval mode, processor)"""
    torch.manual_seed(0)
    model, processor = KINDS[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval(), processor
