"""Model cards: README.md in the hub's form, from what a checkpoint says and what was measured of it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faba_bench.tables import markdown_text

from llava_faba.conversion.proof import Report
from llava_faba.conversion.source import Source
from llava_faba.emola.settings import expert_name, prior_size
from llava_faba.errors import CheckpointError, ExpertError
from llava_faba.model.checkpoints import Checkpoint

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_NAME = re.compile(r"[\w.-]+")
_USE_NATIVE = """\
```python
import llava_faba.native  # pip install llava-faba
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("FOLDER OR HUB ID")
processor = AutoProcessor.from_pretrained("FOLDER OR HUB ID")
question = {"type": "text", "text": "What is the emotion of this face?"}
turn = {"role": "user", "content": [{"type": "image"}, question]}
text = processor.apply_chat_template([turn], add_generation_prompt=True)
inputs = processor(images=Image.open("face.jpg"), text=text, return_tensors="pt")
answer = model.generate(**inputs, do_sample=False, max_new_tokens=256)
print(processor.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```
"""


_USE_LLAVA = """\
```bash
llava-faba predict face.jpg --model-path FOLDER{base}
llava-faba analyze PHOTOGRAPHS --model-path FOLDER{base} --out results/
```
"""


_WHAT = """\
EmoLA (Facial Affective Behavior Analysis with Instruction Tuning, ECCV 2024) reads action units and emotions from one
face, with one token made of a facial prior behind the picture's. A picture without a face has a prior of zeros."""
_LIMITS = """\
## Limits

It describes what a face looks like, not what somebody feels. Do not decide about people with it. Reading emotions of
people is restricted or forbidden by law in many places (in the EU at work and in schools). Face detectors and the
sets behind these models do worse for some people than for others: measure it for yours, by group."""


def native_card(source: Source, native: dict[str, Any], report: Report, conversation: str, measured: str) -> str:
    """The card of a folder that ``to-transformers`` writes; ``measured``: what ``conversion/measured.py`` says."""
    ran = "the model's own class and " if report.ran_model else ""
    proved = [
        f"- {report.tokens} texts: token ids equal to SentencePiece's.",
        f"- {report.prompts} prompts: logits of {ran}the files equal to the source's within {report.logits:.1e} "
        "(float32).",
        f"- Conversation template `{conversation}`.",
    ]
    if report.rounding:
        proved.append(f"- Rounding to {native['dtype']} moved the logits by up to {report.rounding:.1e}.")
    name = f"{source.checkpoint.folder.resolve().name}, for transformers"
    base = _base(source.checkpoint)
    return _card(
        _front("transformers", base),
        f"# {markdown_text(name)}\n\n{_WHAT} Converted from LLaVA's format by `llava-faba checkpoint to-transformers`.",
        f"## Use\n\n{_USE_NATIVE}",
        _prior(native),
        "## Proved when it was converted\n\n" + "\n".join(proved),
        f"## Measured\n\n{measured}",
        _LIMITS,
        _licences(base, native["facial_prior_expert"]),
    )


def checkpoint_card(checkpoint: Checkpoint, measured: str) -> str:
    """The card of a checkpoint of LLaVA's home, trained or merged.

    Raises CheckpointError for one without a facial prior.
    """
    if not checkpoint.is_emola:
        raise CheckpointError(f"{checkpoint.folder}: a plain LLaVA checkpoint; the card is of a facial prior.")
    config = checkpoint.config
    base = _base(checkpoint)
    needed = f" --model-base {base or 'BASE'}" if checkpoint.needs_base else ""
    template = config.get("conversation_template")
    said = f"- Conversation template `{template}`." if template else "- It does not say its conversation template."
    kind = "LoRA weights" if checkpoint.is_adapter else "projectors" if checkpoint.needs_base else "a whole model"
    return _card(
        _front("llava-faba", base),
        f"# {markdown_text(checkpoint.folder.resolve().name)}\n\n{_WHAT}",
        f"## Use\n\n{_USE_LLAVA.format(base=needed)}",
        f"{_prior(config)}\n\n- The folder holds {kind}.\n{said}",
        f"## Measured\n\n{measured}",
        _LIMITS,
        _licences(base, expert_name(SimpleNamespace(**config))),
    )


def _card(*sections: str) -> str:
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _base(checkpoint: Checkpoint) -> str:
    """What the checkpoint says that it was trained on; folders of a machine stay there."""
    named = (checkpoint.adapter or {}).get("base_model_name_or_path") or checkpoint.config.get("_name_or_path") or ""
    named = Path(named).name if named.startswith(("/", ".", "~")) else named
    return named if _HUB_ID.fullmatch(named) or _NAME.fullmatch(named) else ""


def _front(library: str, base: str) -> str:
    lines = [f"library_name: {library}", "license: other", "license_name: that-of-the-base-model"]
    if _HUB_ID.fullmatch(base):
        lines.append(f"base_model: {base}")
    lines += ["pipeline_tag: image-text-to-text", "tags: [emola, llava, facial-expression, action-units]"]
    return "\n".join(("---", *lines, "---"))


def _prior(config: dict[str, Any]) -> str:
    expert = expert_name(SimpleNamespace(**config))
    normalization = config.get("facial_prior_normalization") or "none"
    projector = config.get("facial_prior_projector_type") or config.get("mm_projector_type") or "linear"
    return (
        f"## The facial prior\n\n{prior_size(config)} numbers by the expert `{expert}`, normalization "
        f"`{normalization}`, projector `{projector}`."
    )


def _licences(base: str, expert: str) -> str:
    return (
        f"## Licences\n\nThe weights derive from the base model `{base or 'unnamed'}` and are bound by its licence "
        "(LLaVA-1.5 on Vicuna: the Llama 2 Community License). The expert's weights are not in this folder: "
        f"{_licence(expert)}"
    )


def _licence(expert: str) -> str:
    from llava_faba.experts import part_classes

    try:
        said = " ".join(dict.fromkeys(filter(None, (cls.weights_licence for cls in part_classes(expert)))))
    except ExpertError:
        said = ""
    return said or "see the expert's own licence."
