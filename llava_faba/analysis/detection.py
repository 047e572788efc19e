"""Frames to crops on disk. A journal says what is done; after kill -9 the same call resumes where it stopped.

``WORK/pictures.jsonl`` has a line for each picture, ``WORK/video-DIGEST.jsonl`` one for each frame of a video, then
one that says that its end was reached. Lines are keyed by the content of the file and by what a crop depends on, so a
picture that changed under its name is looked at again. Crops are named by the same key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.appending import end_last_line
from faba_bench.files.arrays import read_array
from faba_bench.files.atomic import replacing
from faba_bench.files.digests import sha256_file, sha256_json
from faba_bench.files.jsonfiles import iter_json_lines
from faba_bench.files.oserrors import naming

from llava_faba.analysis import video
from llava_faba.analysis.finding import Face, Finder
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.analysis.sources import Source
from llava_faba.analysis.tracking import Tracker
from llava_faba.errors import UserError
from llava_faba.images import open_image

CROPS = "crops"
POINTS = "points"


@dataclass
class FoundRow:
    """One face: ``crop`` is None where it was not asked about (too small). ``points``: landmarks, of videos and for
    overlays only."""

    box: tuple[float, float, float, float]
    confidence: float
    pose: tuple[float, float, float] | None
    crop: str | None
    face: int
    points: list[list[float]] | None = None


@dataclass
class FrameRow:
    """One picture or frame. ``status``: "found", "not_found" or "unreadable" (``error`` says why)."""

    source: str
    frame: int | None
    time: float | None
    size: tuple[int, int] | None
    status: str
    faces: list[FoundRow] = field(default_factory=list)
    error: str | None = None


class Detector:
    """Finds and cuts out faces of source after source; ``work``: the folder of the journals."""

    def __init__(self, work: Path, settings: AnalyzeSettings) -> None:
        self.work, self.settings = work, settings
        self.finder = Finder(settings)
        expert = self.finder.expert
        self._parts = {**settings.detection_parts(), "finder": expert.name, "version": expert.version}
        self._parts["finder_settings"] = expert.settings
        self._pictures = self._known_pictures()

    def __call__(self, source: Source) -> Iterator[FrameRow]:
        """The frames of one source, from the journal where they are in it."""
        try:
            digest = sha256_file(source.path)
        except OSError as error:
            yield FrameRow(source.name, None, None, None, "unreadable", error=error.strerror or str(error))
            return
        if source.is_video:
            yield from self._video(source, digest)
        else:
            yield self._picture(source, digest)

    def _picture(self, source: Source, digest: str) -> FrameRow:
        key = sha256_json([digest, self._parts])[:32]
        row = self._pictures.get(key)
        if row is None or (self.settings.overlay and any(face.points is None for face in row.faces)):
            try:
                image = open_image(source.path, upright=True)
            except UserError as error:
                return FrameRow(source.name, None, None, None, "unreadable", error=str(error))
            row = self._look(source.name, None, None, image, key)
            self._append(self.work / "pictures.jsonl", key, row)
            self._pictures[key] = row
        return FrameRow(**{**vars(row), "source": source.name})

    def _video(self, source: Source, digest: str) -> Iterator[FrameRow]:
        every = self.settings.every
        key = sha256_json([digest, self._parts, every])[:32]
        journal = self.work / f"video-{key}.jsonl"
        known, ended, error = _read(journal, key)
        rows = {row.frame: row for row in known if self._has_crops(row)}
        tracker = Tracker()
        if ended and len(rows) == len(known):
            for row in known:
                yield FrameRow(**{**vars(row), "source": source.name})
            if error:
                yield FrameRow(source.name, None, None, None, "unreadable", error=error)
            return
        error = None
        try:
            for frame in video.frames(source.path, every):
                known_row = rows.get(frame.number)
                if known_row is None:
                    row = self._look(source.name, frame.number, frame.time, frame.image, f"{key}-{frame.number}")
                    numbers = tracker([face.box for face in row.faces], frame.time)
                    for face, number in zip(row.faces, numbers, strict=True):
                        face.face = number
                    self._append(journal, key, row)
                else:
                    row = known_row
                    tracker.restore([face.box for face in row.faces], [face.face for face in row.faces], frame.time)
                yield FrameRow(**{**vars(row), "source": source.name})
        except UserError as reason:
            error = str(reason)
            yield FrameRow(source.name, None, None, None, "unreadable", error=error)
        self._append(journal, key, None, error)

    def _look(self, source: str, number: int | None, time: float | None, image: Any, key: str) -> FrameRow:
        faces = self.finder(image)
        rows = [
            self._cut(image, face, at, key, keep_points=number is not None or self.settings.overlay)
            for at, face in enumerate(faces)
        ]
        return FrameRow(source, number, time, image.size, "found" if rows else "not_found", rows)

    def _cut(self, image: Any, face: Face, at: int, key: str, *, keep_points: bool) -> FoundRow:
        name = None
        if min(face.box[2:]) >= self.settings.smallest:
            name = f"{key}-{at}.png"
            with replacing(self.work / CROPS / name) as partial:
                face.crop(image, self.settings.size).save(partial, format="PNG", compress_level=1)
            save_points(self.work, name, face.points)
        points = face.points.round(2).tolist() if keep_points else None
        box = tuple(round(edge, 1) for edge in face.box)
        return FoundRow(box, round(face.confidence, 4), face.pose, name, at, points)  # type: ignore[arg-type]

    def _has_crops(self, row: FrameRow) -> bool:
        return all(face.crop is None or (self.work / CROPS / face.crop).is_file() for face in row.faces)

    def _known_pictures(self) -> dict[str, FrameRow]:
        path = self.work / "pictures.jsonl"
        if not path.exists():
            return {}
        end_last_line(path)
        return {key: row for key, row, _ in _lines(path) if row is not None and self._has_crops(row)}

    def _append(self, path: Path, key: str, row: FrameRow | None, error: str | None = None) -> None:
        line = json.dumps({"key": key, "row": None if row is None else asdict(row), "error": error}) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path), path.open("ab") as stream:
            stream.write(line.encode("utf-8", "backslashreplace"))
            stream.flush()
            os.fsync(stream.fileno())


def save_points(work: Path, crop: str, points: Any) -> None:
    """Keep a face's landmarks on disk for the page: those of 20,000 pictures do not belong into memory."""
    with replacing(work / POINTS / f"{crop}.npy") as partial, partial.open("wb") as stream:
        np.save(stream, np.asarray(points, dtype=np.float32)[:, :2], allow_pickle=False)


def load_points(work: Path, crop: str) -> np.ndarray | None:
    """Landmarks (points, 2) of a crop in pixels of its picture; None where an earlier version kept none, or the file
    is damaged."""
    try:
        points = read_array(work / POINTS / f"{crop}.npy", limit=1 << 20, error=UserError)
    except UserError:
        return None
    return points if points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all() else None


def _read(path: Path, key: str) -> tuple[list[FrameRow], bool, str | None]:
    """The rows of a video's journal, whether its end was reached, and what was wrong there."""
    if not path.exists():
        return [], False, None
    end_last_line(path)
    rows, ended, error = [], False, None
    for found, row, reason in _lines(path):
        if found == key and row is not None:
            rows.append(row)
        elif found == key:
            ended, error = True, reason
    return rows, ended, error


def _lines(path: Path) -> Iterator[tuple[str, FrameRow | None, str | None]]:
    """(key, row or None for an end, error) of each line; what a crash cut short is passed over, and done again."""
    broken: list[str] = []
    for _, value in iter_json_lines(path, problems=broken):
        try:
            row = value["row"]
            if row is not None:
                row["faces"] = [FoundRow(**face) for face in row["faces"]]
                row = FrameRow(**row)
            yield str(value["key"]), row, value["error"]
        except (KeyError, TypeError):
            continue
