"""``llava-faba analyze``: photographs and videos to a table of faces."""

from __future__ import annotations

import argparse

from faba_bench.console.output import emit

from llava_faba.cli import options
from llava_faba.cli.expert_settings import add_set, settings_of


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "analyze",
        help="read every face in photographs and videos: a table and a page",
        description="Finds, crops and aligns every face, asks the model about its AUs and emotion, and writes "
        "OUT/faces.csv (one row a face), faces.parquet and report.html. After an interruption, run it again.",
        parents=[
            options.model(),
            options.conversation(),
            options.decoding(),
            options.device(),
            options.engine(),
            options.progress(),
        ],
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="pictures, videos, and folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the table and the page")
    parser.add_argument("--faces", choices=("all", "largest"), default="all", help="of each picture (default: all)")
    parser.add_argument("--finder", metavar="EXPERT", help="finds faces (default: mediapipe-478, else dlib-68)")
    add_set(parser)
    parser.add_argument("--size", type=int, default=336, help="side of a crop in pixels (default: %(default)s)")
    parser.add_argument("--smallest", type=int, default=24, help="narrowest face to ask about, in pixels (%(default)s)")
    parser.add_argument(
        "--every", type=float, default=0.5, help="seconds between a video's frames; 0: all (%(default)s)"
    )
    parser.add_argument(
        "--peak", action="store_true", help="of each tracked face, ask about its strongest expression only"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=("au", "emotion"),
        default=["au", "emotion"],
        help="what to ask of each face (default: both)",
    )
    parser.add_argument("--protocol", default="faba", help="whose AUs and classes the table has (default: %(default)s)")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("openface", "py-feat"),
        default=[],
        help="further tables, as those tools name columns",
    )
    parser.add_argument(
        "--overlay", action="store_true", help="also write pictures and videos with what was read drawn over them"
    )
    options.add_samples(parser, "draw N more answers for each, whose agreement is a confidence per AU and emotion")
    parser.add_argument(
        "--label-scores",
        action="store_true",
        help="also how likely each emotion's words are, and yes rather than no to each AU",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="faces answered at once (default: %(default)s)")
    options.add_workers(parser, 1, "processes that answer, with --device cuda one GPU each")
    options.add_output(parser)
    parser.add_argument("--overwrite", action="store_true", help="forget earlier answers, such as another model's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.analysis.run import analyze
    from llava_faba.analysis.settings import AnalyzeSettings
    from llava_faba.cli.progress import Bars
    from llava_faba.devices import gpu_or_cpu_count
    from llava_faba.inference.conversations import conversation_of_checkpoint
    from llava_faba.inference.engines.kinds import choose_engine
    from llava_faba.inference.settings import GenerateSettings

    settings = AnalyzeSettings(
        finder=args.finder,
        finder_settings=settings_of(args.set),
        faces=args.faces,
        size=args.size,
        every=args.every,
        peak=args.peak,
        tasks=tuple(args.tasks),
        protocol=args.protocol,
        smallest=args.smallest,
        overlay=args.overlay,
    )
    args.engine = choose_engine(args.engine, args.model_path)
    is_llava = args.engine == "llava" and not args.conv_mode
    named = conversation_of_checkpoint(args.model_path) if is_llava else None
    generate = GenerateSettings(
        conversation=named or args.conv_mode,
        max_new_tokens=args.max_new_tokens,
        dtype=args.dtype,
        device=args.device,
        batch_size=args.batch_size,
        workers=gpu_or_cpu_count(args.workers, args.device),
        samples=args.samples,
        label_scores=args.protocol if args.label_scores else None,
        **options.engine_settings(args),
    )
    with Bars({"faces": "file", "answers": "answer"}, not args.no_progress) as progress:
        analysis = analyze(
            args.sources,
            args.model_path,
            out=args.out,
            model_base=args.model_base,
            settings=settings,
            generate=generate,
            formats=args.format,
            overwrite=args.overwrite,
            progress=progress,
        )
    files = [str(path) for path in analysis.files]
    result = {
        "rows": len(analysis.rows),
        "counts": analysis.counts,
        "warnings": list(analysis.warnings),
        "files": files,
    }
    counts = ", ".join(f"{status} {count}" for status, count in analysis.counts.items())
    warnings = [f"warning: {warning}" for warning in analysis.warnings]
    emit(args, result, "\n".join([f"{len(analysis.rows)} rows: {counts}", *warnings, *files]))
    return 0
