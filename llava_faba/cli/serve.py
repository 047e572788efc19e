"""``llava-faba serve``: an OpenAI-compatible server for an EmoLA folder."""

from __future__ import annotations

import argparse

from faba_bench.console.output import say

from llava_faba.cli import options
from llava_faba.devices import DTYPES


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="serve a model to OpenAI clients, by vLLM",
        description="Starts 'vllm serve' on this machine alone, for a folder that 'checkpoint to-transformers' made, "
        "and prints a curl line and a Python line that ask it. A key in VLLM_API_KEY is asked of clients.",
    )
    parser.add_argument("model_path", metavar="DIR", help="folder of transformers")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=options.whole, default=8000, help="(default: %(default)s)")
    parser.add_argument("--name", help="the model's name in requests (default: the folder's)")
    parser.add_argument("--dtype", choices=("auto", *DTYPES), default="auto", help="precision (default: the folder's)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--tensor-parallel-size", type=options.whole, default=1, metavar="N", help="GPUs that share it (default: 1)"
    )
    parser.add_argument(
        "--data-parallel-size", type=options.whole, default=1, metavar="N", help="copies of the model (default: 1)"
    )
    parser.add_argument(
        "--trust-priors", action="store_true", help="requests may bring facial priors (vLLM: --trust-request-mm-kwargs)"
    )
    parser.add_argument(
        "--vllm",
        default="",
        metavar="ARGUMENTS",
        help="more for 'vllm serve', such as '--max-model-len 2048'",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import os
    import shlex
    import sys

    from llava_faba.inference.engines.serving import ServeSettings, serve_command, ways_to_ask

    settings = ServeSettings(
        host=args.host,
        port=args.port,
        name=args.name,
        dtype=args.dtype,
        device=args.device,
        tensor_parallel=args.tensor_parallel_size,
        data_parallel=args.data_parallel_size,
        trust_priors=args.trust_priors,
        more=tuple(shlex.split(args.vllm)),
    )
    command, environment = serve_command(args.model_path, settings)
    curl, python = ways_to_ask(args.model_path, settings)
    say(f"When it says 'Application startup complete', ask it about face.jpg:\n\n{curl}\n\n{python}\n")
    sys.stdout.flush()
    os.execve(command[0], command, environment)
