"""The flag ``--set KEY=VALUE`` of commands that make an expert."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the flag; ``settings_of(args.set)`` reads it."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the expert; may be repeated"
    )


def settings_of(pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` settings; a value that is JSON counts as such, anything else as text. Raises ExpertError."""
    from llava_faba.errors import ExpertError

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ExpertError(f"--set {pair}: expected KEY=VALUE.")
        try:
            settings[key] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key] = value
    return settings
