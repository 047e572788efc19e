"""A YAML file as data: nothing of it is run, no tag names code, no alias, no key twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from faba_bench.files.paths import regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError

_LIMIT = 1 << 20  # bytes


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
        raise error(f"{path}: not YAML: {printable(' '.join(str(wrong).split()))}") from wrong
    except RecursionError as wrong:
        raise error(f"{path}: nested too deeply") from wrong


def _loader() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        """No aliases (they can grow without bound), no key twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.constructor.ConstructorError(None, None, "aliases are not taken", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable) or key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", key_node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

    return Strict
