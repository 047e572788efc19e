"""``llava-faba run PROGRAM ARGS...``: an unmodified module or script of LLaVA, with EmoLA registered."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  llava-faba run llava.serve.cli --model-path checkpoints/llava-v1.5-7b-emola-lora --image-file face.jpg
  llava-faba run --device cpu llava.eval.model_vqa --question-file q.jsonl --answers-file out/a.jsonl ...
  llava-faba run scripts/merge_lora_weights.py --model-path CHECKPOINT --model-base BASE --save-model-path MERGED
  deepspeed --module llava_faba run llava.train.train_mem --deepspeed zero3.json ...
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run a module or script of LLaVA with EmoLA registered",
        description="Run a module or script of LLaVA with EmoLA registered; all further arguments are its own.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device",
        choices=("cpu",),
        help="for programs that hard-code CUDA: 'cpu' sends all that asks for it to the CPU; put it before PROGRAM",
    )
    parser.add_argument(
        "program", metavar="PROGRAM", help="a module such as llava.serve.cli, or the path of a .py file"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="passed to the program")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.registration.runner import run_program

    rank = [] if args.local_rank is None else [f"--local_rank={args.local_rank}"]
    return run_program(args.program, [*rank, *args.arguments], device=args.device)
