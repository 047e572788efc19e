"""Outputs that are whole or not there, locks, paths, and sentences about them."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from faba_bench.files import FileProblem
from faba_bench.files.atomic import replacing, write_bytes, write_json, write_text
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


_WRITER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from faba_bench.files.atomic import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    """Another process's living draft stays, as do files that only look alike, and a link's target."""
    (outside := tmp_path / "outside").write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    others = [".a.json.partial", "a.json.01234567.partial", ".a.json.ABCDEFGH.partial", ".a.json.0123456.partial"]
    for name in others:
        (folder / name).write_text("")
    (folder / ".a.json.01234567.partial").symlink_to(outside)
    os.mkfifo(folder / ".a.json.12345678.partial")
    arguments = [sys.executable, "-c", _WRITER, str(folder / "b.json"), str(Path(__file__).parents[3] / "eval")]
    writers = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assert all(writer.stdout and writer.stdout.readline() == "writing\n" for writer in writers)
        writers[0].kill()
        writers[0].wait()
        assert len(list(folder.glob(".b.json.*"))) == 2
        write_json(folder / "a.json", {"a": 1})
        assert len(list(folder.glob(".b.json.*"))) == 1
        assert writers[1].communicate("")[0] == "" and writers[1].returncode == 0
    finally:
        for writer in writers:
            writer.kill()
    assert (folder / "b.json").read_text() == "half" and outside.read_text() == "mine"
    kept = {*others, "a.json", "b.json", ".a.json.01234567.partial", ".a.json.12345678.partial"}
    assert {path.name for path in folder.iterdir()} == kept


def test_a_link_is_written_through_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    for name in ("through", "instead"):
        (tmp_path / name).symlink_to(tmp_path / "real")
    write_bytes(tmp_path / "instead", b"new", through_links=False)
    assert not (tmp_path / "instead").is_symlink() and (tmp_path / "real").read_text() == "old"
    write_bytes(tmp_path / "through", b"new")
    assert (tmp_path / "through").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """As root, ``--output /dev/null`` put a file in its place, for the whole machine."""
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.open("wb").close()
    except OSError:
        pytest.skip("making a device needs root")
    (tmp_path / "link").symlink_to(device)
    for target in (device, tmp_path / "link"):
        write_json(target, {"a": 1})
        assert device.is_char_device()
    with pytest.raises(OSError, match="No space left") as full:
        write_text("/dev/full", "x")
    assert full.value.filename == "/dev/full" and Path("/dev/full").is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"null", "link"}


def test_a_pipe_is_written_to_where_somebody_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nobody reads"):
        write_text(tmp_path / "pipe", "x")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_json(tmp_path / "pipe", {"a": 1}, indent=None)
    assert os.read(reader, 100) == b'{"a": 1}\n' and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="not written to"):
            write_text(tmp_path / "socket", "x")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_added_to(tmp_path: Path, name: str) -> None:
    """What a log held before, and what the program printed, were gone."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"print('printed'); from faba_bench.files.atomic import write_text; write_text({name!r}, 'written\\n')"
    code += "; print('after')"
    with (tmp_path / "log").open("wb") as log:
        log.write(b"before\n")
        log.flush()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "eval")}
        subprocess.run([sys.executable, "-c", code], stdout=log, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "log").read_text() == "before\nprinted\nwritten\nafter\n"


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
