"""The one reader of ``.npy`` and ``.npz`` files from outside: header and sizes first, then the numbers, no object ever.

NumPy's own ``load`` allocates what a header promises, unpickles where it is allowed to, and hands back whatever a file
is, whatever its name; here a file is an array of numbers of a size that it really has, or an error that names it.
NumPy is imported when a file is read: the rest of this floor does without.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.files.paths import regular_file
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

if TYPE_CHECKING:
    import numpy as np

VECTOR_LIMIT = 8 << 20
"""The largest file of one prior, in bytes: two million numbers, where experts give some hundreds."""
ARRAY_LIMIT = 1 << 30
"""The largest file of one array, and the largest archive, in bytes, unpacked: landmarks of two million faces."""
MEMBERS_LIMIT = 64
"""Arrays in one archive."""
_HEADER_LIMIT: dict[str, Any] = {"max_header_size": 10_000}  # NumPy's type stubs do not know it
_NPY, _ZIP, _PICKLE = b"\x93NUMPY", b"PK", b"\x80"


def read_array(
    path: str | Path, *, limit: int = ARRAY_LIMIT, kinds: str = "fiu", error: type[Exception] = FileProblem
) -> np.ndarray:
    """The array of a ``.npy`` file of at most `limit` bytes, as it is stored.

    `kinds`: the dtype kinds that are taken (``fiu``: real numbers; ``U``: texts). Raises `error` for what is missing,
    no regular file, no ``.npy`` file (by its content, not its name), cut short, longer than its header says, of
    objects, or of another kind.
    """
    path = regular_file(path, limit=limit, error=error)
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise error(f"{printable(str(path))}: cannot be read: {reason.strerror}") from reason
    return _parsed(data, printable(str(path)), kinds, error)


def read_vector(
    path: str | Path, size: int | None = None, *, limit: int = VECTOR_LIMIT, error: type[Exception] = FileProblem
) -> np.ndarray:
    """One vector of finite numbers, float32 (size,).

    One axis, or points in rows (points, 2 or 3), or one axis among others of length 1. Anything else has no order that
    a reader could know: (2, points) would come out mixed up. Raises `error` as `read_array` does, and for another
    shape, another size than `size`, and values that are not finite in float32.
    """
    import numpy as np

    where = printable(str(path))
    found = read_array(path, limit=limit, error=error)
    if not is_vector(found):
        raise error(f"{where}: its shape is {found.shape}, not one vector or points in rows (points, 2 or 3)")
    if size is not None and found.size != size:
        raise error(f"{where}: holds {found.size} numbers, but the facial prior has {size}")
    with np.errstate(over="ignore"):
        vector = found.astype(np.float32).reshape(-1)
    if not np.isfinite(vector).all():
        raise error(f"{where}: holds values that are not finite (NaN, infinity, or beyond float32)")
    return vector


def is_vector(found: np.ndarray) -> bool:
    """Whether an array is one vector, or points in rows (points, 2 or 3)."""
    long = [edge for edge in found.shape if edge != 1]
    return found.size > 0 and (len(long) <= 1 or (len(long) == 2 and long[1] in (2, 3)))


def read_arrays(
    path: str | Path,
    names: Collection[str] | None = None,
    *,
    limit: int = ARRAY_LIMIT,
    kinds: str = "fiuU",
    error: type[Exception] = FileProblem,
) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; with `names` those, which must be there, and no other is unpacked.

    `limit` holds for all arrays that are read together, unpacked, whatever the archive says of its size. Raises `error`
    as `read_array` does, and for a broken or encrypted archive, two members of one name, and more than `MEMBERS_LIMIT`.
    """
    path = regular_file(path, error=error)
    where = printable(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS_LIMIT:
                raise error(f"{where}: {len(members)} arrays, more than {MEMBERS_LIMIT}")
            by_name = {member.filename.removesuffix(".npy"): member for member in members}
            if len(by_name) != len(members):
                raise error(f"{where}: two of its arrays have one name")
            absent = [name for name in names or () if name not in by_name]
            if absent:
                there = printable(", ".join(by_name)[:200])
                raise error(f"{where}: no array {', '.join(absent)} (it has: {there or 'none'})")
            wanted = {name: by_name[name] for name in (by_name if names is None else names)}
            total = sum(member.file_size for member in wanted.values())
            if total > limit:
                raise error(f"{where}: its arrays are {total} bytes unpacked, more than the limit of {limit}")
            return {
                name: _parsed(
                    _unpacked(archive, member, where, error), f"{where}, array {printable(name)}", kinds, error
                )
                for name, member in wanted.items()
            }
    except error:
        raise
    except Exception as reason:  # zipfile raises a dozen kinds for damaged and encrypted archives
        text = printable(f"{type(reason).__name__}: {reason}")[:300]
        raise error(f"{where}: not a readable .npz file: {text}") from reason


def _unpacked(archive: zipfile.ZipFile, member: Any, where: str, error: type[Exception]) -> bytes:
    name = printable(member.filename)
    with archive.open(member) as stream:
        data = stream.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise error(f"{where}, array {name}: not of the size that the archive names")
    return data


def _parsed(data: bytes, where: str, kinds: str, error: type[Exception]) -> np.ndarray:
    import numpy as np
    from numpy.lib import format as npy

    if not data.startswith(_NPY):
        raise error(f"{where}: not a readable .npy file: {_looks_like(data)}")
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise error(f"{where}: .npy format {version[0]}.{version[1]}, which this reader does not know")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream, **_HEADER_LIMIT)
    except error:
        raise
    except Exception as reason:  # a header is a Python literal, and its damage raises nearly anything
        text = printable(f"{type(reason).__name__}: {str(reason).splitlines()[0] if str(reason) else ''}")[:300]
        raise error(f"{where}: not a readable .npy file: {text}") from reason
    if dtype.hasobject:
        raise error(f"{where}: not a readable .npy file: Python objects, which could run code; save numbers")
    if dtype.kind not in kinds or dtype.names is not None or dtype.subdtype is not None:
        raise error(f"{where}: holds {printable(str(dtype))[:80]}, not {'numbers' if 'f' in kinds else 'texts'}")
    if any(not isinstance(edge, int) or isinstance(edge, bool) or edge < 0 for edge in shape):
        raise error(f"{where}: its header names the shape {printable(str(shape))[:200]}")
    promised, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if promised != there:
        what = "cut short" if there < promised else "longer than its header says"
        raise error(f"{where}: {what}: {there} bytes of numbers, and the header promises {promised}")
    try:
        flat = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=stream.tell())
        return flat.reshape(shape, order="F" if fortran else "C").copy()
    except (ValueError, OverflowError, MemoryError) as reason:  # no numbers, in a shape beyond all memory
        raise error(f"{where}: its header names the shape {printable(str(shape))[:200]}") from reason


def _looks_like(data: bytes) -> str:
    if not data:
        return "an empty file"
    if data.startswith(_ZIP):
        return "an archive (.npz); give one .npy file for each array"
    if data.startswith(_PICKLE):
        return "a pickle, which is not read: it could run code"
    return "it does not begin as one"
