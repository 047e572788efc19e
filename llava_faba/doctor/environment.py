"""Packages, devices and DeepSpeed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from llava_faba.doctor.finding import Finding
from llava_faba.upstream import describe, raised_in

_SHOWN = (
    "llava-faba",
    "llava-torch",
    "llava",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "deepspeed",
    "sentencepiece",
    "safetensors",
    "numpy",
    "pillow",
    "bitsandbytes",
    "flash-attn",
    "gradio",
    "dlib-bin",
    "face-alignment",
    "onnxruntime",
)
# What LLaVA cannot load a model without. It finds out late, or hides it: a slow tokenizer wants sentencepiece at its
# first use, transformers' parts are imported at theirs.
_NEEDED = {
    "numpy": "numpy",
    "PIL": "pillow",
    "requests": "requests",
    "safetensors": "safetensors",
    "sentencepiece": "sentencepiece",
    "tokenizers": "tokenizers",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "peft": "peft",
}


def versions() -> Iterator[Finding]:
    found = {"python": platform.python_version()}
    for package in _SHOWN:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    yield Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in found.items()), details=found)


def packages() -> Iterator[Finding]:
    """Each package that is absent or does not import, with the error that it raises by itself."""
    for module, package in _NEEDED.items():
        if not is_installed(module):
            yield Finding("error", f"package {package}", "not installed", f"pip install {package}")
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a broken package throws
            at_fault = (raised_in(error) or package).partition(".")[0]
            yield Finding(
                "error", f"package {package}", f"does not import: {describe(error)}", f"reinstall or update {at_fault}"
            )


def devices() -> Iterator[Finding]:
    if not is_installed("torch"):
        yield Finding("error", "torch", "not installed", "install a torch build for this machine, see pytorch.org")
        return
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    details = {"gpus": names, "cpu_threads": torch.get_num_threads(), "cuda": torch.version.cuda}
    if names:
        yield Finding("ok", "devices", ", ".join(names), details=details)
    elif shutil.which("nvidia-smi") is not None:
        yield Finding(
            "note",
            "devices",
            f"CPU only, although nvidia-smi is here (torch {torch.__version__}, CUDA {torch.version.cuda or 'none'})",
            "install a torch build that fits the driver, and see what CUDA_VISIBLE_DEVICES says",
            details,
        )
    else:
        yield Finding("ok", "devices", f"CPU only ({torch.get_num_threads()} threads)", details=details)


def deepspeed() -> Iterator[Finding]:
    if not is_installed("deepspeed"):
        yield Finding("note", "deepspeed", "not installed; training works in one process", "pip install deepspeed")
        return
    try:
        importlib.import_module("deepspeed")
    except Exception as error:
        yield Finding(
            "error",
            "deepspeed",
            f"does not import: {describe(error)}",
            "install a release that fits this torch, or uninstall it: being there, it breaks accelerate and LLaVA",
        )
        return
    yield from _launcher()
    yield from _communication()


def _launcher() -> Iterator[Finding]:
    tools = {tool: shutil.which(tool) for tool in ("deepspeed", "g++", "ninja")}
    missing = [tool for tool, path in tools.items() if path is None]
    if not missing:
        yield Finding("ok", "deepspeed", "imports; launcher, compiler and ninja are there", details=tools)
        return
    beside = [tool for tool in missing if (Path(sys.executable).parent / tool).is_file()]
    if missing == beside:
        remedy = f"activate the environment: {', '.join(beside)} lies in {Path(sys.executable).parent}"
    else:
        remedy = (
            "DeepSpeed compiles its operations at the first run: install a C++ compiler and ninja, activate the "
            "environment"
        )
    yield Finding("note", "deepspeed", f"imports, but {', '.join(missing)} is not on PATH", remedy, tools)


def _communication() -> Iterator[Finding]:
    """What DeepSpeed's processes would talk over here."""
    from deepspeed.accelerator import get_accelerator
    from torch import distributed

    available = {
        "gloo": distributed.is_available() and distributed.is_gloo_available(),
        "nccl": distributed.is_available() and distributed.is_nccl_available(),
    }
    accelerator = get_accelerator()
    device, named = accelerator.device_name(), accelerator.communication_backend_name()
    # llava-faba starts gloo where there is no GPU, whatever the accelerator names (oneCCL's 'ccl', for one).
    backend = named if device == "cuda" else "gloo"
    details = {"accelerator": device, "backend": backend, **available}
    if available.get(backend, True):
        yield Finding("ok", "communication", f"{backend}, for DeepSpeed's accelerator '{device}'", details=details)
    else:
        yield Finding(
            "note",
            "communication",
            f"DeepSpeed's accelerator is '{device}', and this torch has no {backend}",
            "install a torch build that has it; training in one process without DeepSpeed works",
            details,
        )


def is_installed(module: str) -> bool:
    """Whether there is such a top-level module; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: somebody put a thing without a spec into sys.modules
        return False
