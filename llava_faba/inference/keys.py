"""Keys: what an answer depends on, in one hash, so that no run takes over an answer of another."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.digests import sha256_file


def answer_key(image: Path, parts: Sequence[Any], prior: bytes = b"") -> str:
    """The key of one answer: the image's content, a stored prior's bytes, and everything else that it depends on."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):  # an image that cannot be read fails later, and has no answer to keep
        digest.update(bytes.fromhex(sha256_file(image)))
    digest.update(prior)
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()
