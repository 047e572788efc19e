"""``llava-faba analyze``: photographs and videos to a table of faces."""

from __future__ import annotations

import argparse
from typing import Any

from llava_faba.cli.expert_settings import add_set, settings_of


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "analyze",
        help="read every face in photographs and videos: a table and a page",
        description="Finds, crops and aligns every face, asks the model about its AUs and emotion, and writes "
        "OUT/faces.csv (one row a face), faces.parquet and report.html. After an interruption, run it again.",
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="pictures, videos, and folders of them")
    parser.add_argument("--model-path", required=True, help="checkpoint folder or hub id")
    parser.add_argument("--model-base", help="base model of a LoRA folder; default: the one that it names")
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
        "--tasks", nargs="+", choices=("au", "emotion"), default=["au", "emotion"], help="(default: both)"
    )
    parser.add_argument("--protocol", default="faba", help="whose AUs and classes the table has (default: %(default)s)")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("openface", "py-feat"),
        default=[],
        help="further tables, as those tools name columns",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="faces answered at once (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes, or GPUs, that answer (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="(%(default)s)")
    parser.add_argument("--conv-mode", help="conversation template (default: the checkpoint's)")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="forget earlier answers, such as another model's")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.analysis.run import analyze
    from llava_faba.analysis.settings import AnalyzeSettings
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
    )
    chosen = {"conversation": args.conv_mode} if args.conv_mode else {}
    generate = GenerateSettings(
        max_new_tokens=args.max_new_tokens,
        dtype=args.dtype,
        device=args.device,
        batch_size=args.batch_size,
        workers=args.workers,
        **chosen,
    )
    with _Bars(not args.no_progress) as progress:
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
    print(f"{len(analysis.rows)} rows: " + ", ".join(f"{status} {count}" for status, count in analysis.counts.items()))
    for warning in analysis.warnings:
        print(f"warning: {warning}")
    for path in analysis.files:
        print(path)
    return 0


class _Bars:
    """A progress bar a stage, one after the other."""

    def __init__(self, shown: bool) -> None:
        self._shown, self._what = shown, ""
        self._bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if what != self._what:
            self.__exit__()
            self._what = what
            self._bar = tqdm(
                total=total, desc=what, unit="file" if what == "faces" else "answer", disable=not self._shown
            )
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
