"""``llava-faba align``: aligned face crops from photographs."""

from __future__ import annotations

import argparse

from llava_faba.cli import options
from llava_faba.cli.expert_settings import add_set, settings_of


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "align",
        help="crop and align the faces in a folder of photographs",
        description="Writes one aligned square crop per photograph, under the same relative path; photographs without "
        "a face are listed in OUT/align.jsonl and get no crop. Crops that are there already are kept. EXIF rotation is "
        "applied. Run the same command again after an interruption.",
        parents=[options.progress()],
    )
    parser.add_argument("folder", metavar="DIR", help="folder of photographs, searched recursively")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the crops")
    parser.add_argument("--expert", default="dlib-68", help="landmark expert (default: %(default)s)")
    add_set(parser)
    parser.add_argument("--size", type=int, default=336, help="side of a crop in pixels (default: %(default)s)")
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from faba_bench.console.output import emit

    from llava_faba.align.folder import align_folder
    from llava_faba.cli.progress import progress_bar

    with progress_bar("align", "image", not args.no_progress) as progress:
        summary = align_folder(
            Path(args.folder),
            Path(args.out),
            expert=args.expert,
            settings=settings_of(args.set),
            size=args.size,
            progress=progress,
        )
    emit(args, summary, ", ".join(f"{status} {count}" for status, count in summary.items()))
    return 0
