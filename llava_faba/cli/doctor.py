"""``llava-faba doctor``: what is installed, what works, what to do about the rest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llava_faba.cli import options

if TYPE_CHECKING:
    from llava_faba.doctor.finding import Finding


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what is installed, what works, and what to do about the rest",
        description="Exits with 1 when something that training or inference needs does not work.",
        parents=[
            options.model(
                required=False, what="also look at this checkpoint: its files, its expert, the memory it takes"
            )
        ],
    )
    parser.add_argument(
        "--plan",
        metavar="RECIPE",
        help="instead: whether this machine has the memory and disk that a recipe needs (a name of 'recipe list' or a "
        "file), by the numbers of 'recipe plan'",
    )
    parser.add_argument("--root", metavar="DIR", help="with --plan: the recipe's folder (default: runs/RECIPE)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="with --plan: as for 'recipe plan'"
    )
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import contextlib
    import sys

    from faba_bench.console.output import emit

    if args.plan:
        findings = _of_plan(args)
    else:
        from llava_faba.doctor.checks import diagnose

        _refuse_without_plan(args)
        with contextlib.redirect_stdout(sys.stderr):  # broken packages print what they think of it
            findings = diagnose(args.model_path, args.model_base)
    emit(args, [finding.as_dict() for finding in findings], "\n".join(str(finding) for finding in findings))
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _of_plan(args: argparse.Namespace) -> list[Finding]:
    from pathlib import Path

    from llava_faba.errors import UserError
    from llava_faba.recipe import fitting
    from llava_faba.recipe.expansion import expand
    from llava_faba.recipe.planning import plan
    from llava_faba.recipe.reading import find

    if args.model_path:
        raise UserError("--plan looks at a recipe and --model-path at a checkpoint: ask for one after the other")
    recipe = find(args.plan)
    graph = expand(recipe, Path(args.root or f"runs/{recipe.name}").absolute(), args.set)
    return fitting.findings(graph, plan(graph))


def _refuse_without_plan(args: argparse.Namespace) -> None:
    from llava_faba.errors import UserError

    if args.root or args.set:
        raise UserError("--root and --set belong to a recipe: name it with --plan")
