"""A LiteRT network as a torch module: batched, on any device, differing from LiteRT by rounding only.

Tensors keep LiteRT's layout (batch, height, width, channels), which convolutions see as torch's channels-last format.
Only what the three networks of ``face_landmarker.task`` use is known; anything else is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from llava_faba.errors import ExpertError

_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
_SAME = 0
_RELU = 1


@dataclass(frozen=True)
class _Step:
    kind: str
    inputs: tuple[int, ...]
    output: int
    options: dict[str, Any]


class LiteRTGraph(torch.nn.Module):
    """The network that ``content`` (bytes of a .tflite file) describes.

    Called with a float32 tensor (n, ...) in the shape of the network's input but for n; returns its outputs in order.
    Raises ExpertError for operations that are not known here.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(content, 0)
        graph = model.subgraphs[0]
        kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        self._input, self._outputs = int(graph.inputs[0]), [int(one) for one in graph.outputs]
        self._small: dict[int, np.ndarray] = {}
        for number, tensor in enumerate(graph.tensors):
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                self._keep(number, _array(tensor, data))
        self._steps: list[_Step] = []
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            inputs = tuple(int(one) for one in operator.inputs)
            output = int(operator.outputs[0])
            if kind == "DEQUANTIZE" and hasattr(self, f"t{inputs[0]}"):
                self._keep(output, getattr(self, f"t{inputs[0]}").numpy().astype(np.float32))
                continue
            if kind not in _OPERATIONS:
                raise ExpertError(f"face_landmarker.task: a network uses {kind}, which is not known here")
            self._steps.append(
                _Step(kind, inputs, output, dict(vars(operator.builtinOptions or object.__new__(_None))))
            )

    def _keep(self, number: int, values: np.ndarray) -> None:
        if values.dtype == np.int32:
            self._small[number] = values
        self.register_buffer(f"t{number}", torch.from_numpy(np.array(values)), persistent=False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        known: dict[int, torch.Tensor] = {self._input: images}

        def get(number: int) -> torch.Tensor:
            found = known.get(number)
            return getattr(self, f"t{number}") if found is None else found

        for step in self._steps:
            known[step.output] = _OPERATIONS[step.kind](self, step, get)
        return [known[one] for one in self._outputs]

    def whole_numbers(self, number: int) -> list[Any]:
        """A constant of whole numbers: axes, shapes, paddings."""
        return self._small[number].tolist()


class _None:
    """Stands for the options of an operation that has none."""


_Get = Callable[[int], torch.Tensor]


def _array(tensor: Any, data: Any) -> np.ndarray:
    if tensor.type not in _TYPES:
        raise ExpertError(f"face_landmarker.task: a constant of type {tensor.type}, which is not known here")
    shape = [] if tensor.shape is None else [int(edge) for edge in tensor.shape]
    return np.frombuffer(bytes(data), dtype=_TYPES[tensor.type]).reshape(shape)


def _activated(step: _Step, values: torch.Tensor) -> torch.Tensor:
    asked = step.options.get("fusedActivationFunction", 0)
    if asked not in (0, _RELU):
        raise ExpertError(f"face_landmarker.task: fused activation {asked}, which is not known here")
    return functional.relu(values) if asked == _RELU else values


def _same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _padded(step: _Step, images: torch.Tensor, window: tuple[int, int], fill: float) -> torch.Tensor:
    """Images (n, c, h, w) with the border that LiteRT's padding SAME stands for."""
    if step.options["padding"] != _SAME:
        return images
    top, bottom = _same_padding(images.shape[2], window[0], step.options["strideH"])
    left, right = _same_padding(images.shape[3], window[1], step.options["strideW"])
    return functional.pad(images, (left, right, top, bottom), value=fill) if top + bottom + left + right else images


def _convolution(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    images = get(step.inputs[0]).permute(0, 3, 1, 2)
    depthwise = step.kind == "DEPTHWISE_CONV_2D"
    weights = get(step.inputs[1])
    # LiteRT: (out, h, w, in), depthwise (1, h, w, out).
    kernel = weights.permute(3, 0, 1, 2) if depthwise else weights.permute(0, 3, 1, 2)
    images = _padded(step, images, (kernel.shape[2], kernel.shape[3]), 0.0)
    stride = (step.options["strideH"], step.options["strideW"])
    groups = images.shape[1] if depthwise else 1
    made = functional.conv2d(images, kernel, get(step.inputs[2]), stride=stride, groups=groups)
    return _activated(step, made.permute(0, 2, 3, 1))


def _max_pool(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    window = (step.options["filterHeight"], step.options["filterWidth"])
    images = _padded(step, get(step.inputs[0]).permute(0, 3, 1, 2), window, float("-inf"))
    stride = (step.options["strideH"], step.options["strideW"])
    return _activated(step, functional.max_pool2d(images, window, stride).permute(0, 2, 3, 1))


def _prelu(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    values = get(step.inputs[0])
    return torch.where(values > 0, values, values * get(step.inputs[1]))


def _pad(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    widths = [width for pair in reversed(graph.whole_numbers(step.inputs[1])) for width in pair]
    return functional.pad(get(step.inputs[0]), widths)


def _reshape(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    values = get(step.inputs[0])
    shape = graph.whole_numbers(step.inputs[1]) if len(step.inputs) > 1 else list(step.options["newShape"])
    return values.reshape(len(values), *shape[1:])


def _concatenation(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    parts = [get(one) for one in step.inputs]
    count = max(len(part) for part in parts)  # a constant part stands once for the whole batch
    return torch.cat([part.expand(count, *part.shape[1:]) for part in parts], dim=step.options["axis"])


def _reduced(function: Callable[..., torch.Tensor]) -> Callable[[LiteRTGraph, _Step, _Get], torch.Tensor]:
    def apply(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
        axes = np.atleast_1d(np.asarray(graph.whole_numbers(step.inputs[1]))).tolist()
        return function(get(step.inputs[0]), dim=axes, keepdim=step.options["keepDims"])

    return apply


def _strided_slice(graph: LiteRTGraph, step: _Step, get: _Get) -> torch.Tensor:
    values = get(step.inputs[0])
    begin, end, stride = (graph.whole_numbers(one) for one in step.inputs[1:4])
    options = step.options
    if options["ellipsisMask"] or options["newAxisMask"] or options["shrinkAxisMask"] > 1:
        raise ExpertError("face_landmarker.task: a kind of slice that is not known here")
    for axis in range(1, values.ndim):  # the first axis is the batch: all of it
        first = None if options["beginMask"] >> axis & 1 else begin[axis]
        last = None if options["endMask"] >> axis & 1 else end[axis]
        values = values[(slice(None),) * axis + (slice(first, last, stride[axis]),)]
    return values


def _of_one(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[LiteRTGraph, _Step, _Get], torch.Tensor]:
    return lambda graph, step, get: function(get(step.inputs[0]))


def _of_two(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[LiteRTGraph, _Step, _Get], torch.Tensor]:
    return lambda graph, step, get: _activated(step, function(get(step.inputs[0]), get(step.inputs[1])))


_OPERATIONS: dict[str, Callable[[LiteRTGraph, _Step, _Get], torch.Tensor]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "MAX_POOL_2D": _max_pool,
    "PRELU": _prelu,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _strided_slice,
    "MEAN": _reduced(torch.mean),
    "SUM": _reduced(torch.sum),
    "RELU": _of_one(functional.relu),
    "LOGISTIC": _of_one(torch.sigmoid),
    "SQRT": _of_one(torch.sqrt),
    "RSQRT": _of_one(torch.rsqrt),
    "NEG": _of_one(torch.neg),
    "TRANSPOSE": lambda graph, step, get: get(step.inputs[0]).permute(graph.whole_numbers(step.inputs[1])),
    "ADD": _of_two(torch.add),
    "SUB": _of_two(torch.sub),
    "MUL": _of_two(torch.mul),
    "DIV": _of_two(torch.div),
    "SQUARED_DIFFERENCE": _of_two(lambda a, b: (a - b) ** 2),
}
