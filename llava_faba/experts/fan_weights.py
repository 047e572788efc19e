"""The face-alignment package's files of weights: where they lie, and reading them without running what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import ExpertError
from llava_faba.experts.weights import WeightsFile
from llava_faba.packages import install_command

_FILES = {  # the names that the package gives its downloads
    "2DFAN-4": "2DFAN4-11f355bf06.pth.tar",
    "3DFAN-4": "3DFAN4-7835d9f11d.pth.tar",
    "depth": "depth-2a464da4ea.pth.tar",
    "sfd": "s3fd-619a316812.pth",
    "retinaface": "retinaface_mobilenet0.25.pth",
    "scrfd": "scrfd_2.5g_bnkps.onnx",
    "yunet": "face_detection_yunet_2023mar.onnx",
}
DETECTORS_OF_ONE_FILE = ("sfd", "retinaface", "scrfd", "yunet")


def package(expert: str) -> Any:
    try:
        import face_alignment.api
    except ImportError as error:
        raise ExpertError(
            f"facial prior expert '{expert}' needs the face-alignment package, which does not import here ({error}): "
            f"{install_command('face-alignment')}"
        ) from error
    return face_alignment.api


def weights_file(
    expert: str, network: str, setting: str, named: str | None, sha256: str | None, variable: str
) -> WeightsFile:
    """The named file, or the package's in torch's hub cache."""
    return WeightsFile(
        expert=expert,
        setting=setting,
        named=named,
        sha256=sha256,
        variable=variable,
        places=lambda: [hub_file(network)],
        how_to_get="Without one the package downloads it.",
    )


def hub_file(network: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[network]


def path_of(weights: WeightsFile, network: str) -> Path:
    """The file of weights, downloaded to torch's hub cache, as the package does, when it is nowhere."""
    urls = package(weights.expert).models_urls
    if weights.find() is None:
        from face_alignment.utils import load_file_from_url

        url = urls[network]
        try:
            load_file_from_url(url, check_hash=True)
        except (OSError, RuntimeError) as error:  # no network; or the hash in the file's name does not fit
            raise ExpertError(
                f"facial prior expert '{weights.expert}' has no weights, and {url} cannot be downloaded ({error}). "
                f"On a machine with a network fetch it and copy it to {hub_file(network)}, or name the file in the "
                f"setting '{weights.setting}' or in the environment variable {weights.variable}."
            ) from error
    return weights.path


def read_weights(expert: str, path: Path) -> dict[str, Any]:
    import pickle

    from llava_faba.compat.torch_versions import load_pickled

    try:
        weights = load_pickled(path, mapped=False)
    except pickle.UnpicklingError as error:
        raise ExpertError(
            f"facial prior expert '{expert}': {path} holds more than tensors, and could run code: it is not read "
            f"({str(error).splitlines()[0]}). Remove it, and the package downloads its own."
        ) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ExpertError(f"facial prior expert '{expert}': {path} is not a file of weights: {error}") from error
    if not isinstance(weights, dict):
        raise ExpertError(f"facial prior expert '{expert}': {path} holds no state dict.")
    return weights


def filled(expert: str, network: Any, weights: dict[str, Any], path: Path) -> Any:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ExpertError(
            f"facial prior expert '{expert}': {path} does not fit the package's {type(network).__name__}: "
            f"{' '.join(line.strip() for line in lines[:3])[:400]}"
        ) from error
    import torch

    return network.eval().to(memory_format=torch.channels_last)
