"""Converters from the layouts in which licensed datasets are handed out to training and evaluation records.

``convert(name, root, out, options)`` is the whole interface; each dataset is one module with a function
``convert(root, options) -> Conversion`` and a docstring that says where each fact about the layout is from.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from llava_faba.datatools.convert.base import DATASETS, Conversion, Converter, Options, Sample, Split, write
from llava_faba.errors import UserError, nearest

__all__ = ["DATASETS", "Conversion", "Options", "Sample", "Split", "convert", "converter"]


def converter(name: str) -> Converter:
    """The conversion function of a dataset. Raises ``UserError`` for an unknown name."""
    if name not in DATASETS:
        raise UserError(f"unknown dataset '{name}'; known: {', '.join(DATASETS)}.{nearest(name, DATASETS)}")
    function: Converter = importlib.import_module(f"{__name__}.{name}").convert
    return function


def convert(name: str, root: Path | str, out: Path | str, options: Options | None = None) -> dict[str, Any]:
    """Convert a dataset in ``root`` to annotation files in ``out``.

    Writes ``train_<task>_anno.json`` and ``eval_<task>_anno.json`` (in ``fold1`` to ``fold3`` where the
    protocol has folds) and ``conversion.json``, whose content is returned. Raises ``UserError`` naming the
    first thing that is missing or malformed in ``root``.
    """
    options = options or Options()
    root = Path(root)
    function = converter(name)
    options.check_for(name)
    return write(function(root, options), root, Path(out))
