"""Small and real networks for the experts' tests: FAN weights and ONNX graphs with answers that make sense.

A network with random weights has its maxima anywhere, and a pixel's difference moves them across the image. These
look for points of a face that they were shown, so they answer alike for alike pictures, as trained ones do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_alignment.models import FAN, ResNetDepth
from PIL import Image

from llava_faba.experts import Picture
from llava_faba.experts.dlib68 import Dlib68Expert
from llava_faba.experts.fan import crop_whole

_CANDIDATES = 600


def portraits() -> dict[str, Image.Image]:
    """Photographs in the public domain that packages ship: the astronaut cut square, Grace Hopper as she is."""
    import matplotlib
    import skimage

    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    hopper = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    return {
        "astronaut": astronaut,
        "astronaut-crop": astronaut.crop((130, 10, 330, 260)),
        "hopper": hopper,
        "hopper-wide": hopper.crop((0, 60, 512, 420)),
    }


def smooth_fan(stages: int = 1, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a FAN whose blocks pass their input on and whose last layer was fitted to points on ``portraits``."""
    torch.manual_seed(seed)
    network = FAN(stages).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("conv1.weight", "conv2.weight", "conv3.weight")) and name.count(".") > 1:
                parameter.zero_()
        window = torch.outer(*[torch.hann_window(9, periodic=False)[1:-1]] * 2)
        network.conv1.weight.mul_(window)
        _fit_last_layer(network, stages - 1)
    return network.state_dict()


def _fit_last_layer(network: Any, stage: int) -> None:
    """Ridge regression from the last features to spots between pairs of dlib's points, in full size and smaller.

    Of many such points the 68 that stand out most are taken: those that can be told from the rest of the picture.
    """
    features: list[torch.Tensor] = []
    last = getattr(network, f"l{stage}")
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    random = np.random.default_rng(0)
    first, second = random.integers(0, 68, (2, _CANDIDATES))
    between = random.uniform(0, 1, (_CANDIDATES, 1))
    dlib, grid = Dlib68Expert(), np.arange(64) + 0.5
    targets, far = [], []
    for image in portraits().values():
        points = dlib.locate([np.asarray(image)])[0].points
        points = points[first] * between + points[second] * (1 - between)
        for size in (1.0, 0.6):
            scaled = image.resize((round(image.width * size), round(image.height * size)))
            crop = crop_whole(Picture.whole(np.asarray(scaled)))
            network(torch.from_numpy(crop.pixels.transpose(2, 0, 1).copy())[None].float() / 255)
            places = (((points * size - crop.center) / crop.span + 0.5) * 64)[..., None, None]
            distance = (grid[None, None, :] - places[:, 0]) ** 2 + (grid[None, :, None] - places[:, 1]) ** 2
            targets.append(np.exp(-distance / 18).reshape(_CANDIDATES, -1))
            far.append((distance > 4).reshape(_CANDIDATES, -1))
    hook.remove()
    seen = torch.cat([one[0].reshape(256, -1) for one in features], dim=1).double()
    wanted = torch.from_numpy(np.concatenate(targets, axis=1))
    squared = seen @ seen.T
    weights = torch.linalg.solve(squared + 1e-3 * squared.diagonal().mean() * torch.eye(256), seen @ wanted.T).T
    maps = (weights @ seen).numpy().reshape(_CANDIDATES, len(far), -1)
    elsewhere = np.stack(far, axis=1)
    margin = np.where(elsewhere, -np.inf, maps).max(-1) - np.where(elsewhere, maps, -np.inf).max(-1)
    best = np.argsort(-margin.min(axis=1))[:68].copy()
    last.weight.copy_(weights[best].float()[..., None, None])
    last.bias.zero_()


def depth_weights(seed: int = 0) -> dict[str, Any]:
    """Weights of the depth network, packed as the package's file packs them."""
    torch.manual_seed(seed)
    network = ResNetDepth()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.mul_(0.1)  # 36 unnormalised residual blocks would otherwise explode
    return {"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}


def write_landmark_graph(
    path: Path,
    *,
    batch: int | str = "None",
    side: int = 192,
    numbers: int = 212,
    normalizes: bool = False,
    one_row: bool = False,
) -> Path:
    """An ONNX file of 2d106det.onnx's signature: averages over 12 x 12 pixels, then a linear layer.

    Its points depend on the picture: swapped colours, or a shift by a fiftieth of the picture, move some of them by
    more than 0.03 of their spread.

    ``normalizes``: with nodes _minusscalar0 and _mulscalar0 in front, as in InsightFace's file. ``one_row``: with a
    reshape to one row at the end, whatever the batch.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    random = np.random.default_rng(0)
    cells = 3 * (side // 12) ** 2
    weights = {
        "w": random.normal(0, 8 / cells, (cells, numbers)).astype(np.float32),
        "b": random.uniform(-0.5, 0.5, numbers).astype(np.float32),
        "mean": np.array(127.5, np.float32),
        "factor": np.array(1 / 128, np.float32),
        "rows": np.array([1 if one_row else -1, numbers], np.int64),
    }
    nodes, source = [], "data"
    if normalizes:
        nodes += [
            helper.make_node("Sub", ["data", "mean"], ["centred"], name="_minusscalar0"),
            helper.make_node("Mul", ["centred", "factor"], ["scaled"], name="_mulscalar0"),
        ]
        source = "scaled"
    nodes += [
        helper.make_node("AveragePool", [source], ["cells"], name="pool", kernel_shape=[12, 12], strides=[12, 12]),
        helper.make_node("Flatten", ["cells"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["line"], name="fc1_gemm"),
        helper.make_node("Reshape", ["line", "rows"], ["fc1"], name="fc1_shape"),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "landmarks",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1 if one_row else batch, numbers])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
    return path
