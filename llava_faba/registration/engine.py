"""Applying the table of seams, and taking it back.

Every seam is checked before the first one is applied, so a LLaVA that does not fit is left untouched.
"""

from __future__ import annotations

import importlib
import sys
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from llava_faba.compat.engine import mend_llava, mend_packages, packages_mended, restore
from llava_faba.compat.servers import check_own_command_line
from llava_faba.compat.shims import SHIMS
from llava_faba.errors import SeamMismatchError
from llava_faba.registration.seams import AUTO_CLASSES, SEAMS, Seam
from llava_faba.upstream import import_llava


@dataclass(frozen=True)
class _Applied:
    """One assignment that was made: ``owner.name`` held ``original`` and now holds ``replacement``."""

    owner: Any
    name: str
    original: Any
    replacement: Any


_lock = threading.RLock()
_applied: list[_Applied] = []


def is_registered() -> bool:
    """Whether the seams are applied in this process."""
    return bool(_applied)


def register() -> None:
    """Attach EmoLA to the installed LLaVA. Calling it again does nothing.

    It is also llava-faba's entry point of the group ``llava.plugins``: a LLaVA with the plugin hook calls it at the
    end of its own import (docs/upstream.md).

    Raises UpstreamError when LLaVA cannot be imported and SeamMismatchError (naming the seam) when it does not look
    as expected; nothing is changed then. Ends the process where it is a server of LLaVA whose port is taken.
    """
    check_own_command_line()
    # All imports before the lock, LLaVA's before looking whether there is anything to do: they may themselves call
    # register(), and a thread that holds the lock while it waits for another's import would wait for ever.
    import_llava()
    with packages_mended():
        for seam in SEAMS:
            seam.import_target()
    with _lock:
        if _applied:
            return
        for seam in SEAMS:
            _resolve(seam)
    for change in (*SHIMS, *SEAMS):
        change.import_factory()
    auto_classes = importlib.import_module(AUTO_CLASSES)

    with _lock:
        if _applied:
            return
        try:
            mend_packages()
            mend_llava()
            originals = [(seam, *_resolve(seam)) for seam in SEAMS]
            for seam, owner, name, original in originals:
                _replace(seam, owner, name, original)
            auto_classes.register()
        except BaseException:
            unregister()
            raise


def unregister() -> None:
    """Restore every original, but where another package has wrapped ours since.

    Calling it when nothing is registered does nothing.
    """
    with _lock:
        while _applied:
            change = _applied.pop()
            for module in _llava_modules():
                if vars(module).get(change.name) is change.replacement:
                    setattr(module, change.name, change.original)
            # Another package may have put a wrapper of its own in our place since: it stays.
            if vars(change.owner).get(change.name) is change.replacement:
                setattr(change.owner, change.name, change.original)
        if AUTO_CLASSES in sys.modules:
            sys.modules[AUTO_CLASSES].unregister()
        restore()


def find_mismatches() -> list[SeamMismatchError]:
    """Every seam that does not look as expected in a LLaVA that nothing is registered with; changes nothing.

    Raises UpstreamError when LLaVA cannot be imported.
    """
    import_llava()
    found = []
    with packages_mended():
        for seam in SEAMS:
            try:
                _resolve(seam)
            except SeamMismatchError as error:
                found.append(error)
    return found


def _resolve(seam: Seam) -> tuple[Any, str, Any]:
    """The object that holds the seam's attribute, the attribute's name, and the original."""
    try:
        owner, name = seam.owner()
        original = getattr(owner, name)
    except AttributeError as error:
        raise SeamMismatchError(seam.name, seam.expected, f"no such attribute ({error})") from error
    found = seam.mismatch(original)
    if found is not None:
        raise SeamMismatchError(seam.name, seam.expected, found)
    return owner, name, original


def _replace(seam: Seam, owner: Any, name: str, original: Any) -> None:
    if getattr(original, "__llava_faba_seam__", None) == seam.name:
        return  # another package's wrapper, around ours from before unregister()
    replacement = seam.build(original)
    replacement.__llava_faba_seam__ = seam.name
    setattr(owner, name, replacement)
    _applied.append(_Applied(owner, name, original, replacement))
    if _is_copied_elsewhere(seam):
        # 'from llava.model.builder import load_pretrained_model' copied the original into other modules.
        for module in _llava_modules():
            if module is not owner and vars(module).get(name) is original:
                setattr(module, name, replacement)
                _applied.append(_Applied(module, name, original, replacement))


def _is_copied_elsewhere(seam: Seam) -> bool:
    """Whether copies of the attribute in other modules of LLaVA stand for the same seam.

    A class global is replaced only in the module that the seam names: elsewhere in LLaVA the same class is a base
    class or an export, and must stay what it is.
    """
    return not seam.is_class and "." not in seam.attribute


def _llava_modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if module and name.split(".")[0] == "llava"]
