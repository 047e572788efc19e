"""What seams and shims have in common: an attribute of another package that something of ours takes the place of."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Replacement:
    """``target`` is ``module:attribute``; the attribute may be dotted, for a method.

    ``factory`` is ``module:function`` of ours; it is called with the original and returns the replacement. ``why`` is
    what docs/architecture.md says.
    """

    name: str
    target: str
    factory: str
    why: str

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        return self.target.partition(":")[2]

    def import_target(self) -> None:
        importlib.import_module(self.module)

    def import_factory(self) -> None:
        importlib.import_module(self.factory.partition(":")[0])

    def owner(self) -> tuple[Any, str]:
        """The object that holds the attribute, and the attribute's name there.

        Raises AttributeError when the class of a dotted attribute is absent.
        """
        owner: Any = importlib.import_module(self.module)
        *parents, name = self.attribute.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        return owner, name

    def build(self, original: Any) -> Any:
        module, _, function = self.factory.partition(":")
        factory: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
        return factory(original)
