"""What a command says: text that cannot steer a terminal, warnings, and its result as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.files.terminal import printable

if TYPE_CHECKING:
    from faba_bench.console.parser import Parser


def say(text: object = "", *, end: str = "\n", flush: bool = False) -> None:
    """Print a line on standard output; control characters from file names and answers are shown as escapes."""
    print(printable(str(text)), end=end, flush=flush)


def tell(text: object) -> None:
    """Print a line on standard error, as `say` does."""
    print(printable(str(text)), file=sys.stderr, flush=True)


def warn(text: object) -> None:
    """`tell`, as a warning."""
    tell(f"warning: {text}")


def add_output(parser: Parser, *, is_result: Callable[[Any], bool] | None = None, had_file: bool = False) -> None:
    """Add ``--json`` and ``--output FILE``; `emit` does what they ask for.

    `had_file`: ``--json`` took the name of a file before. Where a command takes files as well, ``--json A`` could mean
    either; it means the file to write when A is not there, or when `is_result` knows what it holds as an earlier
    result of this command. So nobody's records are written over.
    """
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON on standard output, and nothing else there"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON to this file")
    if had_file:
        parser.old.append(("--json FILE", "--output FILE"))
        parser.rewrite(lambda words: _json_file(words, is_result))


def emit(args: argparse.Namespace, result: object, text: Callable[[], str] | str) -> None:
    """The result of a command: to ``--output`` as JSON, and on standard output as JSON or as `text`."""
    save(args, result)
    show(args, result, text)


def save(args: argparse.Namespace, result: object) -> None:
    """The first half of `emit`: write ``--output``, if it was asked for."""
    if args.output is not None:
        from faba_bench.files.atomic import write_json

        write_json(args.output, result)


def show(args: argparse.Namespace, result: object, text: Callable[[], str] | str) -> None:
    """The second half of `emit`: print the result as JSON or as `text`."""
    if args.json:
        from faba_bench.files.atomic import json_parts

        for part in json_parts(result, ensure_ascii=True, indent=1):  # ASCII, so that nothing in it steers a terminal
            sys.stdout.write(part)
        sys.stdout.write("\n")
    else:
        say(text if isinstance(text, str) else text())


def _json_file(words: list[str], is_result: Callable[[Any], bool] | None) -> list[str]:
    from faba_bench.console.parser import split_option, warn_old

    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, value = split_option(word)
        if word == "--":
            return [*found, word, *rest]
        if name != "--json":
            found.append(word)
            continue
        if value is None and rest and (rest[0] == "-" or not rest[0].startswith("-")) and _old(rest[0], is_result):
            value = rest.pop(0)
        if value is None:
            found.append(word)
        elif value == "-":
            warn_old("'--json -'", "--json")
            found.append("--json")
        else:
            warn_old(f"'--json {value}'", f"'--output {value}'")
            found.append(f"--output={value}")
    return found


def _old(value: str, is_result: Callable[[Any], bool] | None) -> bool:
    from faba_bench.files.jsonfiles import read_json
    from faba_bench.files.problem import FileProblem

    if value == "-" or is_result is None or not Path(value).exists():
        return True
    try:
        return is_result(read_json(value))
    except FileProblem:
        return False
