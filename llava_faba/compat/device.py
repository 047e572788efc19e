"""A machine without a GPU, or one whose GPUs are busy, for code that says ``.cuda()``.

LLaVA's evaluation scripts hard-code the device (``llava.eval.model_vqa``: ``.cuda()``; ``model_vqa_loader``:
``device='cuda'``). While ``on_cpu`` lasts, whatever asks for CUDA gets the CPU.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from llava_faba.compat.engine import replaced

_FACTORIES = (
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
)
_METHODS = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "to")


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """While inside, CUDA is absent and everything sent there stays on, or goes to, the CPU.

    Covered: ``cuda()`` and ``to()`` of tensors and modules, ``device=`` of torch's factories and of ``new_*``,
    ``map_location=`` of ``torch.load``, ``torch.cuda.is_available``, ``device_count`` and ``synchronize``. It holds
    for the whole process, all threads included, and for processes forked inside. Everything is put back at the end,
    also after an exception. Enter it before CUDA is first used: what lies on a GPU already stays there until it is
    asked for.
    """
    import torch

    with torch.device("cpu"):
        torch.empty(0)  # here torch notes which functions a device context is for: not the replacements below
    with contextlib.ExitStack() as stack:
        # A module's own cuda() and to() send each tensor with the tensor's, so these two are enough for both.
        stack.enter_context(replaced(torch.Tensor, "cuda", _cuda(torch.Tensor.to)))
        for name in _METHODS:
            stack.enter_context(replaced(torch.Tensor, name, _redirected(getattr(torch.Tensor, name))))
        for name in _FACTORIES:
            stack.enter_context(replaced(torch, name, _redirected(getattr(torch, name))))
        stack.enter_context(replaced(torch, "load", _loading(torch.load)))
        stack.enter_context(replaced(torch.cuda, "is_available", lambda: False))
        stack.enter_context(replaced(torch.cuda, "device_count", lambda: 0))
        stack.enter_context(replaced(torch.cuda, "synchronize", lambda device=None: None))
        yield


def _cuda(to: Callable[..., Any]) -> Callable[..., Any]:
    def cuda(self: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
        options = {} if memory_format is None else {"memory_format": memory_format}
        return to(self, "cpu", **options)

    return cuda


def _redirected(original: Callable[..., Any]) -> Callable[..., Any]:
    """``original`` with a device argument that names CUDA, by position (of ``to``) or by name, made the CPU."""
    first = 1 if getattr(original, "__name__", "") == "to" else None

    @functools.wraps(original)
    def redirected(*args: Any, **kwargs: Any) -> Any:
        if first is not None and len(args) > first and _is_cuda(args[first]):
            args = (*args[:first], "cpu", *args[first + 1 :])
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
        return original(*args, **kwargs)

    return redirected


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        # None means "where it was saved", which may have been a GPU.
        where = "cpu" if map_location is None or _is_cuda(map_location) else map_location
        return original(f, where, *args, **kwargs)

    return load


def _is_cuda(device: Any) -> bool:
    import torch

    if isinstance(device, bool) or device is None:
        return False
    if isinstance(device, int):  # torch reads a bare number as a GPU's
        return True
    if isinstance(device, str):
        return device.split(":")[0] == "cuda"
    return isinstance(device, torch.device) and device.type == "cuda"
