"""The model card of a converted checkpoint, from what the checkpoint says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llava_faba.conversion.proof import Report
from llava_faba.conversion.source import Source
from llava_faba.errors import ExpertError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_USE = """\
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


def model_card(source: Source, native: dict[str, Any], report: Report, conversation: str) -> str:
    """README.md in the hub's form: what it is, how it is used, what was proved, whose licences bind."""
    named = (source.checkpoint.adapter or {}).get("base_model_name_or_path") or source.config.get("_name_or_path") or ""
    base = Path(named).name if named.startswith(("/", ".", "~")) else named  # folders of a machine stay there
    expert = native["facial_prior_expert"]
    ran = "the model's own class and " if report.ran_model else ""
    lines = [
        "---",
        "library_name: transformers",
        "license: other",
        "license_name: that-of-the-base-model",
        *([f"base_model: {base}"] if _HUB_ID.fullmatch(base) else []),
        "pipeline_tag: image-text-to-text",
        "tags: [emola, llava, facial-expression, action-units]",
        "---",
        "",
        f"# {source.checkpoint.folder.resolve().name}, for transformers",
        "",
        "EmoLA (Facial Affective Behavior Analysis with Instruction Tuning, ECCV 2024) reads action units and emotions",
        "from one face, with one token made of a facial prior behind the picture's. Converted from LLaVA's format by",
        "`llava-faba checkpoint to-transformers`.",
        "",
        "## Use",
        "",
        _USE,
        "## The facial prior",
        "",
        f"{native['landmark_feature_hidden_size']} numbers by the expert `{expert}`, normalization "
        f"`{native['facial_prior_normalization']}`, projector `{native['facial_prior_projector_type']}`. A picture "
        "without a face has zeros.",
        "",
        "## Proved when it was converted",
        "",
        f"- {report.tokens} texts: token ids equal to SentencePiece's.",
        f"- {report.prompts} prompts: logits of {ran}the files equal to the source's within {report.logits:.1e} "
        "(float32).",
        f"- Conversation template `{conversation}`.",
        *(
            [f"- Rounding to {native['dtype']} moved the logits by up to {report.rounding:.1e}."]
            if report.rounding
            else []
        ),
        "",
        "## Licences",
        "",
        f"The weights derive from the base model `{base or 'unnamed'}` and are bound by its licence (LLaVA-1.5 on",
        "Vicuna: the Llama 2 Community License). The expert's weights are not in this folder: " + _licence(expert),
        "Reading emotions of people may be restricted by law where you are.",
        "",
    ]
    return "\n".join(lines)


def _licence(expert: str) -> str:
    from llava_faba.experts import expert_class

    try:
        said = expert_class(expert).weights_licence
    except ExpertError:
        said = ""
    return said or "see the expert's own licence."
