"""Patches of LLaVA's source tree: which ones there are, whether they fit, applying them and taking them back.

``diff``       one patch: parsing it, applying it to a file's bytes and back
``catalogue``  the installed patches, and which of them are meant for a tree
``tree``       a LLaVA tree on disk: finding it, telling the code bases apart, writing all or nothing
``actions``    ``status``, ``apply``, ``revert``

Nothing here imports llava or torch: a LLaVA that does not import can be looked at, and patched.
"""

from llava_faba.patching.actions import PatchStatus, apply, revert, status

__all__ = ["PatchStatus", "apply", "revert", "status"]
