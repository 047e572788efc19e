"""A YAML file as plain data: texts, numbers, true and false, null, lists and mappings, in the spellings of YAML 1.2.

Nothing of it is run, no tag names code, no alias (they can grow without bound), no key twice, no nesting without end.
YAML 1.1, which PyYAML reads, takes ``22:30`` for 1350, ``0123`` for 83 and ``1e-4`` for a text: here they are what they
look like. Its ``no``, ``off``, ``yes`` and ``on`` are refused: false in one version and a text in the other.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import DEPTH_LIMIT
from faba_bench.files.paths import regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError

_LIMIT = 1 << 18  # bytes: PyYAML takes seconds for that many, and the longest recipe has 12,000
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "int": (re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    "float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        list("-+.0123456789"),
    ),
    "word": (re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"), list("yYnNoO")),
}
_DIGITS = 18  # of a whole number


def load_yaml(path: Path, *, error: type[UserError]) -> Any:
    """What the file holds. Raises ``error``, naming the file and where in it."""
    import yaml

    regular_file(path, limit=_LIMIT, error=error)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: not UTF-8 ({wrong.reason} at byte {wrong.start})") from wrong
    try:
        return yaml.load(text, Loader=_loader())  # a SafeLoader
    except yaml.YAMLError as wrong:
        raise error(f"{path}: not YAML: {printable(' '.join(str(wrong).split()))[:1000]}") from wrong
    except RecursionError as wrong:
        raise error(f"{path}: nested too deeply") from wrong


def _loader() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            mark = self.peek_event().start_mark
            if self.check_event(yaml.AliasEvent):
                raise yaml.constructor.ConstructorError(None, None, "aliases are not taken", mark)
            if self.depth > DEPTH_LIMIT:
                raise yaml.constructor.ConstructorError(None, None, "nested too deeply", mark)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            kinds = {yaml.ScalarNode: ("str", *_PLAIN), yaml.SequenceNode: ("seq",), yaml.MappingNode: ("map",)}
            if node.tag.removeprefix(_TAG) not in kinds[type(node)]:
                kind = node.tag.removeprefix(_TAG)
                reason = (
                    f"{str(node.value)[:80]!r} is no {kind}"
                    if kind in ("seq", "map", "str", *_PLAIN)
                    else f"{kind!r} is none of this file's kinds of values"
                )
                raise yaml.constructor.ConstructorError(None, None, reason, mark)
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable):
                    reason = "a key that is a list or a mapping"
                    raise yaml.constructor.ConstructorError(None, None, reason, key_node.start_mark)
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", key_node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

        def construct_plain(self, node: Any) -> Any:
            """A number, true or false, or null; with a tag before it, too, only in the spellings above."""
            kind, text = node.tag.removeprefix(_TAG), self.construct_scalar(node)
            wrong = None
            if not _PLAIN[kind][0].fullmatch(text):
                wrong = f"{text[:80]!r} is no {kind}"
            elif kind == "word":
                wrong = f"{text} is a truth value or a text, depending on who reads: write true, false, or '{text}'"
            elif kind == "int" and len(text) > _DIGITS:
                wrong = f"a number of {len(text)} digits"
            if wrong is not None:
                raise yaml.constructor.ConstructorError(None, None, wrong, node.start_mark)
            made = {
                "null": lambda: None,
                "bool": lambda: text.lower() == "true",
                "int": lambda: int(text),
                "float": lambda: float(re.sub(r"\.(?=[iInN])", "", text)),
            }
            return made[kind]()

    Strict.yaml_implicit_resolvers = {}
    for kind, (pattern, first) in _PLAIN.items():
        Strict.add_implicit_resolver(_TAG + kind, re.compile(f"(?:{pattern.pattern})\\Z"), first)
        Strict.add_constructor(_TAG + kind, Strict.construct_plain)
    return Strict
