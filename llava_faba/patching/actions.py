"""Asking and changing the state of the patches of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from llava_faba.patching.catalogue import patches_for
from llava_faba.patching.diff import Patch, PatchError
from llava_faba.patching.tree import find_code_base, find_root, write_files

APPLICABLE, APPLIED, DOES_NOT_FIT = "applicable", "applied", "does not fit"


class PatchStatus(NamedTuple):
    """``state``: "applicable", "applied" or "does not fit"; ``detail``: what the patch does, or why it does not fit."""

    name: str
    state: str
    detail: str


def status(tree: Path | None = None) -> list[PatchStatus]:
    """Every patch for a tree and its state there. ``tree`` None is the installed LLaVA. Nothing is written.

    Raises PatchError when there is no LLaVA, or it is of an unknown code base.
    """
    root = find_root(tree)
    return [_status(patch, _reader(root, {})) for patch in patches_for(find_code_base(root))]


def apply(tree: Path | None = None, names: Iterable[str] = ()) -> list[str]:
    """Apply all patches for the tree, or those named, as far as they are not applied; returns the names of those done.

    Raises PatchError, naming patch, file and hunk, when one does not fit; then none is applied.
    """
    return _change(tree, names, reverse=False)


def revert(tree: Path | None = None, names: Iterable[str] = ()) -> list[str]:
    """Take back all patches that are applied, or those named; returns their names. The files are then as they were.

    Raises PatchError when one is neither applied nor applicable (its lines were edited since); then none is taken back.
    """
    return _change(tree, names, reverse=True)


def _change(tree: Path | None, names: Iterable[str], *, reverse: bool) -> list[str]:
    root = find_root(tree)
    changed: dict[str, bytes] = {}
    read = _reader(root, changed)
    done = []
    for patch in patches_for(find_code_base(root), names):
        if _fits(patch, read, reverse=not reverse):
            continue  # it is as wanted
        changed |= patch.apply(read, reverse=reverse, halfway=True)
        done.append(patch.name)
    write_files(root, changed)
    return done


def _status(patch: Patch, read: Callable[[str], bytes]) -> PatchStatus:
    if _fits(patch, read, reverse=True):
        return PatchStatus(patch.name, APPLIED, patch.summary)
    try:
        patch.apply(read, halfway=True)
    except PatchError as error:
        return PatchStatus(patch.name, DOES_NOT_FIT, str(error))
    return PatchStatus(patch.name, APPLICABLE, patch.summary)


def _fits(patch: Patch, read: Callable[[str], bytes], *, reverse: bool) -> bool:
    try:
        patch.apply(read, reverse=reverse)
    except PatchError:
        return False
    return True


def _reader(root: Path, changed: dict[str, bytes]) -> Callable[[str], bytes]:
    """Reads a file of the tree, as it will be once ``changed`` is written."""
    return lambda path: changed[path] if path in changed else (root / path).read_bytes()
