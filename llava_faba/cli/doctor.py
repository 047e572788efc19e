"""``llava-faba doctor``: what is installed, what works, what to do about the rest."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what is installed, what works, and what to do about the rest",
        description="Exits with 1 when something that training or inference needs does not work.",
    )
    parser.add_argument("--model-path", help="also look at this checkpoint: its files, its expert, the memory it takes")
    parser.add_argument("--model-base", help="base model of a LoRA folder; default: the one that it names")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import contextlib
    import json
    import sys

    from llava_faba.doctor.checks import diagnose

    with contextlib.redirect_stdout(sys.stderr):  # broken packages print what they think of it
        findings = diagnose(args.model_path, args.model_base)
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return 1 if any(finding.level == "error" for finding in findings) else 0
