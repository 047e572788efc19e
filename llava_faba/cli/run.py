"""``llava-faba run MODULE ARGS...``: an unmodified upstream module, with EmoLA registered."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  llava-faba run llava.serve.cli --model-path checkpoints/llava-v1.5-7b-emola-lora --image-file face.jpg
  llava-faba run --device cpu llava.eval.model_vqa --question-file q.jsonl --answers-file out/a.jsonl ...
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run a module of LLaVA with EmoLA registered",
        description="Run an unmodified module of LLaVA with EmoLA registered; all further arguments are the module's.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device",
        choices=("cpu",),
        help="for modules that hard-code CUDA: 'cpu' sends all that asks for it to the CPU (before the module's name)",
    )
    parser.add_argument("module", help="such as llava.serve.cli")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="passed to the module")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.registration.runner import run_module

    rank = [] if args.local_rank is None else [f"--local_rank={args.local_rank}"]
    return run_module(args.module, [*rank, *args.arguments], device=args.device)
