"""The three networks, by LiteRT (one picture at a time, on the CPU) or in torch (batches, on any device)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.packages import install_command

Network = Callable[[np.ndarray], list[np.ndarray]]


class LiteRTNetwork:
    """One network in LiteRT: float32 input without the batch's axis in, its outputs out. Thread-safe, one at a time."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [one["index"] for one in self._interpreter.get_output_details()]
        self._lock = threading.Lock()

    def __call__(self, values: np.ndarray) -> list[np.ndarray]:
        with self._lock:
            self._interpreter.set_tensor(self._input, values[None].astype(np.float32))
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(one) for one in self._outputs]  # copies


def litert_networks(expert: str, contents: Mapping[str, bytes]) -> dict[str, Network]:
    """The networks by name. Raises ExpertError when LiteRT is not installed."""
    require_litert(expert)
    return {name: LiteRTNetwork(content) for name, content in contents.items()}


def torch_networks(expert: str, contents: Mapping[str, bytes], device: Any) -> dict[str, Any]:
    """The networks by name as torch modules on ``device``: (n, ...) in, lists of outputs (n, ...) out."""
    require_litert(expert)  # it brings the reader of the file's format
    from llava_faba.experts.face_landmarker.litert_graph import LiteRTGraph

    return {name: LiteRTGraph(content).eval().to(device) for name, content in contents.items()}


def require_litert(expert: str) -> None:
    """Raises ExpertError when ai-edge-litert does not import."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise ExpertError(
            f"facial prior expert '{expert}' needs ai-edge-litert, which does not import here ({error}): "
            f"{install_command('mediapipe')}"
        ) from error
