"""``on_cpu``: what asks for CUDA gets the CPU, and nothing of it stays behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from support import run_python

from llava_faba.compat.device import _FACTORIES, _METHODS, on_cpu

pytestmark = pytest.mark.newest
CUDA = ["cuda", "cuda:0", torch.device("cuda"), torch.device("cuda", 1), 0]


def attributes() -> list[Any]:
    return [
        *(getattr(torch, name) for name in _FACTORIES),
        *(torch.Tensor.__dict__.get(name) for name in (*_METHODS, "cuda")),
        *(getattr(torch.Tensor, name) for name in (*_METHODS, "cuda")),
        torch.load,
        torch.cuda.is_available,
        torch.cuda.device_count,
        torch.cuda.synchronize,
    ]


@pytest.mark.parametrize("device", CUDA, ids=str)
def test_tensors_stay_on_the_cpu(device):
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    with on_cpu():
        moved = [
            tensor.to(device),
            tensor.to(device, torch.float32),
            tensor.to(device=device, dtype=torch.float32, non_blocking=True),
            tensor.cuda(),
            tensor.cuda(device),
            tensor.cuda(device, non_blocking=True),
        ]
    for result in moved:
        assert result.device.type == "cpu" and torch.equal(result, tensor)


def test_a_dtype_is_heeded():
    with on_cpu():
        assert torch.ones(2).to("cuda", torch.float16).dtype == torch.float16
        assert torch.ones(2).to(device="cuda", dtype=torch.bfloat16).dtype == torch.bfloat16
        assert torch.ones(2).half().cuda().dtype == torch.float16
        assert torch.ones(2).to(torch.float64).dtype == torch.float64
        assert torch.ones(2).to(torch.ones(1, dtype=torch.int64)).dtype == torch.int64


def test_other_devices_are_left_alone():
    with on_cpu():
        assert torch.ones(2).to("meta").device.type == "meta"
        assert torch.ones(2, device="meta").device.type == "meta"


def test_a_device_context_is_heeded():
    """In a process of its own: torch notes at the first context what it is for; transformers 5 loads in one."""
    program = (
        "import torch; from llava_faba.compat.device import on_cpu\n"
        "with on_cpu(), torch.device('meta'): print(torch.tensor([]).device.type, torch.zeros(1).device.type)\n"
        "with torch.device('meta'): print(torch.tensor([]).device.type)\n"
    )
    assert run_python("-c", program).stdout.split() == ["meta"] * 3


def test_factories():
    with on_cpu():
        made = [
            torch.tensor([1.0], device="cuda"),
            torch.zeros(2, device="cuda:0"),
            torch.arange(3, device=torch.device("cuda")),
            torch.randn(2, 2, device="cuda"),
            torch.full((2,), 3.0, device="cuda"),
            torch.ones_like(torch.ones(1), device="cuda"),
            torch.ones(1).new_zeros(2, device="cuda"),
            torch.ones(1).new_tensor([1.0], device="cuda"),
        ]
    assert {tensor.device.type for tensor in made} == {"cpu"}


def test_modules():
    with on_cpu():
        for module in (torch.nn.Linear(2, 2).cuda(), torch.nn.Linear(2, 2).to("cuda"), torch.nn.Linear(2, 2).cuda(0)):
            assert module.weight.device.type == "cpu" and isinstance(module.weight, torch.nn.Parameter)
        assert torch.nn.Linear(2, 2).to(device="cuda", dtype=torch.float16).weight.dtype == torch.float16


def test_files(tmp_path: Path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    with on_cpu():
        for where in ("cuda", None, "cpu", torch.device("cuda:0")):
            assert torch.load(tmp_path / "a.pt", map_location=where)["a"].device.type == "cpu"
        assert torch.load(tmp_path / "a.pt", "cuda", weights_only=True)["a"].tolist() == [1, 1]


def test_no_gpu_is_seen_and_waiting_for_one_is_harmless():
    with on_cpu():
        assert not torch.cuda.is_available() and torch.cuda.device_count() == 0
        torch.cuda.synchronize()
        torch.cuda.synchronize("cuda:0")


def test_other_threads_too():
    devices = []
    with on_cpu():
        thread = threading.Thread(target=lambda: devices.append(torch.ones(1).cuda().device.type))
        thread.start()
        thread.join()
    assert devices == ["cpu"]


def test_everything_is_put_back():
    before = attributes()
    with on_cpu(), on_cpu():
        assert torch.ones(1).cuda().device.type == "cpu"
    assert attributes() == before


def test_everything_is_put_back_after_an_exception():
    before = attributes()
    with pytest.raises(ZeroDivisionError), on_cpu():
        raise ZeroDivisionError
    assert attributes() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_outside_it_cuda_is_still_an_error():
    with on_cpu():
        pass
    with pytest.raises((RuntimeError, AssertionError)):
        torch.ones(1).cuda()
