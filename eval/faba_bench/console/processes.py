"""The flag ``--workers``: processes, 0 for one per CPU."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faba_bench.console.parser import Parser


def add_workers(parser: Parser, default: int, what: str = "processes") -> None:
    """Add the flag; `worker_count(args.workers)` is the number of processes to start."""
    parser.add_argument(
        "--workers",
        type=whole,
        default=default,
        metavar="N",
        help=f"{what}; 0: one per CPU (default: {default})",
    )


def worker_count(workers: int) -> int:
    """The number of processes; of 0 the number of CPUs that this process may use."""
    return workers or cpu_count()


def cpu_count() -> int:
    """CPUs that this process may use: a scheduler's share, where it gives one, not the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole(text: str) -> int:
    """A whole number from 0 on; argparse prints the error."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return int(text)
