"""Which conversation template a model is asked with: the one that it was trained with, which its config.json names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError, nearest
from llava_faba.inference.prediction import DEFAULT_CONVERSATION

_OF_MODEL_TYPES = {"llava_mistral": "mistral_instruct", "llava_mpt": "mpt"}
TEMPLATE_KEY = "conversation_template"
"""The key in config.json, written by training: a name of LLaVA's ``conv_templates``."""
PLAIN = "plain"
"""LLaVA's template of pretraining: a picture and what is said of it, without a question."""


@dataclass(frozen=True)
class Template:
    """``name``: the template to use. ``note``: what is worth saying of the choice, empty where it is as it should be.

    ``is_other``: the one that was asked for is not the one that the model was trained with.
    """

    name: str
    note: str = ""
    is_other: bool = False


def choose_template(config: Any, asked: str | None) -> Template:
    """The template for a model's ``config`` (an object, or the dict of a config.json), of which ``asked`` was given.

    Raises UserError for a name that LLaVA does not know.
    """
    stored = config.get(TEMPLATE_KEY) if isinstance(config, Mapping) else getattr(config, TEMPLATE_KEY, None)
    if stored is not None:
        _check(stored, f"the checkpoint's config.json ({TEMPLATE_KEY}): ")
    if asked is not None:
        _check(asked, "")
        if stored is not None and not _same(stored, asked):
            return Template(
                asked,
                f"the model was trained with the conversation template '{stored}', and is asked with '{asked}': its "
                "answers are not those that it learned to give.",
                is_other=True,
            )
        return Template(asked, _of_plain(asked))
    if stored is not None:
        return Template(stored, _of_plain(stored))
    kind = config.get("model_type") if isinstance(config, Mapping) else getattr(config, "model_type", None)
    name = _OF_MODEL_TYPES.get(str(kind), DEFAULT_CONVERSATION)
    return Template(name, f"the checkpoint does not name the conversation template of its training; '{name}' is used.")


def _of_plain(name: str) -> str:
    if not _same(name, PLAIN):
        return ""
    return f"the conversation template '{PLAIN}' shows the picture alone, as in training: the question is left out."


def template_of(config: Any, asked: str | None, say: Callable[[str], None] | None = None) -> str:
    """The name of ``choose_template``; its note goes to ``say``, or a warning of another template to ``warnings``."""
    chosen = choose_template(config, asked)
    if chosen.note and say is not None:
        say(chosen.note)
    elif chosen.is_other:
        warnings.warn(chosen.note, stacklevel=3)
    return chosen.name


def conversation_of(config: Any) -> str:
    """The template of a model: the one that its config names, else by its kind, as LLaVA's own command line chooses it.

    ``config``: a transformers config, or the object in a config.json.
    """
    return choose_template(config, None).name


def conversation_of_checkpoint(model_path: str | Path) -> str:
    """``conversation_of`` for a folder or hub id, without loading the model. Raises CheckpointError."""
    from llava_faba.model.checkpoints import inspect_checkpoint

    return conversation_of(inspect_checkpoint(model_path).config)


def _check(name: Any, what: str) -> None:
    from llava.conversation import conv_templates

    if not isinstance(name, str) or name not in conv_templates:
        raise UserError(f"{what}no conversation template is called '{name}'.{nearest(str(name), conv_templates)}")


def _same(one: str, other: str) -> bool:
    """Whether two names give the same prompts: LLaVA has several for some templates."""
    return one == other or _parts(one) == _parts(other)


def _parts(name: str) -> tuple[Any, ...]:
    from llava.conversation import conv_templates

    template = conv_templates[name]
    return template.system, template.roles, template.sep_style, template.sep, template.sep2, list(template.messages)
