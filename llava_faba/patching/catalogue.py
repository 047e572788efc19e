"""The installed patches: ``common`` fits both code bases, ``wheel`` and ``git`` hold what differs between them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from llava_faba.errors import UserError, nearest
from llava_faba.patching.diff import Patch, parse

_SUFFIX = ".patch"


def patches_for(code_base: str, names: Iterable[str] = ()) -> list[Patch]:
    """The patches of a code base, "wheel" or "git", by name; all of them, or those of ``names``.

    Raises UserError for a name that none of them has.
    """
    found: dict[str, Patch] = {}
    for folder in ("common", code_base):
        for entry in resources.files("llava_faba.patches").joinpath(folder).iterdir():
            if entry.name.endswith(_SUFFIX):
                name = entry.name.removesuffix(_SUFFIX)
                found[name] = parse(name, entry.read_text(encoding="utf-8"))
    wanted = list(names) or sorted(found)
    for name in wanted:
        if name not in found:
            raise UserError(
                f"there is no patch '{name}' for this tree.{nearest(name, found)} Known are {', '.join(sorted(found))}."
            )
    return [found[name] for name in wanted]
