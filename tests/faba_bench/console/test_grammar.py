"""The grammar that both programs share: old spellings, JSON, processes, and errors as sentences."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faba_bench.console import processes, program
from faba_bench.console.output import add_output, emit, say
from faba_bench.console.parser import Parser
from faba_bench.errors import BenchError


def parser() -> Parser:
    made = Parser(prog="p")
    made.add_argument("image")
    made.formerly("--image", "FILE")
    made.option("--priors", old=("--store",), required=True)
    made.option("--fast", old=("--quick",), action="store_true")
    made.add_argument("--note", default="")
    return made


@pytest.mark.parametrize(
    ("words", "warnings"),
    [
        ("x.png --priors P --fast", 0),
        ("--image x.png --store P --quick", 3),
        ("--image=x.png --store=P --quick", 3),
        ("--fast --priors P -- x.png", 0),
    ],
)
def test_old_spellings_mean_the_new_ones_and_warn(words: str, warnings: int, capsys: Any) -> None:
    args = parser().parse_args(words.split())
    assert (args.image, args.priors, args.fast) == ("x.png", "P", True)
    error = capsys.readouterr().err
    assert error.count("warning: ") == warnings and ("--store is the old spelling of --priors" in error) == (
        warnings > 0
    )


@pytest.mark.parametrize("words", ["x.png", "x.png --image y.png --priors P", "x.png --prio P", "--priors P"])
def test_what_is_missing_double_or_cut_short_is_an_error(words: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(words.split())
    assert caught.value.code == 2 and "--store" not in capsys.readouterr().err


def test_old_spellings_are_in_no_help_and_reach_subcommands_and_parents(capsys: Any) -> None:
    parent = Parser(add_help=False)
    parent.option("--priors", old=("--store",))
    made = Parser(prog="p")
    sub = made.add_subparsers(dest="verb").add_parser("show", parents=[parent])
    assert isinstance(sub, Parser) and sub.old == [("--store", "--priors")] and "--store" not in sub.format_help()
    assert made.parse_args(["show", "--store", "S"]).priors == "S"
    assert "old spelling" in capsys.readouterr().err


def asked(words: list[str]) -> Any:
    made = Parser(prog="p")
    made.add_argument("files", nargs="*")
    add_output(made, had_file=True, is_result=lambda value: isinstance(value, dict) and "mine" in value)
    return made.parse_args(words)


def test_json_with_a_file_is_output_but_never_over_records(tmp_path: Path, capsys: Any) -> None:
    new, mine, records = (tmp_path / name for name in ("new.json", "mine.json", "records.json"))
    mine.write_text('{"mine": 1}')
    records.write_text('[{"image": "a.png"}]')
    for old in (new, mine):
        args = asked(["--json", str(old), "a"])
        assert (args.json, args.output, args.files) == (False, old, ["a"])
        assert f"--output {old}" in capsys.readouterr().err
    args = asked(["--json", str(records), "a"])
    assert (args.json, args.output, args.files) == (True, None, [str(records), "a"])
    assert asked(["a", "--json", "-"]).json and asked(["a", "--json"]).json
    assert asked(["--", "--json", "x"]).files == ["--json", "x"]


def test_emit_prints_or_writes(tmp_path: Path, capsys: Any) -> None:
    value = {"name": "a\x1b[2J\u202e\udcff", "n": 1}
    emit(asked(["--json", "--output", str(tmp_path / "deep" / "o.json")]), value, "text")
    printed = capsys.readouterr().out
    assert json.loads(printed) == value and "\x1b" not in printed and "\u202e" not in printed
    assert json.loads((tmp_path / "deep" / "o.json").read_text())["n"] == 1
    emit(asked([]), value, lambda: "done \x1b[31m")
    assert capsys.readouterr().out == "done \\x1b[31m\n"


@pytest.mark.parametrize("text", ["-1", "two", "1.5", "", "²"])
def test_processes_are_whole_numbers(text: str) -> None:
    import argparse

    with pytest.raises(argparse.ArgumentTypeError):
        processes.whole(text)
    assert processes.worker_count(0) == len(os.sched_getaffinity(0)) and processes.worker_count(3) == 3


def raising(error: BaseException) -> Any:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/\x1bx"), 2, "p: out/\\x1bx: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "p: out: permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"o\xff"), 2, "no such file or folder"),
        (BenchError("bad \x1b name"), 2, "p: bad \\x1b name"),
        (KeyError("mine"), 2, "p: 'mine'"),
        (KeyboardInterrupt(), 130, "p: interrupted"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_every_error_that_a_user_can_mend_is_one_sentence(
    error: BaseException, code: int, told: str, capsys: Any
) -> None:
    assert program.run("p", raising(error), errors=(KeyError,)) == code
    assert told in capsys.readouterr().err


def test_only_a_closed_standard_output_is_a_closed_pipe(tmp_path: Path) -> None:
    """A pipe between processes of ours that breaks is no reader that has seen enough: it is told."""
    code = "import sys; from faba_bench.console.program import run\n"
    code += "def command(): raise BrokenPipeError(32, 'Broken pipe')\nsys.exit(run('p', command))"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (2, "p: Broken pipe\n")
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_told() -> None:
    code = "import sys; from faba_bench.console.program import run; sys.exit(run('p', lambda: print('x') or 0))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("p: ") and "disk is full" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        program.run("p", raising(ZeroDivisionError()))


def test_say_escapes_what_steers_a_terminal(capsys: Any) -> None:
    say("a\tb\x1b]0;x\x07\u2028")
    assert capsys.readouterr().out == "a\tb\\x1b]0;x\\x07\\u2028\n"
