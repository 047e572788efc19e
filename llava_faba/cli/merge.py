"""``llava-faba merge``: a LoRA checkpoint and its base as one model."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("merge", help="merge a LoRA checkpoint into its base model")
    parser.add_argument("--model-path", required=True, help="LoRA checkpoint, also one from the middle of training")
    parser.add_argument("--model-base", help="default: the base that the checkpoint names")
    parser.add_argument("--save-model-path", type=Path, required=True, help="folder for the merged model")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float16")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import torch
    from faba_bench.files.folders import new_folder

    import llava_faba
    from llava_faba.errors import UserError

    if any(args.save_model_path.glob("*")):
        raise UserError(f"{args.save_model_path} is not empty; give --save-model-path a new folder.")
    tokenizer, model, _, _ = llava_faba.load_model(args.model_path, args.model_base, dtype=getattr(torch, args.dtype))
    with new_folder(args.save_model_path, error=UserError) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    print(f"merged model written to {args.save_model_path}")
    return 0
