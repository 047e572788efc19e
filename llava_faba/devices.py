"""Which device and which precision: names, and ``auto``, as the command line and the Python functions take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faba_bench.console.processes import cpu_count

from llava_faba.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

AUTO = "auto"
DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
_BFLOAT16_FROM = (8, 0)  # compute capability: older GPUs compute it in float32, slowly


def choose_device(device: str | torch.device) -> str:
    """``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is ``cuda`` where torch sees a GPU.

    Raises UserError for another name, and for a GPU that is not there.
    """
    import torch

    name = str(device)
    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (colon and not number.isdecimal())):
        raise UserError(f"no device '{name}': it is auto, cpu, cuda or cuda:N.{nearest(name, DEVICES)}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= count:
        seen = f"this machine shows {count}" if count else "torch sees none here"
        raise UserError(f"device '{name}': there is no such GPU ({seen}); use --device auto, or cpu.")
    return name


def choose_dtype(dtype: str | torch.dtype, device: str | torch.device) -> torch.dtype:
    """The torch type of a name; ``auto`` is float32 on a CPU, and on a GPU bfloat16, or float16 before Ampere.

    ``device``: what ``choose_device`` returned. Raises UserError for another name.
    """
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == AUTO:
        if not str(device).startswith("cuda"):
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= _BFLOAT16_FROM else torch.float16
    if dtype not in DTYPES:
        known = ("auto", *DTYPES)
        raise UserError(f"dtype must be one of {', '.join(known)}, not '{dtype}'.{nearest(dtype, known)}")
    return getattr(torch, dtype)


def gpu_or_cpu_count(workers: int, device: str) -> int:
    """The processes that hold a model each; of 0 one per GPU where ``device`` is one or finds one, else one per CPU."""
    if workers:
        return workers
    if choose_device(device) == "cuda":
        import torch

        return torch.cuda.device_count()
    return cpu_count()
