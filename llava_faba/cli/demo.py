"""``llava-faba demo``: what ``make demo`` runs."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="train EmoLA on the embedded demo, evaluate it and write a report",
        description="Makes its own face pictures, a small LLaVA, trains EmoLA and plain LLaVA on them, and compares "
        "them on FABA-Bench. Interrupted, it goes on where it stopped.",
    )
    parser.add_argument("--root", default="runs/demo", help="folder for everything it makes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument(
        "--ablation", action="store_true", help="three seeds and all normalizations (about an hour on two cores)"
    )
    parser.add_argument("--tiny", action="store_true", help="a few pictures and steps, to see that all steps run")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from llava_faba.demo.pipeline import run_ablation, run_demo
    from llava_faba.demo.settings import TINY, DemoSettings

    sizes = TINY if args.tiny else {}
    settings = DemoSettings(root=Path(args.root), seed=args.seed, **sizes)
    if args.ablation:
        run_ablation(settings)
    else:
        run_demo(settings)
    return 0
