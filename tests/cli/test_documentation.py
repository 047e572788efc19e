"""docs/cli.md, the help of every argument, and the grammar as a rule over all parsers."""

from __future__ import annotations

import argparse
import re

import pytest
from faba_bench.cli import build_parser as build_faba_bench
from faba_bench.console.parser import Parser
from support import ROOT, tool

from llava_faba.cli.main import build_parser as build_llava_faba

WRITER = tool("write_cli_docs")
PARSERS: list[Parser] = [
    parser for program in (build_llava_faba(), build_faba_bench()) for parser in WRITER.walk(program, hidden=True)
]
LEAVES = [
    parser for parser in PARSERS if not any(isinstance(one, argparse._SubParsersAction) for one in parser._actions)
]


def options(parser: Parser) -> dict[str, argparse.Action]:
    return {name: action for action in parser._actions for name in action.option_strings}


def test_the_page_is_what_the_parsers_say() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == WRITER.page(), "run: python tools/write_cli_docs.py"


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_every_argument_has_help(parser: Parser) -> None:
    without = [
        action.dest
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction) and not (action.help or "").strip()
    ]
    assert not without
    parser.format_help()  # a stray % in a help text raises here


def test_there_are_commands() -> None:
    assert len(LEAVES) > 25 and {"llava-faba merge", "faba-bench score"} <= {parser.prog for parser in LEAVES}


@pytest.mark.parametrize("parser", LEAVES, ids=lambda parser: parser.prog)
def test_the_grammar(parser: Parser) -> None:
    known = options(parser)
    for old in ("--facial-prior-store", "--store", "--conversation", "--answers-file", "--save-model-path", "--image"):
        assert old not in known
    assert isinstance(parser, Parser) and not parser.allow_abbrev
    if "--json" in known:
        assert known["--json"].nargs == 0 and "--output" in known
    if "--workers" in known:
        assert known["--workers"].type("0") == 0 and "0: one per CPU" in known["--workers"].help
    if "--device" in known and parser.prog != "llava-faba run":
        assert known["--device"].default == "auto" and "auto" in known["--dtype"].choices
    if "--conv-mode" in known:
        assert known["--conv-mode"].default is None
    if "--model-base" in known:
        assert "--model-path" in known


def test_no_progress_is_everywhere_where_something_takes_long() -> None:
    having = {parser.prog for parser in LEAVES if "--no-progress" in options(parser)}
    assert having >= {
        *(f"llava-faba {name}" for name in ("align", "analyze", "bench generate", "priors extract")),
        *(f"llava-faba data {name}" for name in ("validate", "annotate")),
    }


def test_every_old_spelling_is_hidden_and_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("## llava-faba")[0]
    pairs = [
        (parser.prog, old, new) for parser in PARSERS for old, new in parser.old if parser.prog != "llava-faba merge"
    ]
    assert len(pairs) >= 15
    for program, old, new in pairs:
        assert f"| `{program}` | `{old}` | `{new}` |" in page
    for parser in PARSERS:
        for old, _ in parser.old:
            if not re.match(r"--(json|format) ", old):
                assert not re.search(rf"(?<![\w-]){re.escape(old.split()[0])}(?![\w-])", parser.format_usage())
