"""Attaching EmoLA to LLaVA: the table of seams, and the machinery that applies and removes them.

``seams.py`` is the only place that names what we reach into; ``engine.py`` knows how to replace an attribute and how
to put the original back. Nothing else in the package assigns to anything of LLaVA's.
"""

from llava_faba.registration.engine import find_mismatches, is_registered, register, unregister

__all__ = ["find_mismatches", "is_registered", "register", "unregister"]
