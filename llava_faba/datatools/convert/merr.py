"""MERR: emotion and a text for peak frames of clips of MER2023-SEMI, by the authors of Emotion-LLaMA.

Layout: ``MERR_fine_grained.json`` (4,487 samples) and ``MERR_coarse_grained.json`` (28,618), each one object whose keys
are clips and whose values hold ``pseu_emotion`` (happy, sad, neutral, angry, worried, surprise, fear, contempt, doubt),
``peak_index`` (the number of the peak frame, as text), ``AU_list``, ``peak_AU_list``, ``visual_prior_list``,
``audio_prior_list``, ``text`` (subtitle), and the description: ``smp_reason_caption`` (fine) or ``caption`` (coarse).

Where these facts are from: MERR/README.md and docs/dataset of the public repository ZebangCheng/Emotion-LLaMA, and
public loaders that agree on the keys (found by searching for ``pseu_emotion``), read on 2026-11-28; the files
themselves were not at hand. Annotations: CC BY-NC 4.0; clips: by agreement with the makers of MER2023. Both
files are labelled by rules from AUs, so this is training data: no evaluation records are written.

Pictures are the peak frames: ``<clip>.png`` (or .jpg) below ``--images``. What is missing is listed with its frame.
Descriptions also speak of tone and words, which no picture shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.datatools.convert.base import Conversion, Options, Sample, Split
from llava_faba.datatools.convert.texts import MISSING, Media, emotion_of, finish, named_objects, text_of
from llava_faba.datatools.convert.tree import require_file, require_root

NAME = "MERR"
SOURCE = "https://github.com/ZebangCheng/Emotion-LLaMA (NeurIPS 2024, arXiv 2406.11161)"
LICENCE = "annotations CC BY-NC 4.0; clips by agreement with the makers of MER2023"
FILES = ["MERR_fine_grained.json", "MERR_coarse_grained.json"]
_TEXTS = ("smp_reason_caption", "caption")


def convert(root: Path, options: Options) -> Conversion:
    """Read ``MERR_fine_grained.json``, or ``MERR_coarse_grained.json`` where the former is not there."""
    require_root(root, NAME)
    path = require_file(root, FILES, NAME, "label file")
    conversion = Conversion("merr", NAME, "emotion", [Split("", [], [])], options)
    conversion.found = {"source": SOURCE, "licence": LICENCE, "label file": path.name}
    media = Media(options.images or root, conversion)
    for where, name, item in named_objects(path):
        _row(item, name, where, media, conversion)
    media.check()
    finish(conversion, conversion.ledger)
    return conversion


def _row(item: dict[str, Any], name: str, where: str, media: Media, conversion: Conversion) -> None:
    label, reason = emotion_of(text_of(item, "pseu_emotion", where), conversion.options)
    text = next((one for key in _TEXTS if (one := text_of(item, key, where, needed=False))), "")
    reason = reason or ("" if text else "no description")
    frame = item.get("peak_index")
    image = None if reason else media.find(f"{name}.png", f" (frame {frame} of the clip)")
    outcome: Sample | str = reason or MISSING
    if image is not None:
        outcome = Sample(image, f"{NAME}/{name}", None, name, 0, emotion=label, part="train", text=text)
    conversion.ledger.add(image or name.lower(), where, label, outcome)
