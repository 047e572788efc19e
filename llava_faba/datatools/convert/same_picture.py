"""Which pictures are the same? Told by the files' bytes, whatever they are called.

A picture that was compressed again or scaled is found by ``data validate``, which decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from faba_bench.files.digests import sha256_bytes, sha256_file

_PROBE = 4096


def identities(paths: Iterable[Path]) -> dict[Path, Path]:
    """Each file's first file with the same bytes (itself, where there is no other).

    Sizes are compared first, then a few kilobytes of the middle, then whole files, so that a hundred thousand frames
    take seconds.
    """
    found: dict[Path, Path] = {}
    for alike in _grouped(dict.fromkeys(paths), lambda path: str(path.stat().st_size)):
        for closer in _grouped(alike, _probe):
            for equal in _grouped(closer, sha256_file):
                found.update(dict.fromkeys(equal, equal[0]))
    return found


def shared(train: Iterable[Path], evaluation: Iterable[Path], known: Mapping[Path, Path]) -> dict[Path, Path]:
    """Training file to an evaluation file with the same bytes, by the ``identities`` of both."""
    evaluated = {known[path]: path for path in evaluation}
    return {path: evaluated[known[path]] for path in train if known[path] in evaluated}


def _grouped(paths: Iterable[Path], key: Callable[[Path], str]) -> list[list[Path]]:
    """``paths`` by key; a single one is not looked at."""
    paths = list(paths)
    if len(paths) < 2:
        return [paths] if paths else []
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return list(groups.values())


def _probe(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, (path.stat().st_size - _PROBE) // 2))
        return sha256_bytes(stream.read(_PROBE))
