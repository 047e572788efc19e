"""LLaVA's conversation templates as Jinja, as ``llava.conversation.conv_templates`` builds them.

A template is a system text, two roles, and what stands behind a message of each. Only those of LLaVA-1.5 and 1.6 on
Vicuna are here: they are what EmoLA is trained with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llava_faba.errors import CheckpointError, UserError, nearest

DEFAULT = "llava_v1"


@dataclass(frozen=True)
class Conversation:
    """``behind``: what follows a message of the user and of the assistant."""

    system: str
    roles: tuple[str, str] = ("USER", "ASSISTANT")
    behind: tuple[str, str] = (" ", "</s>")

    def prompt(self, turns: list[tuple[str, str | None]]) -> str:
        """``turns``: (question, answer); the last answer is None, where the model goes on."""
        text = self.system + self.behind[0]
        for question, answer in turns:
            text += f"{self.roles[0]}: {question}{self.behind[0]}{self.roles[1]}:"
            text += "" if answer is None else f" {answer}{self.behind[1]}"
        return text

    def jinja(self) -> str:
        """The chat template; a picture stands in front of its message's text, as LLaVA's tools write it."""
        user, assistant = self.roles
        return _JINJA.format(
            system=_quoted(self.system),
            user=user,
            assistant=assistant,
            first=_quoted(self.behind[0]),
            second=_quoted(self.behind[1]),
        )


# What the checkpoint's own system text differs in: its conversation may be another than LLaVA's.
CONVERSATIONS = {
    "llava_v1": Conversation(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions."
    ),
    "vicuna_v1": Conversation(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
}
_ALIASES = {"v1": "vicuna_v1"}

_JINJA = """\
{{%- set own = messages[0]['role'] == 'system' -%}}
{{%- if own -%}}{{%- if messages[0]['content'] is string -%}}{{{{ messages[0]['content'] }}}}{{%- else -%}}\
{{{{ messages[0]['content'][0]['text'] }}}}{{%- endif -%}}{{%- else -%}}{{{{ {system} }}}}{{%- endif -%}}
{{{{ {first} }}}}
{{%- for message in (messages[1:] if own else messages) -%}}
{{%- set parts = namespace(images='', text='') -%}}
{{%- if message['content'] is string -%}}{{%- set parts.text = message['content'] -%}}{{%- else -%}}
{{%- for part in message['content'] -%}}
{{%- if part['type'] == 'image' or part['type'] == 'image_url' -%}}\
{{%- set parts.images = parts.images + '<image>\\n' -%}}
{{%- elif part['type'] == 'text' -%}}{{%- set parts.text = parts.text + part['text'] -%}}{{%- endif -%}}
{{%- endfor -%}}{{%- endif -%}}
{{%- if message['role'] == 'user' -%}}{{{{ '{user}: ' + parts.images + parts.text + {first} }}}}
{{%- elif message['role'] == 'assistant' -%}}{{{{ '{assistant}:' }}}}\
{{%- generation -%}}{{{{ ' ' + parts.text + {second} }}}}{{%- endgeneration -%}}
{{%- else -%}}{{{{ raise_exception('this template knows the roles system, user and assistant') }}}}{{%- endif -%}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}{{{{ '{assistant}:' }}}}{{%- endif -%}}
"""


def conversation(name: str) -> Conversation:
    """A conversation by LLaVA's name for it. Raises UserError for one that is not converted."""
    name = _ALIASES.get(name, name)
    if name not in CONVERSATIONS:
        known = sorted({*CONVERSATIONS, *_ALIASES})
        raise UserError(
            f"the conversation template '{name}' cannot be carried over.{nearest(name, known)} Known here: "
            f"{', '.join(known)}."
        )
    return CONVERSATIONS[name]


def check_template(template: object, where: str) -> None:
    """Raises CheckpointError for a chat template that no ``jinja()`` has written, whatever its system text: it is a
    program, which could run for ever or say anything, and the model has been trained with the one that came with it."""
    text = r"'(?:[^'\\]|\\.){0,4000}'"
    kinds = {(one.roles, one.behind) for one in CONVERSATIONS.values()}
    for roles, behind in kinds:
        mark = "\0"
        written = Conversation(mark, roles, behind).jinja()
        if isinstance(template, str) and re.fullmatch(
            re.escape(written).replace(re.escape(f"'{mark}'"), text), template
        ):
            return
    raise CheckpointError(
        f"{where}: its chat template is none that 'checkpoint to-transformers' writes; copy chat_template.jinja from "
        "where the model is from. With a template of your own, ask the model through transformers "
        "(docs/transformers.md)."
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
