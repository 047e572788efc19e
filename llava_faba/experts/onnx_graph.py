"""The names of an ONNX file's first nodes, read from the file itself: onnxruntime does not tell, and the onnx
package is a heavy thing to install for eight names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llava_faba.errors import ExpertError

# Field numbers in onnx.proto
_MODEL_GRAPH, _GRAPH_NODE, _NODE_NAME = 7, 1, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def first_node_names(path: Path, count: int = 8) -> list[str]:
    """The names of the first ``count`` nodes. Raises ExpertError when the file is not an ONNX model."""
    names: list[str] = []
    try:
        for graph in _fields(path.read_bytes(), _MODEL_GRAPH):
            for node in _fields(graph, _GRAPH_NODE):
                names.append(b"".join(_fields(node, _NODE_NAME)).decode())
                if len(names) == count:
                    return names
    except (IndexError, ValueError) as error:
        raise ExpertError(f"{path} is not an ONNX model: {error}") from error
    return names


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The length-delimited fields of a protobuf message that have the number ``wanted``."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("it ends in the middle of a field")
            if key >> 3 == wanted:
                yield message[position : position + length]
            position += length
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
