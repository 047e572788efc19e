"""FEA-20K: emotion, AUs and a reasoning text for pictures of seven sets, by the authors of Facial-R1.

Layout: JSON-lines files, one object a line, with the keys ``id``, ``dataset``, ``image`` (relative to a folder of
pictures), ``question``, ``AUs`` (["AU1", "AU4"]), ``labels`` (["sadness"]), ``description``, ``meta_info``. Files are
called after their set and part (``FABA-Test.jsonl``, ``RAF-DB-Train-1000.jsonl``) and training step (``stage1``).

Where these facts are from: README.md, ``configs/config.json`` and the loaders of the public repository
RobitsG/Facial-R1, read on 2026-11-28. The README says that the training files of stage 1 are the training set, all
test files the test set, and that pictures are left to the sets that they belong to (FER2013 under other names). The
label files themselves (huggingface.co/datasets/QBiscuits/FEA-20K) were not at hand; their licence was not to be read.
17,737 training and 1,688 test samples: Wu et al., arXiv 2511.10254.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.images import visible
from llava_faba.datatools.convert.texts import (
    MISSING,
    Media,
    aus_of,
    emotion_of,
    finish,
    in_vocabulary,
    objects,
    text_of,
)
from llava_faba.datatools.convert.tree import require_root
from llava_faba.errors import UserError

NAME = "FEA-20K"
SOURCE = "https://huggingface.co/datasets/QBiscuits/FEA-20K (arXiv 2511.10254)"
LICENCE = "not stated in the repository; the pictures are under the terms of their own sets"
_STAGE = re.compile(r"stage[ _-]?(\d)", re.IGNORECASE)
NO_AUS = "no AU listed: the file does not say whether none is active or none was coded"


def convert(root: Path, options: Options) -> Conversion:
    """Read all label files of ``root``; ``options.task`` chooses what records are about."""
    require_root(root, NAME)
    conversion = Conversion("fea20k", NAME, options.task, [Split("", [], [])], options)
    conversion.found = {"source": SOURCE, "licence": LICENCE}
    media = Media(options.images or root, conversion)
    for path, part in _files(root, conversion):
        for where, item in objects(path):
            _row(item, where, part, media, conversion)
    media.check()
    finish(conversion, conversion.ledger)
    return conversion


def _files(root: Path, conversion: Conversion) -> list[tuple[Path, str]]:
    """Label files and their part. Raises ``UserError`` for one whose name tells no part, and when there is none."""
    files = [path for path in visible(root) if path.suffix.lower() in (".jsonl", ".json") and path.is_file()]
    if not files:
        raise UserError(f"{NAME}: no label file (*.jsonl) in {root}")
    found = []
    for path in files:
        name = path.stem.lower()
        if ("train" in name) == ("test" in name):
            raise UserError(f"{path}: its name tells neither 'Train' nor 'Test' alone: rename it, or move it away")
        stage = _STAGE.search(name)
        if "train" in name and stage and stage[1] != "1":
            conversion.notes.append(f"{path.name} was not read: the training set is that of stage 1")
            continue
        found.append((path, "eval" if "test" in name else "train"))
    return found


def _row(item: dict[str, Any], where: str, part: str, media: Media, conversion: Conversion) -> None:
    name, text = text_of(item, "image", where), text_of(item, "description", where)
    task = conversion.task
    values = item.get("labels" if task == "emotion" else "AUs")
    if values is not None and not isinstance(values, list):
        raise UserError(f"{where}: '{'labels' if task == 'emotion' else 'AUs'}' must be a list")
    label: Any
    if task == "au":
        label, reason = in_vocabulary(aus_of(values or [], where), conversion), "" if values else NO_AUS
    elif not values:
        label, reason = None, "no emotion given"
    elif len(set(map(str, values))) > 1:
        label, reason = None, "several emotions"
    else:
        label, reason = emotion_of(str(values[0]), conversion.options)
    image = None if reason else media.find(name)
    outcome: Sample | str = reason or MISSING
    if image is not None:
        record_id = f"{NAME}/{item.get('id') or name}"
        own = {"aus": label} if task == "au" else {"emotion": label}
        outcome = Sample(image, record_id, None, record_id, 0, part=part, text=text, **own)
    conversion.ledger.add(image or name.lower(), where, label, outcome)
