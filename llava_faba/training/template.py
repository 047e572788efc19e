"""The conversation template of the training text: checked when the flags are read, stored in the checkpoint."""

from __future__ import annotations

import os
from typing import Any

from faba_bench.console.output import warn

from llava_faba.errors import UserError, nearest
from llava_faba.inference.conversations import PLAIN, TEMPLATE_KEY

_OF_LLAVA = ("v0", "v0.5")  # LLaVA then keeps its default template, whatever these names stand for elsewhere


def check_version(version: str | None) -> None:
    """Raises UserError for a ``--version`` that no template has: LLaVA would take 'vicuna_v1' without a word; and for
    one that LLaVA's trainer writes otherwise than it is asked with."""
    from llava.conversation import conv_templates

    if version not in conv_templates and version not in _OF_LLAVA:
        raise UserError(f"--version '{version}': no such conversation template.{nearest(str(version), conv_templates)}")
    if version not in _OF_LLAVA and not _is_asked_as_trained(conv_templates[version]):
        raise UserError(
            f"--version '{version}': LLaVA's trainer writes this template otherwise than a question is asked with it "
            "('### Human: ' and line ends, or a picture between <Image> tags), so the model would be asked what it has "
            "not learned. Pass --version v1."
        )


def _is_asked_as_trained(template: Any) -> bool:
    """Whether ``llava.train.train.preprocess`` writes a conversation as ``get_prompt`` does.

    What it has no function of its own for becomes '### Human: ...' whatever the template says, and a version with
    'mmtag' gets tags around the picture in training alone.
    """
    from llava.conversation import SeparatorStyle

    if "mmtag" in template.version:
        return False
    own = template.sep_style in (SeparatorStyle.PLAIN, SeparatorStyle.LLAMA_2)
    return own or template.version.startswith("v1") or template.version == "mpt"


def training_template() -> str:
    """The name of the template that LLaVA's ``train()`` has set, which is not always the one that was asked for."""
    from llava import conversation

    return next(
        name for name, template in conversation.conv_templates.items() if template is conversation.default_conversation
    )


def record_template(config: Any) -> None:
    """Note the template in a model's config, from which whoever asks the model takes it."""
    name = training_template()
    setattr(config, TEMPLATE_KEY, name)
    if name == PLAIN and int(os.environ.get("RANK", 0)) == 0:
        warn(
            f"--version {PLAIN} is LLaVA's template of pretraining: the records' questions are left out, and the model "
            "learns what follows a picture alone. It will be asked in the same way, whatever the question is. Pass "
            "--version v1 for a model that answers questions."
        )
