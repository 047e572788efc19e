"""Pictures and clips to faces, and answers to what strict mode reads in them: the path of ``analyze``."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faba_bench.protocol import load_protocol
from faba_bench.questions import QUESTIONS
from faba_bench.strict.au import read_aus
from faba_bench.strict.emotion import read_emotion
from faba_bench.thoughts import strip_thoughts

from llava_faba.analysis import video
from llava_faba.analysis.finding import Face, Finder
from llava_faba.analysis.report import jpeg_uri
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.analysis.tracking import Tracker
from llava_faba.app.asking import Asker, OnText
from llava_faba.errors import UserError
from llava_faba.images import decoded, upright_of
from llava_faba.records.vocabulary import AU_NAMES

MOST_PICTURES = 32
"""Pictures that are kept in memory; the oldest goes."""
MOST_FRAMES = 120
"""Frames of a clip that are read."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """An upright RGB PIL image and its faces."""

    image: Any
    faces: list[Face]


class Reader:
    """Faces of what was uploaded, and what the models say of them. ``askers``: by the name that the page calls them
    by."""

    def __init__(self, askers: dict[str, Asker], settings: AnalyzeSettings) -> None:
        self.askers, self.settings = askers, settings
        self._rules = load_protocol(settings.protocol)
        self._finder = Finder(settings)
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def about(self) -> Json:
        """What the page has to know: models, tasks, AUs with their FACS names, classes."""
        aus = self._rules.au.vocabulary if self._rules.au else ()
        return {
            "models": {key: asker.name for key, asker in self.askers.items()},
            "tasks": [task for task in self.settings.tasks if task in self._rules.tasks],
            "aus": {f"AU{number}": AU_NAMES.get(number, "") for number in aus},
            "emotions": list(self._rules.emotion.classes) if self._rules.emotion else [],
            "finder": self._finder.expert.name,
            "most_frames": MOST_FRAMES,
        }

    def add(self, data: bytes) -> Json:
        """A picture's id, size and faces. Raises UserError for what is no picture."""
        image = upright_of(decoded(data, "the picture")).convert("RGB")
        with self._lock:
            faces = self._finder(image)
            key = secrets.token_urlsafe(12)
            self._pictures[key] = Picture(image, faces)
            while len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)
        return {"id": key, "width": image.width, "height": image.height, "faces": [_place(f) for f in faces]}

    def forget(self, key: str | None = None) -> None:
        """Drop one picture, or all."""
        with self._lock:
            if key is None:
                self._pictures.clear()
            else:
                self._pictures.pop(key, None)

    def crop_of(self, key: str, face: int) -> Any:
        """The aligned crop of a face. Raises UserError when it is not (or no longer) here."""
        with self._lock:
            picture = self._pictures.get(key)
        if picture is None or not 0 <= face < len(picture.faces):
            raise UserError("this picture is no longer here: drop it again.")
        return picture.faces[face].crop(picture.image, self.settings.size)

    def answer(self, crop: Any, task: str, model: str, on_text: OnText) -> Json:
        """What a model says of a crop: text, prior's status, and what is read in it. Raises UserError."""
        if task not in self.about()["tasks"] or model not in self.askers:
            raise UserError(f"there is no task '{task}' or model '{model}'.")
        text, status = self.askers[model].ask(crop, QUESTIONS[task], on_text)
        return {"text": text, "prior": status, "task": task, "model": model, **self._read(task, text)}

    def _read(self, task: str, text: str) -> Json:
        said = strip_thoughts(text).text
        if task == "au" and self._rules.au is not None:
            found = read_aus(said, frozenset(self._rules.au.vocabulary))
            return {"aus": [f"AU{number}" for number in sorted(found.value)] if found.parsed else None}
        assert self._rules.emotion is not None
        return {"emotion": read_emotion(said, self._rules.emotion.classes).value}

    def clip(self, path: Path, every: float, model: str, stopped: Callable[[], bool]) -> Iterator[Json]:
        """One object for each frame and face of a clip, in the order of time. Raises UserError."""
        tracker = Tracker()
        for count, frame in enumerate(video.frames(path, every)):
            if count == MOST_FRAMES or stopped():
                yield {"end": f"the first {count} frames were read" if count == MOST_FRAMES else "stopped"}
                return
            with self._lock:
                faces = self._finder(frame.image)
            numbers = tracker([face.box for face in faces], frame.time)
            picture = _thumbnail(frame.image)
            if not faces:
                yield {"time": frame.time, "picture": picture, "face": None}
            for face, number in zip(faces, numbers, strict=True):
                crop = face.crop(frame.image, self.settings.size)
                row: Json = {"time": frame.time, "picture": picture, **_place(face), "face": number}
                for task in self.about()["tasks"]:
                    if stopped():
                        break
                    row |= {f"{task}_{key}": value for key, value in self.answer(crop, task, model, _nothing).items()}
                yield row


def _nothing(_: str) -> None:
    return None


def _place(face: Face) -> Json:
    x, y, width, height = (round(float(edge), 1) for edge in face.box)
    points = [[round(float(p[0]), 1), round(float(p[1]), 1)] for p in face.points]
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "confidence": round(float(face.confidence), 3),
        "points": points,
    }


def _thumbnail(image: Any) -> str:
    small = image.copy()
    small.thumbnail((240, 240))
    return jpeg_uri(small)
