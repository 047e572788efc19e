"""Packages, devices and DeepSpeed."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from llava_faba.doctor.finding import Finding
from llava_faba.packages import (
    PACKAGES,
    Package,
    command,
    fits,
    install_command,
    installed_version,
    is_installed,
    repair,
)
from llava_faba.upstream import describe, raised_in

# Not of the table: what LLaVA can use and nothing of ours brings.
_ALSO_SHOWN = ("llava-faba", "llava-torch", "llava", "bitsandbytes", "flash-attn")


def versions() -> Iterator[Finding]:
    found = {"python": platform.python_version()}
    for package in (*_ALSO_SHOWN, *(row.name for row in PACKAGES)):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    yield Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in found.items()), details=found)


def packages() -> Iterator[Finding]:
    """Each package of the table that is absent, too old, too new or does not import by itself.

    An error where loading a model needs it, a note elsewhere: what does not work without it stands in the table.
    """
    absent: dict[str, list[Package]] = {}
    for row in PACKAGES:
        name, level = f"package {row.name}", "error" if row.is_needed else "note"
        if not is_installed(row.module):
            if row.is_needed:
                yield Finding("error", name, f"not installed: {row.without}", repair(row))
            for extra in () if row.is_needed else row.extras:
                absent.setdefault(extra, []).append(row)
            continue
        version = installed_version(row)
        if version is None:
            yield Finding("note", name, f"its version cannot be told; {row.requirement} is needed", repair(row))
        elif not fits(version, row.versions):
            text = f"{version} is here, {row.versions} is needed{_by(row)}: {row.without}"
            yield Finding(level, name, text, repair(row))
            continue
        if row.is_needed:
            yield from _imports(row)
    for extra, rows in absent.items():
        lost = "; ".join(dict.fromkeys(row.without for row in rows))
        text = f"not installed: {', '.join(row.name for row in rows)}: {lost}"
        yield Finding("note", f"extra {extra}", text, install_command(extra))


def _by(row: Package) -> str:
    return "" if row.is_needed else f" for {', '.join(row.extras)}"


def _imports(row: Package) -> Iterator[Finding]:
    """The error that a package raises by itself."""
    try:
        importlib.import_module(row.module)
    except Exception as error:  # whatever a broken package throws
        module = (raised_in(error) or row.module).partition(".")[0]
        at_fault = next((one for one in PACKAGES if one.module == module), None)
        remedy = f"reinstall or update {module}"
        if at_fault is not None:
            again = command(f"{at_fault.name}=={installed_version(at_fault)}", options="--force-reinstall --no-deps")
            remedy += f": {again}, or {repair(at_fault)}"
        yield Finding("error", f"package {row.name}", f"does not import: {describe(error)}", remedy)


def devices() -> Iterator[Finding]:
    if not is_installed("torch"):
        yield Finding("error", "torch", "not installed", f"{_torch()} (a CUDA build; for others see pytorch.org)")
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
        yield Finding("note", "deepspeed", "not installed; training works in one process", _deepspeed())
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


def _torch() -> str:
    return repair(next(row for row in PACKAGES if row.name == "torch"))


def _deepspeed() -> str:
    return repair(next(row for row in PACKAGES if row.name == "deepspeed"))
