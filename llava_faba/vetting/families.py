"""config.json: the model families that are read, and every key that theirs may hold.

Values are bounded before anything is allocated by them. Nothing here names code: ``auto_map``, ``custom_pipelines``,
attention kernels and quantizers of the file's choice are not in the tables, and so are never handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import (
    Check,
    Table,
    checked,
    dict_of,
    dropped,
    either,
    finite_numbers,
    flag,
    list_of,
    log,
    name,
    number,
    one_of,
    optional,
    path_or_name,
    shown,
    table_of,
    text,
    whole,
)
from llava_faba.vetting.prior_parts import METHOD_KEYS, MOST_PARTS, SIZES_KEY, methods, needed_statistics, sizes_of
from llava_faba.vetting.prior_tokens import KINDS, REGIONS_KEY, TOKENS_KEY, has_whole, kind_of, regions_check
from llava_faba.vetting.prior_tokens import problem as tokens_problem
from llava_faba.vetting.side_files import GENERATION_TABLE

EMOLA_TYPE = "emollava"
LLAMA_TYPES = ("llava", "llava_llama", EMOLA_TYPE, "llama")
MISTRAL_TYPES = ("llava_mistral", "mistral")
MPT_TYPES = ("llava_mpt", "mpt")
CLIP_TYPES = ("clip_vision_model", "clip")
DINO_TYPE = "dinov2"
TOWER_TYPES = (*CLIP_TYPES, DINO_TYPE)
DEPTH_LIMIT = 16
PRIOR_LIMIT = 1 << 16
PINPOINT_LIMIT = 4096
_PAIR = r"[\[(]\s*[0-9]{1,5}\s*,\s*[0-9]{1,5}\s*,?\s*[\])]"
_PINPOINTS = re.compile(rf"\s*[\[(]\s*{_PAIR}(?:\s*,\s*{_PAIR})*\s*,?\s*[\])]\s*")
_SETTING = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_MLP = re.compile(r"mlp([1-9][0-9]?)x_gelu")
_ACTIVATIONS = (
    "gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_accurate", "laplace",
    "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh",
)  # fmt: skip
_DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")
_SIZE = whole(1, 1 << 17)
_TOKEN = optional(whole(-1, 1 << 24))
_TOKENS = either(_TOKEN, list_of(whole(0, 1 << 24), most=64))
_FREE = (type(None), bool, int, float, str)


def projector_type(value: Any) -> str:
    """``linear``, ``identity`` or ``mlpNx_gelu``."""
    found = _MLP.fullmatch(value) if isinstance(value, str) else None
    if value not in ("linear", "identity") and (found is None or int(found.group(1)) > DEPTH_LIMIT):
        raise ValueError(f"'linear', 'identity' or 'mlpNx_gelu' of at most {DEPTH_LIMIT} layers")
    return str(value)


def projector_layers(kind: str) -> int:
    """The linear layers of a projector of this type; 0 for ``identity``."""
    found = _MLP.fullmatch(kind)
    return int(found.group(1)) if found else int(kind == "linear")


def expert_settings(value: Any) -> dict[str, Any]:
    """Plain settings, as the experts take them: numbers, texts, and lists of them."""
    plain = either(
        flag,
        number(-1e9, 1e9),
        path_or_name,
        one_of(None),
        list_of(either(flag, number(-1e9, 1e9), text(4096)), most=64),
    )
    result: dict[str, Any] = dict_of(_setting, plain, most=64)(value)
    return result


def _setting(value: Any) -> str:
    """A setting's name; of several experts, behind its expert's and a dot ("mediapipe-478.weights")."""
    if not isinstance(value, str) or len(value) > 200 or not _SETTING.fullmatch(value):
        raise ValueError("a name of letters, digits, underscores, hyphens and dots")
    return value


def _normalization(value: Any) -> str:
    """A method, or one for each of several experts, joined by "+"."""
    named = value.split("+") if isinstance(value, str) else []
    if not 1 <= len(named) <= MOST_PARTS or any(one not in METHOD_KEYS for one in named):
        raise ValueError(f"one of {', '.join(METHOD_KEYS)}, or several of them joined by '+'")
    return str(value)


def pinpoints(value: Any) -> Any:
    """LLaVA-1.6's resolutions, (width, height) each: a list, or as older configs have it, its text.

    LLaVA evaluates the text as a Python literal when it prepares a picture, and cuts as many crops as it says.
    """
    pairs = list_of(list_of(whole(1, PINPOINT_LIMIT), length=2), most=256)
    if not isinstance(value, str):
        return pairs(value)
    if len(value) > 8000 or not _PINPOINTS.fullmatch(value):
        raise ValueError("the text of a list of pairs, such as '[(336, 672), (672, 336)]'")
    pairs([[int(side) for side in pair] for pair in re.findall(r"([0-9]+)\s*,\s*([0-9]+)", value)])
    return value


def _scales(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5}){0,7}", value):
        raise ValueError("at most 8 sizes with commas between them")
    return value


_ROPE = table_of(
    {
        "type": text(40),
        "rope_type": text(40),
        "factor": number(1e-3, 1e4),
        "rope_theta": number(1, 1e12),
        "partial_rotary_factor": number(1e-3, 1),
        "original_max_position_embeddings": whole(1, 1 << 24),
        "attention_factor": optional(number(0, 1e4)),
        "beta_fast": number(0, 1e4),
        "beta_slow": number(0, 1e4),
        "mscale": number(0, 1e4),
        "mscale_all_dim": number(0, 1e4),
        "low_freq_factor": number(0, 1e4),
        "high_freq_factor": number(0, 1e4),
        "short_factor": finite_numbers(0, 1e6, most=4096),
        "long_factor": finite_numbers(0, 1e6, most=4096),
    }
)
_COMMON: dict[str, Check] = {
    **GENERATION_TABLE,
    "_name_or_path": path_or_name,
    "architectures": optional(list_of(name, most=8)),
    "model_type": text(40),
    "torch_dtype": optional(one_of(*_DTYPES)),
    "dtype": optional(one_of(*_DTYPES)),
    "transformers_version": optional(text(40)),
    "bos_token_id": _TOKEN,
    "eos_token_id": _TOKENS,
    "pad_token_id": _TOKEN,
    "tie_word_embeddings": flag,
    "use_cache": flag,
    "initializer_range": number(0, 10),
    "vocab_size": whole(1, 1 << 22),
    "hidden_act": one_of(*_ACTIVATIONS),
}
_LLAVA: dict[str, Check] = {
    "conversation_template": optional(text(100)),
    "freeze_mm_mlp_adapter": flag,
    "freeze_mm_vision_resampler": flag,
    "image_aspect_ratio": optional(one_of("pad", "square", "anyres", "crop")),
    "image_crop_resolution": optional(whole(1, 1 << 14)),
    "image_grid_pinpoints": optional(pinpoints),
    "image_split_resolution": optional(whole(1, 1 << 14)),
    "max_sequence_length": whole(1, 1 << 24),
    "mm_hidden_size": _SIZE,
    "mm_patch_merge_type": optional(one_of("flat", "spatial", "spatial_unpad")),
    "mm_projector_lr": optional(number(0, 1e3)),
    "mm_projector_type": projector_type,
    "mm_resampler_type": optional(text(40)),
    "mm_use_im_patch_token": flag,
    "mm_use_im_start_end": flag,
    "mm_vision_select_feature": one_of("patch", "cls_patch"),
    "mm_vision_select_layer": whole(-512, 512),
    "mm_vision_tower": optional(path_or_name),
    "vision_tower": optional(path_or_name),
    "mm_vision_tower_lr": optional(number(0, 1e3)),
    "s2": flag,
    "s2_scales": _scales,
    "tokenizer_model_max_length": optional(whole(1, 1 << 24)),
    "tokenizer_padding_side": one_of("left", "right"),
    "tune_mm_mlp_adapter": flag,
    "tune_mm_vision_resampler": flag,
    "unfreeze_mm_vision_tower": flag,
    "use_mm_proj": flag,
}
_PRIOR: dict[str, Check] = {
    "landmark_feature_hidden_size": optional(whole(1, PRIOR_LIMIT)),
    "facial_prior_expert": optional(text(400)),
    "facial_prior_expert_version": optional(either(text(200), number(0, 1e6))),
    "facial_prior_expert_settings": optional(expert_settings),
    "facial_prior_projector_type": optional(projector_type),
    "facial_prior_normalization": optional(_normalization),
    TOKENS_KEY: optional(one_of(*KINDS)),
    REGIONS_KEY: optional(regions_check(PRIOR_LIMIT)),
    SIZES_KEY: optional(list_of(whole(1, PRIOR_LIMIT), most=MOST_PARTS)),
    "facial_prior_statistics": optional(
        table_of({"mean": finite_numbers(), "scale": finite_numbers(1e-12), "shape": finite_numbers()})
    ),
}
_DECODER: dict[str, Check] = {
    "attention_bias": flag,
    "attention_dropout": number(0, 1),
    "head_dim": optional(whole(1, 4096)),
    "hidden_size": _SIZE,
    "intermediate_size": whole(1, 1 << 20),
    "max_position_embeddings": whole(1, 1 << 24),
    "mlp_bias": flag,
    "num_attention_heads": whole(1, 4096),
    "num_hidden_layers": whole(1, 1024),
    "num_key_value_heads": optional(whole(1, 4096)),
    "pretraining_tp": whole(1, 64),
    "rms_norm_eps": number(0, 1),
    "rope_parameters": optional(_ROPE),
    "rope_scaling": optional(_ROPE),
    "rope_theta": number(1, 1e12),
    "sliding_window": optional(whole(1, 1 << 24)),
    # How a training quantized its base; the folder's own files are not.
    "quantization_config": dropped,
}
_MPT_CONFIG: dict[str, Check] = {
    "attn_config": table_of(
        {
            "alibi": flag,
            "alibi_bias_max": whole(1, 1 << 16),
            "attn_impl": one_of("torch"),
            "attn_pdrop": number(0, 1),
            "attn_type": one_of("multihead_attention"),
            "attn_uses_sequence_id": flag,
            "clip_qkv": optional(number(0, 1e6)),
            "model_type": dropped,
            "prefix_lm": one_of(False),
            "qk_ln": flag,
            "softmax_scale": optional(number(0, 1e6)),
        }
    ),
    "d_model": _SIZE,
    "emb_pdrop": number(0, 1),
    "expansion_ratio": whole(1, 64),
    "hidden_size": _SIZE,
    "layer_norm_epsilon": number(0, 1),
    "learned_pos_emb": flag,
    "logit_scale": optional(either(number(-1e6, 1e6), one_of("inv_sqrt_d_model"))),
    "max_seq_len": whole(1, 1 << 24),
    "n_heads": whole(1, 4096),
    "n_layers": whole(1, 1024),
    "no_bias": flag,
    "resid_pdrop": number(0, 1),
    "verbose": whole(0, 9),
    "embedding_fraction": number(0, 1),
    "norm_type": text(40),
}
_CLIP: dict[str, Check] = {
    "attention_dropout": number(0, 1),
    "dropout": number(0, 1),
    "hidden_size": _SIZE,
    "image_size": whole(1, 8192),
    "initializer_factor": number(0, 1e6),
    "intermediate_size": whole(1, 1 << 20),
    "layer_norm_eps": number(0, 1),
    "num_attention_heads": whole(1, 4096),
    "num_channels": whole(1, 16),
    "num_hidden_layers": whole(1, 1024),
    "patch_size": whole(1, 4096),
    "projection_dim": whole(1, 1 << 17),
}
_DINO: dict[str, Check] = {
    "apply_layernorm": dropped,
    "attention_probs_dropout_prob": number(0, 1),
    "drop_path_rate": number(0, 1),
    "hidden_dropout_prob": number(0, 1),
    "hidden_size": _SIZE,
    "image_size": whole(1, 8192),
    "layer_norm_eps": number(0, 1),
    "layerscale_value": number(0, 1e6),
    "mlp_ratio": whole(1, 64),
    "num_attention_heads": whole(1, 4096),
    "num_channels": whole(1, 16),
    "num_hidden_layers": whole(1, 1024),
    "out_features": dropped,
    "out_indices": dropped,
    "patch_size": whole(1, 4096),
    "qkv_bias": one_of(True),
    "reshape_hidden_states": dropped,
    "stage_names": dropped,
    "use_mask_token": one_of(True),
    "use_swiglu_ffn": one_of(False),
}
_TABLES: dict[str, Table] = {
    **{kind: {**_COMMON, **_DECODER, **_LLAVA, **_PRIOR} for kind in (*LLAMA_TYPES, *MISTRAL_TYPES)},
    **{kind: {**_COMMON, **_MPT_CONFIG, **_LLAVA} for kind in MPT_TYPES},
    **{kind: {**_COMMON, **_CLIP} for kind in CLIP_TYPES},
    DINO_TYPE: {**_COMMON, **_DINO},
}
# Settings of generation and training that older releases of transformers wrote into every config.json.
_OF_NO_EFFECT_TEXT = """
    _commit_hash add_cross_attention bad_words_ids begin_suppress_tokens chunk_size_feed_forward
    cross_attention_hidden_size decoder_start_token_id diversity_penalty early_stopping
    encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id gradient_checkpointing id2label init_device is_decoder is_encoder_decoder label2id
    logit_scale_init_value num_beam_groups num_labels num_return_sequences output_attentions
    output_hidden_states output_scores output_past prefix problem_type pruned_heads remove_invalid_values
    return_dict return_dict_in_generate sep_token_id suppress_tokens task_specific_params text_config
    text_config_dict tf_legacy_loss tie_encoder_decoder tokenizer_class tokenizer_name torchscript use_bfloat16
    vision_config_dict
"""
_OF_NO_EFFECT = frozenset(_OF_NO_EFFECT_TEXT.split())
_DECODER_NEEDS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
# Absent, LLaVA takes the first for true, and adds a token whose weights are drawn at random.
_EMOLA_NEEDS = ("mm_use_im_patch_token", "mm_use_im_start_end")
_LLAVA_NEEDS = ("mm_hidden_size", "mm_vision_select_layer")


def model_config(values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """A model's config.json as our tables list it.

    Raises CheckpointError for a family that is not read, and for values that are not what their keys say.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in _TABLES:
        known = ", ".join(dict.fromkeys((*LLAMA_TYPES, *MISTRAL_TYPES, *MPT_TYPES, *TOWER_TYPES)))
        raise CheckpointError(f"{where}: model_type {shown(kind)} is none that llava-faba reads ({known}).")
    if kind == "clip" and isinstance(values.get("vision_config"), dict):
        values = {**values["vision_config"], "model_type": "clip"}
    kept = checked(values, _TABLES[kind], where, quiet=_OF_NO_EFFECT)
    if kind in CLIP_TYPES:
        kept["model_type"] = "clip_vision_model"
    return kept


def check_whole(config: dict[str, Any], where: Path) -> None:
    """Raises CheckpointError for a vetted config.json that lacks what its model is built by, or contradicts itself."""
    kind = config.get("model_type")
    if kind in (*LLAMA_TYPES, *MISTRAL_TYPES):
        _check_decoder(config, where)
        _check_prior(config, where)
    elif kind in TOWER_TYPES:
        _check_divisible(config, "hidden_size", "num_attention_heads", where, 768, 12)


def tower_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of CLIP, or of DINOv2, under what a tower's config says."""
    if config.get("model_type") == DINO_TYPE:
        sizes = {"hidden_size": 768, "image_size": 224, "mlp_ratio": 4, "num_channels": 3, "num_hidden_layers": 12}
        return {**sizes, "patch_size": 16, **config}
    return {
        "hidden_size": 768,
        "image_size": 224,
        "intermediate_size": 3072,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 32,
        **config,
    }


def _check_decoder(config: dict[str, Any], where: Path) -> None:
    # A config that does not say how large its model is takes the size of a LLaMA-7B, whatever its weights are.
    needed = (*_DECODER_NEEDS, *(_LLAVA_NEEDS if config.get("mm_vision_tower") else ()))
    if config.get("landmark_feature_hidden_size") is not None:
        needed += _EMOLA_NEEDS
    missing = [key for key in needed if key not in config]
    if missing:
        raise CheckpointError(f"{where}: {', '.join(missing)} missing; the file is not whole, copy it again.")
    heads, groups = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    if config.get("head_dim") is None:
        _check_divisible(config, "hidden_size", "num_attention_heads", where)
    if heads % groups:
        raise CheckpointError(
            f"{where}: num_attention_heads ({heads}) is not a multiple of num_key_value_heads ({groups})."
        )


def _check_divisible(
    config: Mapping[str, Any], whole_key: str, part_key: str, where: Path, default: int = 1, part_default: int = 1
) -> None:
    value, part = config.get(whole_key, default), config.get(part_key, part_default)
    if value % part:
        raise CheckpointError(f"{where}: {whole_key} ({value}) is not a multiple of {part_key} ({part}).")


def prior_settings(values: Mapping[str, Any], where: str | Path) -> None:
    """Check what a config of any home says of its facial prior and its pictures.

    Raises CheckpointError for values that are not what their keys say, and for statistics that are missing or that the
    normalization does not use.
    """
    table = {**_PRIOR, "image_grid_pinpoints": _LLAVA["image_grid_pinpoints"]}
    kept = checked({key: values[key] for key in table if key in values}, table, where)
    size = kept.get("landmark_feature_hidden_size")
    if size is not None:
        _check_statistics(kept, size, where)


def _check_statistics(config: Mapping[str, Any], size: int, where: str | Path) -> None:
    method, statistics = config.get("facial_prior_normalization") or "none", config.get("facial_prior_statistics")
    try:
        needed = needed_statistics(methods(method, len(sizes_of(config, size))))
    except ValueError as error:
        raise CheckpointError(f"{where}: facial_prior_normalization: {error}.") from None
    for key in needed:
        # With no statistics at all the model loads, and says so when it is given a prior.
        if statistics and len(statistics.get(key, ())) != size:
            raise CheckpointError(
                f"{where}: facial_prior_normalization is '{method}' but facial_prior_statistics has no '{key}' of "
                f"{size} numbers; the checkpoint is incomplete."
            )
    if not needed and statistics:
        raise CheckpointError(
            f"{where}: facial_prior_statistics are there, but facial_prior_normalization is 'none' or missing; one of "
            "the two is not what the model was trained with."
        )


def _check_prior(config: dict[str, Any], where: Path) -> None:
    size = config.get("landmark_feature_hidden_size")
    if size is None:
        if config.get("model_type") == EMOLA_TYPE:
            raise CheckpointError(
                f"{where}: model_type is '{EMOLA_TYPE}' but landmark_feature_hidden_size, the size of its facial "
                "prior, is missing; copy the file again."
            )
        return
    if config.get("image_aspect_ratio") is None:
        log.warning("%s: no image_aspect_ratio: pictures that are not square are cropped, as LLaVA does then.", where)
    _check_statistics(config, size, where)
    wrong = tokens_problem(config, size, config["hidden_size"])
    if wrong is not None:
        raise CheckpointError(f"{where}: {wrong}; the checkpoint is not what was trained.")
    kind = config.get("facial_prior_projector_type") or config.get("mm_projector_type", "linear")
    if has_whole(kind_of(config)) and kind == "identity" and size != config["hidden_size"]:
        raise CheckpointError(
            f"{where}: an 'identity' prior projector needs priors of the hidden size {config['hidden_size']}, these "
            f"have {size}."
        )
