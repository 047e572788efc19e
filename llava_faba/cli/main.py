"""The parser of ``llava-faba``, and the command that it finds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from faba_bench.console.parser import Parser
from faba_bench.console.program import run

from llava_faba._version import __version__
from llava_faba.cli.checkpoint import add_old_merge
from llava_faba.errors import UserError
from llava_faba.packages import bringing

COMMANDS = (
    "run",
    "doctor",
    "patch",
    "priors",
    "align",
    "analyze",
    "app",
    "predict",
    "chat",
    "serve",
    "data",
    "bench",
    "train",
    "checkpoint",
    "recipe",
    "demo",
)


def build_parser(commands: Sequence[str] = COMMANDS) -> Parser:
    """The parser of ``llava-faba``; docs/cli.md is made from it. ``commands``: the only ones that it needs to know."""
    parser = Parser(
        prog="llava-faba",
        description="EmoLA as a plugin for LLaVA: facial priors, training, chat and evaluation.",
    )
    parser.add_argument("--version", action="version", version=f"llava-faba {__version__}", help="print the version")
    # 'deepspeed --module llava_faba run ...' puts this before everything else.
    parser.add_argument("--local_rank", help="DeepSpeed's launcher passes it to 'run'")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        importlib.import_module(f"llava_faba.cli.{command}").add_parser(subparsers)
    add_old_merge(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    known = words[:1] if words and words[0] in COMMANDS else COMMANDS  # the others' parsers take a fifth of a second
    args = build_parser(known).parse_args(words)
    return run(f"llava-faba {args.command}", lambda: args.run(args), errors=(UserError,), install=bringing)
