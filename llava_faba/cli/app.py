"""``llava-faba app``: a page to drop pictures and clips on."""

from __future__ import annotations

import argparse

from faba_bench.console.output import say

from llava_faba.cli import options
from llava_faba.cli.expert_settings import add_set, settings_of


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "app",
        help="a page to drop pictures and clips on",
        description="Serves one page on this machine: faces are boxed; AUs, emotion and text are shown as they are "
        "written. Uploads stay in memory, clips in a private folder; both are gone at the end.",
        parents=[options.model(required=False), options.conversation(), options.decoding(), options.device()],
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="a served model (vLLM) instead of --model-path, such as .../v1"
    )
    parser.add_argument(
        "--compare", metavar="CHECKPOINT", help="a second checkpoint, such as plain LLaVA, to ask as well"
    )
    parser.add_argument("--compare-base", metavar="BASE", help="base model of --compare, where it is a LoRA folder")
    parser.add_argument("--finder", metavar="EXPERT", help="finds faces (default: mediapipe-478, else dlib-68)")
    add_set(parser)
    parser.add_argument("--protocol", default="faba", help="whose AUs and classes are read (default: %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; another than loopback asks for a token (%(default)s)"
    )
    parser.add_argument("--port", type=int, default=7861, help="0: a free one (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.analysis.settings import AnalyzeSettings
    from llava_faba.app.asking import Asker, Loaded, Served
    from llava_faba.app.reading import Reader
    from llava_faba.app.server import packages, serve
    from llava_faba.errors import UserError

    if (args.model_path is None) == (args.endpoint is None):
        raise UserError("give --model-path CHECKPOINT, or --endpoint URL of a served model.")
    packages()
    settings = AnalyzeSettings(finder=args.finder, finder_settings=settings_of(args.set), protocol=args.protocol)
    how = {
        "device": args.device,
        "dtype": args.dtype,
        "conversation": args.conv_mode,
        "max_new_tokens": args.max_new_tokens,
    }
    askers: dict[str, Asker] = {}
    if args.endpoint:
        askers["model"] = Served(args.endpoint, max_new_tokens=args.max_new_tokens)
    else:
        askers["model"] = Loaded(args.model_path, args.model_base, **how)
    if args.compare:
        askers["compare"] = Loaded(args.compare, args.compare_base, **how)
    reader = Reader(askers, settings)
    serve(reader, args.host, args.port, lambda address: say(f"Open {address}  (Ctrl-C ends it)", flush=True))
    return 0
