"""SHA-256 of files, bytes and JSON values: how an identity is checked by content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks. Raises OSError."""
    with Path(path).open("rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: BinaryIO) -> str:
    """Hex SHA-256 of what is left in an open file, read in blocks. Raises OSError."""
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value; equal values give equal digests, whatever their keys' order."""
    return sha256_bytes(json.dumps(value, sort_keys=True, default=str).encode())
