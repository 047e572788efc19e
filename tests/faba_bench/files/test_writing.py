"""Outputs that are whole or not there, locks, paths, and sentences about them."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from faba_bench.files import FileProblem
from faba_bench.files.atomic import replacing, write_json, write_text
from faba_bench.files.locks import exclusive
from faba_bench.files.oserrors import sentence
from faba_bench.files.paths import inside, regular_file
from faba_bench.files.terminal import printable


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(ValueError, match="JSON"):
        write_json(target, float("nan"))
    assert target.read_text() == '{\n "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_names_of_the_largest_length_and_surrogates(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    write_text(target, "a\ud800b")
    assert target.read_text() == "a\\ud800b"


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "a/../b", "", "a\0b", None, 3, "out/a", "loop"])
def test_names_that_do_not_stay_inside(tmp_path: Path, name: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(FileProblem):
        inside(folder, name)


def test_names_that_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path, "link/a.png") == tmp_path / "link/a.png"
    assert inside(tmp_path, "a..b/c") == tmp_path / "a..b/c"
    assert inside(tmp_path, "/etc/hosts", allow_outside=True) == Path("/etc/hosts")


def test_regular_file_limits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert regular_file(path, limit=5) == path
    with pytest.raises(FileProblem, match="more than the limit"):
        regular_file(path, limit=4)


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from faba_bench.files.locks import exclusive\n"
        "with exclusive(sys.argv[1], 'x'):\n print('held', flush=True); sys.stdin.read()"
    )
    eval_folder = str(Path(__file__).parents[3] / "eval")
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock"), eval_folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    says = rf"extraction is under way in another process .process {holder.pid}"
    with pytest.raises(FileProblem, match=says), exclusive(tmp_path / "lock", "extraction"):
        pass
    holder.kill()
    holder.communicate()
    with exclusive(tmp_path / "lock", "extraction"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, 9999])
def test_an_oserror_is_a_sentence(number: int) -> None:
    text = sentence(OSError(number, "words", "a\x1b[31m.json"))
    assert text.startswith("a\\x1b[31m.json: ") and "Errno" not in text


def test_control_characters_become_visible() -> None:
    assert printable("a\x1b]0;x\x07\u202eb\ud800\n") == "a\\x1b]0;x\\x07\\u202eb\\ud800\n"
