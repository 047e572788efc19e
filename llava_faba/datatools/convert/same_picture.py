"""Is a training picture one of the evaluation pictures? Told by the files' bytes, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from faba_bench.files.digests import sha256_bytes, sha256_file

_PROBE = 4096


def shared(train: Iterable[Path], evaluation: Iterable[Path]) -> dict[Path, Path]:
    """Training file to an evaluation file with the same bytes.

    Sizes are compared first, then a few kilobytes of the middle, then whole files, so that a hundred thousand frames
    take seconds. A picture that was compressed again is found by ``data validate``, which decodes.
    """
    sizes: dict[int, list[Path]] = {}
    for path in dict.fromkeys(evaluation):
        sizes.setdefault(path.stat().st_size, []).append(path)
    probes: dict[tuple[int, str], list[Path]] = {}
    digests: dict[str, Path] | None = None
    known: dict[Path, str] = {}
    found: dict[Path, Path] = {}
    probed: set[int] = set()
    for path in dict.fromkeys(train):
        size = path.stat().st_size
        if size not in sizes:
            continue
        if size not in probed:
            probed.add(size)
            for other in sizes[size]:
                probes.setdefault((size, _probe(other, size)), []).append(other)
        candidates = probes.get((size, _probe(path, size)), [])
        if not candidates:
            continue
        digests = {
            known.setdefault(one, sha256_file(one)) if one not in known else known[one]: one for one in candidates
        }
        own = sha256_file(path)
        if own in digests:
            found[path] = digests[own]
    return found


def _probe(path: Path, size: int) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, (size - _PROBE) // 2))
        return sha256_bytes(stream.read(_PROBE))
