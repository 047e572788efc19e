"""Which GPU is this process's own, when several processes of one machine each extract a share."""

from __future__ import annotations

import os


def local_rank() -> int:
    """The process's number on its machine, from what torchrun and deepspeed tell their processes; else 0."""
    return int(os.environ.get("LOCAL_RANK", 0))


def torch_device() -> str:
    """ "cuda:I" for the I-th process of this machine, counting round the GPUs that there are; "cpu" without one."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local_rank() % count}" if count else "cpu"


def onnx_provider(device: str) -> tuple[str, dict[str, int]] | None:
    """onnxruntime's name and options for "cpu", "cuda" (this process's GPU) or "cuda:I"; None for anything else."""
    if device == "cpu":
        return "CPUExecutionProvider", {}
    kind, colon, number = device.partition(":")
    if kind != "cuda" or (colon and not number.isdigit()):
        return None
    visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    own = local_rank() % len(visible) if visible else local_rank()
    return "CUDAExecutionProvider", {"device_id": int(number) if colon else own}
