"""The demo's data set: pictures, instruction records for both tasks, and what a base model is pretrained on.

Run it from Python: ``build(Path("data"), n_train=3000, n_test=400)``. Made of :mod:`llava_faba.demo.faces`
(pictures) and :mod:`llava_faba.demo.texts` (what is said); ``docs/measurements/demo-data.md`` describes both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import write_json
from faba_bench.files.jsonfiles import read_object

from .faces.capture import draw_capture
from .faces.identity import Identity, draw_identity
from .faces.prototypes import draw_prototype, draw_units
from .faces.render import Face, render_face
from .faces.sources import SOURCES
from .texts import AU_QUESTION, EMOTION_QUESTION, EMOTIONS
from .texts.action_units import au_answer
from .texts.captions import caption, caption_prompt
from .texts.emotions import emotion_answer
from .texts.glossary import glossary

Record = dict[str, Any]
FORMAT = 3
"""Goes up whenever the same seed would give other pictures or texts: a folder of another format is made
anew."""
JPEG_QUALITY = 92
_SPLITS = ("train", "test")
# six pictures in ten show an emotion; the order mixes them so that any stretch of indices has the same shares
_EMOTIONAL_SLOTS = (0, 2, 4, 5, 7, 9)


@dataclass(frozen=True)
class DemoData:
    """Where everything is, and how much of it.

    Attributes:
        root: the folder; ``image`` fields are relative to it.
        n_train, n_test: pictures.
        counts: records in each annotation file, by file name.
        made: pictures made by this call; the others were there.
    """

    root: Path
    train_au: Path
    train_emotion: Path
    eval_au: Path
    eval_emotion: Path
    base_captions: Path
    base_text: Path
    identities: Path
    manifest: Path
    n_train: int
    n_test: int
    counts: dict[str, int]
    made: int


class DataFolderMismatch(RuntimeError):
    """The folder holds pictures made with another seed, size or format."""


@dataclass(frozen=True)
class Sample:
    """One picture to be made, and what it shows.

    Attributes:
        split: "train" or "test".
        index: from 1.
        emotion: its class, or None where the units are a free combination.
    """

    split: str
    index: int
    emotion: str | None
    face: Face

    @property
    def image(self) -> str:
        return f"images/{self.split}/{self.index:06d}.jpg"

    @property
    def units(self) -> list[int]:
        return sorted(self.face.units)


def people(split: str, n_images: int, seed: int) -> list[Identity]:
    """The made-up people of a split: one for about twelve training pictures, and twice as many per test
    picture. Portraits take turns. No person is in both splits."""
    count = max(4, n_images // (12 if split == "train" else 6))
    names = [source.name for source in SOURCES]
    return [draw_identity(f"{split}-{i:04d}", names[i % len(names)], _rng(seed, split, 1, i)) for i in range(count)]


def plan(split: str, n_images: int, seed: int) -> list[Sample]:
    """What each picture of a split shows. Depends on nothing but the arguments."""
    crowd = people(split, n_images, seed)
    return [_draw_sample(split, index, crowd, seed) for index in range(1, n_images + 1)]


def _draw_sample(split: str, index: int, crowd: Sequence[Identity], seed: int) -> Sample:
    rng = _rng(seed, split, 2, index)
    identity = crowd[int(rng.integers(len(crowd)))]
    emotion = _class_of(index)
    units = draw_prototype(emotion, rng) if emotion else draw_units(rng)
    intensities = {unit: round(float(rng.uniform(0.6, 1.0)), 3) for unit in sorted(units)}
    sides = np.clip(rng.normal(1, 0.07, 2), 0.85, 1.15)
    face = Face(identity, intensities, (float(sides[0]), float(sides[1])), draw_capture(rng))
    return Sample(split, index, emotion, face)


def _class_of(index: int) -> str | None:
    """The emotion that the picture of this index shows: classes take turns, so that all are as frequent."""
    round_, slot = divmod(index, 10)
    if slot not in _EMOTIONAL_SLOTS:
        return None
    return EMOTIONS[(round_ * len(_EMOTIONAL_SLOTS) + _EMOTIONAL_SLOTS.index(slot)) % len(EMOTIONS)]


def _rng(seed: int, split: str, purpose: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, _SPLITS.index(split), purpose, index])


def build(
    out_dir: Path,
    *,
    n_train: int = 3000,
    n_test: int = 400,
    seed: int = 0,
    workers: int = 2,
    size: int = 224,
    progress: Callable[[int, int], None] | None = None,
) -> DemoData:
    """Make the data set, or what is missing of it.

    Deterministic in the arguments but for ``workers``. Pictures that are there are kept: an interrupted run
    resumes where it stopped. Annotation files are written anew each time.

    Args:
        out_dir: made where it's missing.
        n_train, n_test: pictures of each split.
        workers: processes; 1 makes the pictures in this one.
        size: side of a picture in pixels.
        progress: called with the number of pictures that are there and of all.

    Raises:
        DataFolderMismatch: ``out_dir`` was begun with another seed, size, number of pictures or format.
        PortraitMissing: a package that ships a portrait isn't installed.
        ValueError: a number that can't be.
    """
    if n_train < 1 or n_test < 1 or workers < 1 or size < 64:
        raise ValueError(
            f"n_train, n_test and workers must be at least 1 and size at least 64; got {n_train=}, "
            f"{n_test=}, {workers=}, {size=}"
        )
    out_dir = Path(out_dir)
    settings = {"format": FORMAT, "seed": seed, "n_train": n_train, "n_test": n_test, "size": size}
    _check_folder(out_dir / "manifest.json", settings)
    for split in _SPLITS:
        (out_dir / "images" / split).mkdir(parents=True, exist_ok=True)
        for left_over in (out_dir / "images" / split).glob(".*.part"):  # of a run that was killed
            left_over.unlink(missing_ok=True)
    write_json(out_dir / "manifest.json", {**settings, "complete": False})
    train, test = plan("train", n_train, seed), plan("test", n_test, seed)
    made = _make_pictures([*train, *test], out_dir, size, workers, progress)
    counts = _write_records(out_dir, train, test, seed)
    manifest = {
        **settings,
        "complete": True,
        "counts": counts,
        "versions": _versions(),
        "sources": _credits(),
    }
    write_json(out_dir / "manifest.json", manifest)
    files = {name: out_dir / f"{name}.json" for name in (*counts, "identities", "manifest")}
    return DemoData(
        root=out_dir,
        train_au=files["train_au_anno"],
        train_emotion=files["train_emotion_anno"],
        eval_au=files["eval_au_anno"],
        eval_emotion=files["eval_emotion_anno"],
        base_captions=files["base_captions"],
        base_text=files["base_text"],
        identities=files["identities"],
        manifest=files["manifest"],
        n_train=n_train,
        n_test=n_test,
        counts=counts,
        made=made,
    )


def _check_folder(manifest: Path, settings: Record) -> None:
    if not manifest.is_file():
        return
    found = read_object(manifest, error=DataFolderMismatch)
    wrong = [
        f"{key} is {found.get(key)!r}, not {value!r}" for key, value in settings.items() if found.get(key) != value
    ]
    if wrong:
        raise DataFolderMismatch(
            f"{manifest.parent} was made with other settings: {'; '.join(wrong)}. Remove the folder or choose another."
        )


# ---------------------------------------------------------------------------------------------- pictures


def _make_pictures(
    samples: list[Sample], out_dir: Path, size: int, workers: int, progress: Callable[[int, int], None] | None
) -> int:
    todo = [s for s in samples if not _is_complete(out_dir / s.image)]
    done = len(samples) - len(todo)
    if progress:
        progress(done, len(samples))
    make = partial(_make_picture, out_dir=out_dir, size=size)
    for _ in _run(make, todo, workers):
        done += 1
        if progress:
            progress(done, len(samples))
    return len(todo)


def _run(make: Callable[[Sample], None], todo: list[Sample], workers: int) -> Iterator[None]:
    if workers == 1 or len(todo) < 2 * workers:
        yield from map(make, todo)
        return
    # spawn: a forked child of a process that has used torch's threads may hang
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, todo, chunksize=16)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children start with one thread for linear algebra: theirs are small matrices, and there is a process
    per core."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _is_complete(path: Path) -> bool:
    # written under another name first, so what bears the final name is whole, but for a disk that was full
    return path.is_file() and path.stat().st_size > 0


def _make_picture(sample: Sample, out_dir: Path, size: int) -> None:
    from PIL import Image

    path = out_dir / sample.image
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        picture = Image.fromarray(render_face(sample.face, size))
        picture.save(unfinished, format="JPEG", quality=JPEG_QUALITY)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------- records


def _write_records(out_dir: Path, train: list[Sample], test: list[Sample], seed: int) -> dict[str, int]:
    files: dict[str, list[Record]] = {
        "train_au_anno": [_training(s, "au", _au_text(s, seed)) for s in train if s.units],
        "train_emotion_anno": [_training(s, "emotion", _emotion_text(s, seed)) for s in train if s.emotion],
        "eval_au_anno": [
            _evaluation(s, "au", ", ".join(map(str, s.units)), _au_text(s, seed)) for s in test if s.units
        ],
        "eval_emotion_anno": [_evaluation(s, "emotion", s.emotion, _emotion_text(s, seed)) for s in test if s.emotion],
        "base_captions": [_caption(s, seed) for s in train],
        "base_text": _base_text(len(train), seed),
    }
    for name, records in files.items():
        write_json(out_dir / f"{name}.json", records)
    write_json(out_dir / "identities.json", _truth([*train, *test]))
    return {name: len(records) for name, records in files.items()}


def _au_text(sample: Sample, seed: int) -> str:
    return au_answer(sample.units, _rng(seed, sample.split, 3, sample.index))


def _emotion_text(sample: Sample, seed: int) -> str:
    if sample.emotion is None:
        raise ValueError(f"{sample.image} shows a free combination of action units: it has no emotion to write about")
    return emotion_answer(sample.emotion, sample.units, _rng(seed, sample.split, 4, sample.index))


def _training(sample: Sample, task: str, answer: str) -> Record:
    question = AU_QUESTION if task == "au" else EMOTION_QUESTION
    return {
        "source": "llava-faba demo",
        "image": sample.image,
        "id": _identifier(sample, task),
        "conversations": _conversation(f"{question}\n<image>", answer),
    }


def _evaluation(sample: Sample, task: str, label: str | None, text: str) -> Record:
    return {"id": _identifier(sample, task), "image": sample.image, "label": label, "gpt4": text}


def _identifier(sample: Sample, task: str) -> str:
    return f"demo-{sample.split}-{task}-{sample.index:06d}"


def _caption(sample: Sample, seed: int) -> Record:
    rng = _rng(seed, sample.split, 5, sample.index)
    prompt = caption_prompt(rng)
    text = caption(sample.face.identity.portrait, sample.face.capture, rng)
    return {
        "id": _identifier(sample, "caption"),
        "image": sample.image,
        "conversations": _conversation(f"{prompt}\n<image>", text),
    }


def _base_text(n_train: int, seed: int) -> list[Record]:
    pairs = glossary(min(2000, max(120, n_train // 2)), seed)
    return [
        {"id": f"demo-text-{i:06d}", "conversations": _conversation(question, answer)}
        for i, (question, answer) in enumerate(pairs, start=1)
    ]


def _conversation(human: str, gpt: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]


def _truth(samples: list[Sample]) -> Record:
    identities = {s.face.identity.name: s.face.identity.as_record() for s in samples}
    images = {
        s.image: {
            "identity": s.face.identity.name,
            "emotion": s.emotion,
            "units": {str(unit): amount for unit, amount in s.face.units.items()},
            "tilt": round(s.face.capture.tilt, 2),
        }
        for s in samples
    }
    return {"identities": identities, "images": images}


def _credits() -> list[Record]:
    keys = ("name", "person", "package", "credit", "licence")
    return [{key: getattr(source, key) for key in keys} for source in SOURCES]


def _versions() -> dict[str, str]:
    found = {}
    for name in ("numpy", "scipy", "pillow", "scikit-image", "matplotlib"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


__all__ = ["DataFolderMismatch", "DemoData", "Sample", "build", "people", "plan"]
