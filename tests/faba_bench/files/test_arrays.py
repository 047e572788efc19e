"""Arrays from outside: numbers of the size that the header names, or one sentence that names the file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faba_bench.files import FileProblem
from faba_bench.files.arrays import read_array, read_arrays, read_vector


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0),
        np.arange(6, dtype=">i2"),
        np.arange(6.0).reshape(3, 2),
        np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        np.arange(6, dtype=np.float16).reshape(1, 6),
        np.arange(6.0).reshape(6, 1),
        np.arange(6.0).reshape(1, 2, 3),
    ],
)
def test_vectors_and_points_in_rows_are_read(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", array)
    found = read_vector(tmp_path / "v.npy", 6)
    assert found.dtype == np.float32 and found.tolist() == [0, 1, 2, 3, 4, 5]


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "text": (b"0 1 2 3", "does not begin as one"),
    "pickle": (pickle.dumps([1.0]), "a pickle"),
    "archive named .npy": (b"PK\x03\x04 and so on", "an archive"),
    "objects": (_npy(np.array([{}], object)), "Python objects"),
    "one object": (_npy(np.array({"a": 1})), "Python objects"),
    "texts": (_npy(np.array(["a", "b"])), "holds <U1"),
    "truth values": (_npy(np.array([True])), "holds bool"),
    "complex": (_npy(np.array([1j])), "holds complex128"),
    "dates": (_npy(np.array(["2020-01-01"], "datetime64[D]")), "holds datetime64"),
    "structured": (_npy(np.zeros(2, "f4,f4")), "holds"),
    "cut short": (_npy(np.arange(100.0))[:-9], "cut short"),
    "header cut short": (_npy(np.arange(100.0))[:30], "not a readable .npy file"),
    "longer": (_npy(np.arange(4.0)) + b"\0" * 8, "longer than its header says"),
    "no numbers": (_npy(np.zeros(0)), "not one vector"),
    "points in columns": (_npy(np.zeros((2, 68))), "not one vector"),
    "a picture": (_npy(np.zeros((4, 4, 3))), "not one vector"),
    "NaN": (_npy(np.array([1.0, np.nan])), "not finite"),
    "infinity": (_npy(np.array([np.inf])), "not finite"),
    "beyond float32": (_npy(np.array([1e300])), "not finite"),
    "huge shape": (_header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,), }\n"), "cut short"),
    "nothing times much": (
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1" + "0" * 40 + "), }\n"),
        "shape",
    ),
    "negative shape": (_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"), "shape"),
    "empty texts": (_header("{'descr': '<U0', 'fortran_order': False, 'shape': (9,), }\n"), "holds"),
    "header of code": (_header("__import__('os').system('true')\n"), "not a readable .npy file"),
    "deep header": (_header("(" * 9000 + "\n"), "not a readable .npy file"),
    "huge header": (_header("{" + " " * 60000 + "}\n"), "not a readable .npy file"),
    "format 9": (b"\x93NUMPY\x09\x00" + b"\0" * 100, "not a readable .npy file|format 9"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_kind_is_one_sentence_that_names_the_file(tmp_path: Path, name: str) -> None:
    data, expected = BROKEN[name]
    file = tmp_path / "v.npy"
    file.write_bytes(data)
    with pytest.raises(FileProblem, match=expected) as caught:
        read_vector(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    for path, expected in (
        (tmp_path / "pipe.npy", "a pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a folder"),
        (tmp_path / "none.npy", "No such file"),
    ):
        with pytest.raises(FileProblem, match=expected):
            read_vector(path)
    with (tmp_path / "large.npy").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(FileProblem, match="more than the limit"):
        read_vector(tmp_path / "large.npy")


def test_another_size_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(6.0))
    with pytest.raises(FileProblem, match="holds 6 numbers, but the facial prior has 212"):
        read_vector(tmp_path / "v.npy", 212)


def test_archives_give_the_arrays_that_were_asked_for(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", one=np.arange(3.0), names=np.array(["x", "yy"]))
    assert list(read_arrays(tmp_path / "a.npz")) == ["one", "names"]
    assert read_arrays(tmp_path / "a.npz", ["names"])["names"].tolist() == ["x", "yy"]
    with pytest.raises(FileProblem, match=r"no array two, three \(it has: one, names\)"):
        read_arrays(tmp_path / "a.npz", ["one", "two", "three"])
    with pytest.raises(FileProblem, match="archive"):
        read_array(tmp_path / "a.npz")


def _bomb(path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (500000000,), }\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("one.npy", "w") as member:
        member.write(_header(text))
        for _ in range(2000):
            member.write(bytes(1 << 20))


def _with_wrong_crc(path: Path) -> None:
    np.savez(path, one=np.arange(300.0))
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


def _twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.npy", _npy(np.arange(3)))
        archive.writestr("one.npy", _npy(np.arange(4)))


def _many(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.npy", b"")


def _lying(path: Path) -> None:
    """The directory names a smaller size than the member has."""
    np.savez_compressed(path, one=np.zeros(100_000))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = (200).to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_bomb, "more than the limit"),
        (_with_wrong_crc, "not a readable .npz"),
        (_twice, "one name"),
        (_many, "100 arrays"),
        (_lying, r"not a readable|cut short|size that the archive names"),
        (lambda path: path.write_bytes(b"PK\x05\x06"), "not a readable .npz"),
        (lambda path: np.savez(path, one=np.array([{}], object)), "Python objects"),
    ],
)
def test_broken_archives(tmp_path: Path, make: Callable[[Path], Any], expected: str) -> None:
    make(tmp_path / "a.npz")
    with pytest.raises(FileProblem, match=expected):
        read_arrays(tmp_path / "a.npz")
