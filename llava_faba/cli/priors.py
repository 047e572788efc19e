"""``llava-faba priors``: facial priors of whole datasets, and the stores that hold them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``priors`` with its sub-commands; each sets ``run`` to a function of the parsed arguments."""
    parser = subparsers.add_parser(
        "priors", help="extract facial priors of a dataset, look into stores, merge them", description=__doc__
    )
    commands = parser.add_subparsers(dest="priors_command", metavar="COMMAND", required=True)
    _add_extract(commands)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _add_extract(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "extract",
        help="images in, a priors store out; resumable",
        description="Compute the facial prior of every image and write a priors store. Run the same command again "
        "after an interruption, whatever it was: it goes on where it stopped. Under torchrun or deepspeed each "
        "process takes its share and writes OUT/shard-I-of-N.",
    )
    parser.add_argument("--expert", required=True, help="name of the facial prior expert; an unknown one lists all")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="all images below this folder")
    source.add_argument(
        "--annotations", type=Path, nargs="+", metavar="FILE", help="all images that these files of records name"
    )
    parser.add_argument(
        "--image-folder", type=Path, help="the folder that image paths are relative to (default: --images, or .)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="the store's folder")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode images (default: 1)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per call of a network (default: 32)")
    parser.add_argument("--shard", metavar="I/N", help="only every N-th image, from the I-th on; I counts from 0")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the expert; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=run_extract)


def run_extract(args: argparse.Namespace) -> int:
    from llava_faba.priors.extract import extract
    from llava_faba.priors.sources import images_in

    folder, names = images_in(args.images, args.annotations, args.image_folder)
    out, (position, count) = args.out, _shard(args.shard)
    if args.shard is None and count > 1:
        out = out / f"shard-{position}-of-{count}"
    names = names[position::count]
    with _Bar(quiet=args.json) as bar:
        summary = extract(
            names,
            folder,
            out,
            expert=args.expert,
            settings=_settings(args.set),
            batch_size=args.batch_size,
            workers=args.workers,
            progress=bar,
        )
    if args.json:
        print(json.dumps({**vars(summary), "store": str(summary.store), "problems": str(summary.problems)}))
        return 0
    print(f"{summary.processed} images processed now, {summary.before} were in the store before")
    print(", ".join(f"{status.replace('_', ' ')}: {number}" for status, number in summary.counts.items()))
    print(f"images without exactly one face: {summary.problems}")
    if out != args.out:
        print(f"when all processes are done: llava-faba priors merge {args.out}/shard-*-of-{count} --out {args.out}")
    return 0


class _Bar:
    """A progress bar with rate and time left, on stderr."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._update

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _update(self, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit="image", disable=self._quiet, smoothing=0.1, file=sys.stderr
            )
        self._bar.update(done - self._bar.n)


def _settings(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` settings; a value that is JSON counts as such, anything else as text."""
    from llava_faba.errors import ExpertError

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ExpertError(f"--set {pair}: expected KEY=VALUE.")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _shard(text: str | None) -> tuple[int, int]:
    """(position, number) from ``I/N``, or from what torchrun and deepspeed tell their processes."""
    from llava_faba.errors import PriorError

    if text is None:
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    position, _, count = text.partition("/")
    if not (position.isdigit() and count.isdigit() and int(position) < int(count)):
        raise PriorError(f"--shard {text}: expected I/N with 0 <= I < N, such as 0/4.")
    return int(position), int(count)
