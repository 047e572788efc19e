"""FERBench and UniFER-CoT-230K: questions about RAF-DB, FERPlus, AffectNet and SFEW 2.0, and answers with reasoning.

Layout of the public repository zfkarl/UniFER, read on 2026-11-28 (commit 1f1950f0)::

    eval_rafdb/data/rafdb_qa.json      a list of {"image_path": "/RAF-DB/aligned/test_3068_aligned.jpg",
                                       "true_label": "neutral", "prompt", "candidate_labels"}
    eval_ferplus/data/ferplus_qa.json  the same, "/FERPlus/test/happy/fer0032269.png", "happy"
    eval_affectnet/, eval_sfew_2.0/    the same by its README; their files were not read

and of the set at huggingface.co/datasets/Karl28/UniFER as its README describes it (the files were not at hand):
``UniFER_CoT_230K.json``, a list of {"image_path", "question", "response"}, the response with <think> and <answer>. The
repository has no licence file; pictures are left to the four sets. Evaluation records have no reference text of their
own: "gpt4" states the label. Zhang et al., arXiv 2511.00389.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.texts import MISSING, Media, emotion_of, finish, objects, text_of
from llava_faba.datatools.convert.tree import require_root
from llava_faba.errors import UserError

NAME = "FERBench"
SOURCE = "https://github.com/zfkarl/UniFER (arXiv 2511.00389)"
LICENCE = "no licence file in the repository; the pictures are under the terms of their own sets"
_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL | re.IGNORECASE)
_COT = "UniFER_CoT_230K.json"


def convert(root: Path, options: Options) -> Conversion:
    """Read every ``*_qa.json`` (evaluation) and ``UniFER_CoT_230K.json`` (training) that is there."""
    require_root(root, NAME)
    conversion = Conversion("ferbench", NAME, "emotion", [Split("", [], [])], options)
    conversion.found = {"source": SOURCE, "licence": LICENCE}
    media = Media(options.images or root, conversion)
    rows = list(_rows(root))
    if not rows:
        raise UserError(f"{NAME}: below {root} is neither eval_*/data/*_qa.json nor {_COT}")
    for where, part, item in rows:
        _row(item, where, part, media, conversion)
    media.check()
    finish(conversion, conversion.ledger)
    return conversion


def _rows(root: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in sorted({*root.glob("eval_*/data/*_qa.json"), *root.glob("*_qa.json")}):
        for where, item in objects(path):
            yield where, "eval", item
    for path in (root / _COT, root / "data" / _COT):
        if path.is_file():
            for where, item in objects(path):
                yield where, "train", item


def _row(item: dict[str, Any], where: str, part: str, media: Media, conversion: Conversion) -> None:
    name, text = text_of(item, "image_path", where), None
    if part == "eval":
        word = text_of(item, "true_label", where)
    else:
        text = text_of(item, "response", where)
        answers = _ANSWER.findall(text)
        if len(answers) != 1:
            conversion.ledger.add((part, name.lower()), where, None, "its response has no single <answer>")
            return
        word = answers[0]
    label, reason = emotion_of(word.strip(" .\"'"), conversion.options)
    image = None if reason else media.find(name)
    outcome: Sample | str = reason or MISSING
    if image is not None:
        record_id = f"{NAME}/{name.lstrip('/')}"
        outcome = Sample(image, record_id, None, record_id, 0, emotion=label, part=part, text=text)
    conversion.ledger.add((part, image or name.lower()), where, label, outcome)
