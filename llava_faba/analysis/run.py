"""All of an analysis, in order: find and cut out faces, ask about them, write the table and the page."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import write_json
from faba_bench.files.digests import sha256_json
from faba_bench.files.locks import exclusive

from llava_faba.analysis.answers import answer_crops
from llava_faba.analysis.detection import Detector, FoundRow, FrameRow
from llava_faba.analysis.overlay import write_overlays
from llava_faba.analysis.peaks import distances
from llava_faba.analysis.report import write_report
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.analysis.sources import find_sources
from llava_faba.analysis.table import FORMATS, Row, data_frame, row_of, write_rows
from llava_faba.errors import UserError, nearest
from llava_faba.inference.generate import GenerateSettings

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Analysis:
    """``rows``: one a face and frame, see ``llava_faba.analysis.table``; ``files``: what was written; ``counts``:
    frames and faces by status; ``warnings``: what a reader of the table has to know."""

    rows: list[Row]
    files: list[Path]
    counts: dict[str, int]
    protocol: str
    warnings: list[str] = field(default_factory=list)

    @property
    def faces(self) -> Any:
        """The rows as a pandas DataFrame. Raises UserError without pandas."""
        return data_frame(self.rows, self.protocol)


def analyze(
    sources: str | Path | Iterable[str | Path],
    model: str | Path,
    *,
    out: str | Path | None = None,
    model_base: str | None = None,
    settings: AnalyzeSettings | None = None,
    generate: GenerateSettings | None = None,
    formats: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Analysis:
    """Read every face in pictures and videos.

    ``sources``: files, folders and videos. ``model``: a checkpoint folder or hub id. ``out``: where ``faces.csv``,
    ``faces.parquet`` (with pandas and pyarrow) and ``report.html`` go, and ``work/``, by which the same call goes on
    after an interruption; None takes a temporary folder. ``formats``: "openface", "py-feat". ``progress``: called with
    (what, done, total).

    A picture without a face has one row with the status "not_found", a file that cannot be read one with "unreadable".
    Raises UserError when nothing is there to read, no expert that finds faces works, another analysis writes to
    ``out``, or the model cannot be used.
    """
    settings, generate = settings or AnalyzeSettings(), generate or GenerateSettings()
    unknown = [one for one in formats if one not in FORMATS]
    if unknown:
        raise UserError(
            f"no format is called '{unknown[0]}'.{nearest(unknown[0], FORMATS)} Known: {', '.join(FORMATS)}."
        )
    found = find_sources([sources] if isinstance(sources, str | Path) else sources)
    folder = Path(tempfile.mkdtemp(prefix="llava-faba-")) if out is None else Path(out)
    work = folder / "work"
    with exclusive(work / ".lock", f"an analysis into {folder}", error=UserError):
        detector = Detector(work, settings)
        frames: list[FrameRow] = []
        for number, source in enumerate(found, 1):
            frames += detector(source)
            if progress:
                progress("faces", number, len(found))
        peaks = _peaks(frames) if settings.peak else None
        crops = list(
            dict.fromkeys(
                face.crop
                for frame in frames
                for face in frame.faces
                if face.crop and (peaks is None or frame.frame is None or face.crop in peaks)
            )
        )
        answers = (
            answer_crops(
                crops,
                work,
                str(model),
                model_base,
                generate,
                settings.tasks,
                settings.protocol,
                overwrite=overwrite,
                progress=(lambda done, total: progress("answers", done, total)) if progress else None,
            )
            if crops
            else {}
        )
        decides = {name: value for name, value in vars(settings).items() if name != "overlay"}
        run = {"model": str(model), "settings": sha256_json([decides, generate.key_parts()])[:12]}
        rows = []
        for frame in frames:
            faces: list[FoundRow | None] = [*frame.faces] or [None]
            for face in faces:
                answer = answers.get(face.crop) if face is not None and face.crop else None
                row = row_of(frame, face, answer, settings.protocol, run)
                if peaks is not None and face is not None and face.crop in peaks:
                    row |= {"peak": 1, "peak_distance": peaks[face.crop]}
                rows.append(row)
        counts = dict(Counter(row["status"] for row in rows))
        warnings = _warnings(rows)
        files, missing = write_rows(rows, folder, settings.protocol, formats)
        warnings += missing
        if settings.overlay:
            drawn, problems = write_overlays(found, frames, rows, folder)
            files += drawn
            warnings += problems
        files.append(write_report(rows, folder, work, f"Faces read by {Path(model).name}", warnings))
        write_json(
            folder / "analysis.json",
            {
                "sources": len(found),
                "rows": len(rows),
                "counts": counts,
                "model": str(model),
                "finder": detector.finder.expert.name,
                "settings": {**vars(settings), "generate": generate.key_parts()},
                "fingerprint": run["settings"],
                "warnings": warnings,
            },
        )
    return Analysis(rows, files, counts, settings.protocol, warnings)


def _peaks(frames: Sequence[FrameRow]) -> dict[str, float]:
    """The crop of each track's strongest expression, and how far it is from the track's neutral face."""
    tracks: dict[tuple[str, int], list[tuple[str, Any]]] = {}
    for frame in frames:
        for face in frame.faces:
            if frame.frame is not None and face.crop and face.points:
                tracks.setdefault((frame.source, face.face), []).append((face.crop, face.points))
    found = {}
    for track in tracks.values():
        away = distances(np.array([points for _, points in track]))
        best = int(np.argmax(away))
        found[track[best][0]] = round(float(away[best]), 5)
    return found


def _warnings(rows: Sequence[Row]) -> list[str]:
    """What a reader of the table must know: answers that were cut, could not be read, or rest on no prior."""
    asked = [row for row in rows if row["au_text"] or row["emotion_text"]]
    kinds = {
        "answers were cut by the token limit (raise --max-new-tokens)": sum(1 for row in asked if row["cut"]),
        "faces have an answer that names nothing": sum(1 for row in asked if row["unparsed"]),
        "faces were read without a facial prior: the model's expert found none in the crop": sum(
            1 for row in asked if row["prior_status"] == "not_found"
        ),
        "faces have no answer, see the column error": sum(1 for row in rows if row["crop"] and row["error"]),
        "files or parts of them could not be read": sum(1 for row in rows if row["status"] == "unreadable"),
    }
    return [f"{count} {what}" for what, count in kinds.items() if count]
