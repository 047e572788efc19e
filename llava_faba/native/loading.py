"""A native folder loaded for this package's own commands: checked, on a device, in a precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from llava_faba.errors import CheckpointError
from llava_faba.native.attached import FacialPriorModel
from llava_faba.native.modeling import EmolaForConditionalGeneration
from llava_faba.vetting.native import vet_folder


def load_native(
    folder: Path, device: str | torch.device, dtype: torch.dtype
) -> tuple[Any, EmolaForConditionalGeneration | FacialPriorModel, Any, int]:
    """(tokenizer, model in eval mode, its processor, tokens that it can hold) of a folder that was converted, or that
    ``attach`` made.

    Safetensors only, no code of the folder. Raises CheckpointError for what transformers cannot read, and weights that
    are not those of the config.
    """
    vet_folder(folder)
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded by transformers: {error}") from error
    inner = model.vlm if isinstance(model, FacialPriorModel) else model
    context = int(inner.config.get_text_config().max_position_embeddings)
    return processor.tokenizer, model.to(device).eval(), processor, context
