"""transformers 4.37 looks up Pillow's version, from its metadata on disk, seven times for every image.

``transformers.utils.is_vision_available`` does it without remembering; of 6 ms that CLIP's preprocessing takes for one
image, about 4 are this. Later versions of transformers remember it themselves.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Iterator


@contextlib.contextmanager
def remembered_package_versions() -> Iterator[None]:
    """While inside, ``importlib.metadata.version`` reads each package's metadata once."""
    original = importlib.metadata.version
    importlib.metadata.version = functools.cache(original)
    try:
        yield
    finally:
        importlib.metadata.version = original
