"""A new folder is whole or not there, also after kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faba_bench.files import FileProblem
from faba_bench.files.folders import new_folder

WRITER = """
import sys, time
from pathlib import Path
from faba_bench.files.folders import new_folder
with new_folder(Path(sys.argv[1])) as draft:
    (draft / "half").write_text("x")
    print("writing", flush=True)
    time.sleep(60)
"""


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "deep" / "out") as draft:
        (draft / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert everything(tmp_path) == ["deep", "deep/out", "deep/out/a"]
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o700 == 0o700


def test_an_empty_folder_is_filled_and_another_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("1")
    with pytest.raises(FileProblem, match="exists already"), new_folder(tmp_path / "out"):
        raise AssertionError
    assert everything(tmp_path) == ["out", "out/a"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("1")
        raise KeyError
    assert everything(tmp_path) == []


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_nothing_and_the_command_can_be_run_again(tmp_path, signal_):
    out = tmp_path / "out"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert writer.stdout is not None and writer.stdout.readline().strip() == "writing"
    writer.send_signal(signal_)
    writer.wait(timeout=20)
    until = time.monotonic() + 20
    while everything(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    assert everything(tmp_path) == []
    with new_folder(out) as draft:
        (draft / "a").write_text("1")
    assert everything(tmp_path) == ["out", "out/a"]


def test_a_draft_that_nobody_writes_is_removed_and_one_in_work_is_not(tmp_path):
    stale = tmp_path / ".out.dead.draft"
    stale.mkdir()
    with pytest.raises(FileProblem, match="another process"), new_folder(tmp_path / "out") as first:  # noqa: SIM117
        with new_folder(tmp_path / "out") as second:
            assert not stale.exists() and first.is_dir() and second.is_dir()
            (second / "a").write_text("1")
    assert everything(tmp_path) == ["out", "out/a"]


class Library(Exception):
    """What torch and safetensors raise where Python raises OSError."""


@pytest.mark.parametrize("left", [0, 1 << 30])
@pytest.mark.parametrize("text", ["I/O error: No space left on device (os error 28)", "unexpected pos 23680 vs 23568"])
def test_a_librarys_full_disk_is_an_os_error_that_names_the_folder(text, left, tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(1 << 40, 0, left)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    is_full = left == 0 or "No space" in text
    with pytest.raises(OSError if is_full else Library) as caught, new_folder(tmp_path / "out") as draft:
        (draft / "half").write_text("x")
        raise Library(text)
    assert not is_full or (caught.value.errno == 28 and caught.value.filename == str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())
