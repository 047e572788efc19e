"""``llava-faba train``: training in transformers' own home (docs/transformers.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from faba_bench.console.output import say

from llava_faba.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model of transformers 5 (LoRA, with TRL), without LLaVA",
        description="Trains the model that a YAML file names on FABA records and their priors. Records, pictures, "
        "priors and lengths are checked before the first step. The same command resumes where it stopped. Several "
        "processes: 'accelerate launch -m llava_faba train CONFIG'. Training in LLaVA is scripts/train_emola.py.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file (docs/transformers.md)")
    parser.add_argument("--check", action="store_true", help="check all that is read, and train nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.native_training.config import read_settings

    settings = read_settings(args.config)
    _check_packages()
    from llava_faba.native_training.processes import leave_launcher
    from llava_faba.native_training.run import prepare, train, trainer_arguments

    if args.check:
        prepare(settings, trainer_arguments(settings))
        say(f"{args.config}: sound")
        return 0
    train(settings)
    leave_launcher()
    return 0


def _check_packages() -> None:
    from llava_faba.emola.versions import check_transformers
    from llava_faba.packages import install_command, is_installed

    check_transformers()
    missing = [name for name in ("trl", "datasets", "peft") if not is_installed(name)]
    if missing:
        raise UserError(f"training here needs {', '.join(missing)}: {install_command('native')} peft")
