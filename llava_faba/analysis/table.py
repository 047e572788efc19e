"""One row a face (and frame): the columns, and the files that scripts for other tools read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.atomic import replacing
from faba_bench.protocol import load_protocol

from llava_faba.analysis.answers import FaceAnswers
from llava_faba.analysis.detection import FoundRow, FrameRow
from llava_faba.errors import UserError
from llava_faba.packages import install_command

FORMATS = ("openface", "py-feat")
Row = dict[str, Any]

_PLACE = ("source", "frame", "time", "face", "x", "y", "width", "height", "confidence", "pitch", "yaw", "roll")
_SAID = ("au_text", "emotion_text", "unparsed", "cut", "peak", "peak_distance", "crop", "error", "model", "settings")
# py-feat's emotions, and ours.
_FEAT_EMOTIONS = {
    "anger": "Anger",
    "disgust": "Disgust",
    "fear": "Fear",
    "happiness": "Happiness",
    "sadness": "Sadness",
    "surprise": "Surprise",
    "neutral": "Neutral",
}


def columns(protocol: str) -> list[str]:
    """The table's columns for a protocol's AUs, in their order."""
    aus = [f"AU{number}" for number in _aus(protocol)]
    return [*_PLACE, "status", "prior_status", "emotion", *aus, *_SAID, *_counts(), *_confidences(protocol)]


def _counts() -> list[str]:
    return ["au_samples", "emotion_samples"]


def _confidences(protocol: str) -> list[str]:
    aus = [f"AU{number}" for number in _aus(protocol)]
    likelihoods = [f"{label}_likelihood" for label in (*_classes(protocol), *aus)]
    return ["emotion_confidence", *(f"{name}_confidence" for name in aus), *likelihoods]


def row_of(
    frame: FrameRow,
    face: FoundRow | None,
    answers: FaceAnswers | None,
    protocol: str,
    run: Mapping[str, str],
) -> Row:
    """One row; what is not known is None. ``status``: "found", "too_small" (not asked), "not_found", "unreadable"."""
    row: Row = dict.fromkeys(columns(protocol))
    row |= {"source": frame.source, "frame": frame.frame, "time": frame.time, "status": frame.status, **run}
    row["error"] = frame.error
    if face is None:
        return row
    row |= {"face": face.face, "confidence": face.confidence, "crop": face.crop}
    row |= dict(zip(("x", "y", "width", "height"), face.box, strict=True))
    if face.pose is not None:
        row |= dict(zip(("pitch", "yaw", "roll"), face.pose, strict=True))
    if face.crop is None:
        row["status"] = "too_small"
    if answers is None:
        return row
    row |= {"prior_status": answers.prior_status, "emotion": answers.emotion}
    row |= {"au_text": answers.texts.get("au"), "emotion_text": answers.texts.get("emotion")}
    if answers.aus is not None:
        row |= {f"AU{number}": int(number in answers.aus) for number in _aus(protocol)}
    sure = answers.confidence
    row |= {f"{task}_samples": count for task, count in sure.samples.items()} | {"emotion_confidence": sure.emotion}
    row |= {f"AU{number}_confidence": round(share, 4) for number, share in sure.aus.items()}
    row |= {f"{label}_likelihood": value for label, value in sure.likelihoods.items()}
    said = {"au": answers.aus, "emotion": answers.emotion}
    row["unparsed"] = " ".join(task for task in answers.texts if said[task] is None) or None
    row["cut"] = " ".join(answers.cut) or None
    row["error"] = "; ".join(f"{task}: {why}" for task, why in answers.errors.items()) or None
    return row


def write_csv(rows: Iterable[Row], path: Path, names: Sequence[str]) -> None:
    """``rows`` as CSV (UTF-8, empty where not known), whole or not at all."""
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(rows: Sequence[Row], path: Path, protocol: str) -> None:
    """``rows`` as Parquet. Raises UserError where pandas or pyarrow does not import."""
    frame = data_frame(rows, protocol)
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Parquet needs pyarrow, which does not import here ({error}): {install_command('analyze')}"
        ) from error
    with replacing(path) as partial:
        frame.to_parquet(partial, index=False)


def data_frame(rows: Sequence[Row], protocol: str) -> Any:
    """``rows`` as a pandas DataFrame with types that know missing values. Raises UserError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            f"a DataFrame needs pandas, which does not import here ({error}): {install_command('analyze')}"
        ) from error
    frame = pandas.DataFrame(list(rows), columns=columns(protocol))
    whole = ["frame", "face", "peak", *_counts(), *(f"AU{number}" for number in _aus(protocol))]
    real = ["time", "x", "y", "width", "height", "confidence", "pitch", "yaw", "roll", "peak_distance"]
    real += _confidences(protocol)
    types = dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64")
    text = [name for name in frame.columns if name not in types]
    return frame.astype(types | dict.fromkeys(text, "string"))


def write_openface(rows: Iterable[Row], folder: Path, protocol: str) -> list[Path]:
    """One CSV a source with OpenFace 2's column names: frames count from 1, ``AU01_c`` is presence; the regression
    columns ``_r`` are not there, since no intensity was asked for."""
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        found = row["status"] == "found"
        line = {
            "frame": (row["frame"] or 0) + 1,
            "face_id": row["face"] or 0,
            "timestamp": row["time"] or 0.0,
            "confidence": row["confidence"] if found else 0.0,
            "success": int(found),
        }
        line |= {f"AU{number:02d}_c": row[f"AU{number}"] for number in _aus(protocol)}
        by_source.setdefault(row["source"], []).append(line)
    names = [
        "frame",
        "face_id",
        "timestamp",
        "confidence",
        "success",
        *(f"AU{number:02d}_c" for number in _aus(protocol)),
    ]
    made: list[Path] = []
    for source, lines in by_source.items():
        path = folder / f"{Path(source).stem[:150]}.csv"
        number = 1
        while path in made:
            number += 1
            path = folder / f"{Path(source).stem[:150]}-{number}.csv"
        write_csv(lines, path, names)
        made.append(path)
    return made


def write_feat(rows: Iterable[Row], path: Path, protocol: str) -> None:
    """One CSV with the columns of py-feat's ``Fex``: boxes, pose, ``AU01`` and emotions as 0 or 1."""
    lines = []
    for row in rows:
        line = {
            "FaceRectX": row["x"],
            "FaceRectY": row["y"],
            "FaceRectWidth": row["width"],
            "FaceRectHeight": row["height"],
            "FaceScore": row["confidence"],
            "Pitch": row["pitch"],
            "Roll": row["roll"],
            "Yaw": row["yaw"],
            "input": row["source"],
            "frame": row["frame"] or 0,
            "approx_time": row["time"],
        }
        line |= {f"AU{number:02d}": row[f"AU{number}"] for number in _aus(protocol)}
        known = row["emotion"] is not None
        line |= {name: int(row["emotion"] == ours) if known else None for name, ours in _FEAT_EMOTIONS.items()}
        lines.append(line)
    names = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "Pitch", "Roll", "Yaw"]
    names += [*(f"AU{number:02d}" for number in _aus(protocol)), *_FEAT_EMOTIONS, "input", "frame", "approx_time"]
    write_csv(lines, path, names)


def write_rows(rows: Sequence[Row], out: Path, protocol: str, formats: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Write ``faces.csv``, ``faces.parquet`` and the other formats that were asked for.

    Returns the files, and why there is no Parquet file where there is none.
    """
    write_csv(rows, out / "faces.csv", columns(protocol))
    made, missing = [out / "faces.csv"], []
    try:
        write_parquet(rows, out / "faces.parquet", protocol)
        made.append(out / "faces.parquet")
    except UserError as error:
        missing.append(f"faces.parquet was not written: {error}")
        (out / "faces.parquet").unlink(missing_ok=True)  # an earlier call's would be of other rows
    if "openface" in formats:
        made += write_openface(rows, out / "openface", protocol)
    if "py-feat" in formats:
        write_feat(rows, out / "faces.feat.csv", protocol)
        made.append(out / "faces.feat.csv")
    return made, missing


def _classes(protocol: str) -> tuple[str, ...]:
    rules = load_protocol(protocol).emotion
    return rules.classes if rules else ()


def _aus(protocol: str) -> tuple[int, ...]:
    rules = load_protocol(protocol).au
    return rules.vocabulary if rules else ()
