"""The parser of ``llava-faba`` and how its errors reach the user."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from llava_faba._version import __version__
from llava_faba.errors import UserError

COMMANDS = (
    "run",
    "doctor",
    "patch",
    "priors",
    "align",
    "analyze",
    "predict",
    "chat",
    "data",
    "bench",
    "merge",
    "checkpoint",
    "demo",
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llava-faba",
        description="EmoLA as a plugin for LLaVA: facial priors, training, chat and evaluation.",
    )
    parser.add_argument("--version", action="version", version=f"llava-faba {__version__}")
    # 'deepspeed --module llava_faba run ...' puts this before everything else.
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        importlib.import_module(f"llava_faba.cli.{command}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = build_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid in any encoding
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"llava-faba {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        print(f"llava-faba {args.command}: interrupted", file=sys.stderr)
        return 130
