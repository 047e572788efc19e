#!/usr/bin/env python3
"""Write docs/cli.md from the parsers of llava-faba and faba-bench: ``python tools/write_cli_docs.py [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from faba_bench.cli import build_parser as build_faba_bench
from faba_bench.console.parser import REMOVED_IN, Parser
from faba_bench.files.atomic import write_text

from llava_faba.cli.main import build_parser as build_llava_faba

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """# The command line

This page is written from the parsers by `python tools/write_cli_docs.py`; a test compares the two.

## The grammar

One name for one thing, in every command of `llava-faba` and `faba-bench`:

| concept | how it is written |
|---|---|
| checkpoint, base | `--model-path`, `--model-base` |
| device, precision | `--device auto` (a GPU if there is one), `--dtype auto` (float32 on a CPU, bfloat16 on a \
GPU, float16 on one older than Ampere); `load_model()` and `predict()` take the same names |
| pictures | positional FILE or DIR where they are the subject, `--image-folder` where records name them |
| priors store | positional STORE where it is the subject, `--priors` elsewhere |
| conversation | `--conv-mode`; default: the checkpoint's |
| what is made | `--out` |
| the result for programs | `--json` prints JSON, and nothing else, on standard output; `--output FILE` writes it |
| processes | `--workers`, 0: one per CPU |
| progress | on standard error; `--no-progress` |
| verbs | `patch check`, `patch apply`, `patch revert`; `checkpoint merge`, `checkpoint export`, ... |

Options are written out: abbreviations are not guessed. Control characters in names and answers are printed as escapes.

Exit codes: 0 fine, 1 the command found problems, 2 wrong usage or something that you can fix (one sentence on standard
error, no traceback), 130 interrupted. A reader that closes the pipe gives `llava-faba` 141; `faba-bench` has written
its files by then and gives 0.

Training (`scripts/train_emola.py`) takes the flags of LLaVA's own train.py, with underscores
([training.md](training.md)).
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when the page is not as it should be"
    )
    args = parser.parse_args()
    text = page()
    if args.check:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if current != text:
            print(f"{TARGET} is not what the parsers say: run python tools/write_cli_docs.py", file=sys.stderr)
            return 1
        return 0
    write_text(TARGET, text)
    return 0


def page() -> str:
    """The whole page."""
    programs = [build_llava_faba(), build_faba_bench()]
    commands = [command for program in programs for command in walk(program)]
    parts = [HEAD, *old_spellings(commands)]
    for command in commands:
        parts += section(command)
    return "\n".join(parts).rstrip() + "\n"


def walk(parser: Parser, hidden: bool = False) -> Iterator[Parser]:
    """A parser and all its sub-parsers, in their order; of those that no help shows only with `hidden`."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            shown = {choice.dest for choice in action._choices_actions}
            for name, command in action.choices.items():
                if hidden or name in shown:
                    yield from walk(command, hidden)


def old_spellings(commands: list[Parser]) -> list[str]:
    rows = [f"| `{command.prog}` | `{old}` | `{new}` |" for command in commands for old, new in command.old]
    rows.append("| `llava-faba` | `merge` | `checkpoint merge` |")
    return [
        "## Old spellings",
        "",
        f"They work until {REMOVED_IN}, each with a warning on standard error.",
        "",
        "| command | old | new |",
        "|---|---|---|",
        *rows,
        "",
    ]


def section(command: Parser) -> list[str]:
    rows = [row(action) for action in command._actions if shown(action)]
    if not rows:
        return []
    lines = [f"## {command.prog}", ""]
    if command.description:
        lines += [" ".join(command.description.split()), ""]
    return [*lines, "| argument | meaning |", "|---|---|", *rows, ""]


def shown(action: argparse.Action) -> bool:
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    return not isinstance(action, hidden) and action.help is not argparse.SUPPRESS


def row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = value_of(action)
    argument = f"{names} `{value}`" if names and value else names or f"`{value}`"
    text = " ".join((action.help or "").split())
    if "%(default)s" in text:
        text = text.replace("%(default)s", str(action.default))
    if action.option_strings and action.required:
        text += " (required)"
    return f"| {argument} | {text} |".replace("%%", "%")


def value_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        name = str(action.metavar)
    elif action.choices is not None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = action.dest.upper().replace("-", "_")
    tails = {"+": f"{name} ...", "*": f"[{name} ...]", "?": f"[{name}]", argparse.REMAINDER: f"{name} ..."}
    return tails.get(str(action.nargs), name).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
