"""Applying the table of shims, and taking it back."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from typing import Any

from llava_faba.compat.shims import MISSING, SHIMS, Shim


@dataclass(frozen=True)
class _Applied:
    """One assignment that was made. ``own`` is what the owner itself held, MISSING when it held nothing."""

    shim: Shim
    owner: Any
    name: str
    own: Any
    replacement: Any


_lock = threading.RLock()
_applied: list[_Applied] = []
_seen: set[str] = set()
_state = {"kept": False, "imports": 0}


class _BeforeTraining(MetaPathFinder):
    """Mends what only LLaVA's training code imports when that is about to be imported, and finds nothing itself.

    transformers' trainer brings accelerate, scipy, scikit-learn and pandas: seconds for somebody who asks a model.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.startswith("llava.train."):
            _mend(training=True)


_before_training = _BeforeTraining()


def mend_packages(*, training: bool = True) -> None:
    """Mend the packages that LLaVA imports, until ``restore``; calling it again does nothing.

    Without ``training``, what its training code alone needs waits until that is imported.
    """
    _state["kept"] = True
    _mend(training=training)


@contextlib.contextmanager
def packages_mended(*, training: bool = True) -> Iterator[None]:
    """While inside, packages are mended, for LLaVA to be imported; what that changed is taken back afterwards."""
    with _lock:
        _state["imports"] += 1
    try:
        _mend(training=training)
        yield
    finally:
        with _lock:
            _state["imports"] -= 1
            if not _state["kept"] and not _state["imports"]:
                restore()


def _mend(*, training: bool) -> None:
    with _lock:
        if _before_training not in sys.meta_path:
            sys.meta_path.insert(0, _before_training)
    _apply(tuple(shim for shim in SHIMS if not shim.in_llava and (training or not shim.in_training)))


def mend_llava() -> None:
    """Mend LLaVA's own modules, which it imports. Calling it again does nothing."""
    _apply(tuple(shim for shim in SHIMS if shim.in_llava))


def restore() -> None:
    """Put every original back, but where another package has put something of its own in our place since.

    Calling it when nothing is applied does nothing.
    """
    with _lock:
        _state["kept"] = False
        if _before_training in sys.meta_path:
            sys.meta_path.remove(_before_training)
        while _applied:
            change = _applied.pop()
            if vars(change.owner).get(change.name, MISSING) is not change.replacement:
                continue
            if change.own is MISSING:
                delattr(change.owner, change.name)
            else:
                setattr(change.owner, change.name, change.own)
        _seen.clear()


def active() -> list[str]:
    """The names of the shims that found something to mend in this process."""
    return [change.shim.name for change in _applied]


@contextlib.contextmanager
def replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """While inside, ``owner.name`` is ``replacement``."""
    own = vars(owner).get(name, MISSING)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if own is MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _apply(shims: tuple[Shim, ...]) -> None:
    # Imports before the lock: a thread that holds it while it waits for another's import could wait for ever.
    for shim in shims:
        shim.import_target()
        shim.import_factory()
    with _lock:
        for shim in shims:
            if shim.name not in _seen:
                _apply_one(shim)
                _seen.add(shim.name)


def _apply_one(shim: Shim) -> None:
    owner, name = shim.owner()
    own = vars(owner).get(name, MISSING)
    of_class = isinstance(own, classmethod)
    original = own.__func__ if of_class else getattr(owner, name, MISSING)
    replacement = shim.build(original)
    if replacement is original:
        return
    value = classmethod(replacement) if of_class else replacement
    setattr(owner, name, value)
    _applied.append(_Applied(shim, owner, name, own, value))
