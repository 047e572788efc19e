"""``llava-faba doctor``: what is installed, what works, what to do about the rest."""

from __future__ import annotations

import argparse

from llava_faba.cli import options


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
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import contextlib
    import sys

    from faba_bench.console.output import emit

    from llava_faba.doctor.checks import diagnose

    with contextlib.redirect_stdout(sys.stderr):  # broken packages print what they think of it
        findings = diagnose(args.model_path, args.model_base)
    emit(args, [finding.as_dict() for finding in findings], "\n".join(str(finding) for finding in findings))
    return 1 if any(finding.level == "error" for finding in findings) else 0
