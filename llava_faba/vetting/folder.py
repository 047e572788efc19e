"""Private folders: what transformers and PEFT get to read in the place of somebody's model folder.

Each holds JSON that we built and links to files that were checked. They lie in one temporary folder of this process and
go away with it; a vision tower is read long after the model that names it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_root: list[Path] = []
_made: dict[str, Path] = {}
_originals: dict[str, str] = {}


def private_folder(original: str | Path, contents: Mapping[str, Any], links: Mapping[str, Path]) -> Path:
    """A folder with ``contents`` (JSON values, or bytes, by file name) and ``links`` to files by file name.

    ``original``: the name that stands for it wherever it is written down. Equal arguments give the same folder again.
    """
    texts = {
        name: value if isinstance(value, bytes) else json.dumps(value, indent=2, sort_keys=True).encode()
        for name, value in contents.items()
    }
    key = repr((str(original), sorted(texts.items()), sorted((name, str(path)) for name, path in links.items())))
    with _lock:
        known = _made.get(key)
        if known is not None and known.is_dir():
            return known
        folder = Path(tempfile.mkdtemp(dir=_its_root()))
        for name, data in texts.items():
            (folder / name).write_bytes(data)
        for name, path in links.items():
            (folder / name).symlink_to(path.resolve())
        _made[key] = folder
        _originals[str(folder)] = str(original)
        return folder


def original_of(path: object) -> str | None:
    """The name that a private folder stands for; None for any other path."""
    return _originals.get(str(path))


def restore_names(*holders: Any) -> None:
    """Put the original names back where loading has noted those of private folders: in configs, models, tokenizers."""
    for holder in holders:
        for name, value in list(vars(holder).items()):
            if isinstance(value, str) and value in _originals:
                setattr(holder, name, _originals[value])
            elif name == "init_kwargs" and isinstance(value, dict):
                value.update(
                    {key: _originals[one] for key, one in value.items() if isinstance(one, str) and one in _originals}
                )


def _its_root() -> Path:
    if not _root or not _root[0].is_dir():
        _root[:] = [Path(tempfile.mkdtemp(prefix="llava-faba-"))]
        atexit.register(_remove, _root[0], os.getpid())
    return _root[0]


def _remove(root: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process shares the folder, and leaves it to its parent
        shutil.rmtree(root, ignore_errors=True)
