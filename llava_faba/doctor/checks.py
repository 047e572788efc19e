"""The checks of ``llava-faba doctor``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from llava_faba.errors import UserError

PACKAGES = (
    "llava-faba",
    "llava-torch",
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
    "gradio",
    "dlib-bin",
    "face-alignment",
    "onnxruntime",
)


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis. ``level``: "ok", "note" or "error"; ``remedy`` says what to do."""

    level: str
    name: str
    text: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)

    def __str__(self) -> str:
        mark = {"ok": "  ok  ", "note": " note ", "error": "ERROR "}[self.level]
        line = f"[{mark}] {self.name}: {self.text}"
        return line + (f"\n           -> {self.remedy}" if self.remedy else "")


def diagnose() -> list[Finding]:
    """All findings; a check that fails by itself becomes an error finding and never stops the others."""
    findings: list[Finding] = []
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _torch,
        _llava,
        _seams,
        _deepspeed,
        _experts,
    )
    for check in checks:
        try:
            findings.extend(check())
        except Exception as error:  # whatever a broken environment throws is a finding
            name, text = check.__name__.strip("_"), f"{type(error).__name__}: {error}"
            findings.append(
                Finding("error", name, text, "install, update or remove the package that the message names")
            )
    return findings


def _versions() -> Iterator[Finding]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    yield Finding("ok", "versions", f"python {platform.python_version()}, " + ", ".join(found))


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("error", "torch", "not installed", "install a torch build for this machine, see pytorch.org")
        return
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding("ok", "devices", ", ".join(devices) or f"CPU only ({torch.get_num_threads()} threads)")


def _llava() -> Iterator[Finding]:
    from llava_faba.upstream import INSTALL_HINT, find_import_error

    spec = importlib.util.find_spec("llava")
    if spec is None:
        yield Finding("error", "llava", "not installed", INSTALL_HINT)
        return
    cause = find_import_error()
    if cause is not None:
        yield Finding("error", "llava", cause, "install or mend the package that the message names")
        return
    from llava.model.multimodal_encoder import builder

    tree = "git tree (May 2024)" if hasattr(builder, "CLIPVisionTowerS2") else "PyPI wheel (February 2024)"
    yield Finding("ok", "llava", f"imports; code base: {tree}")


def _seams() -> Iterator[Finding]:
    from llava_faba.registration import is_registered, register, unregister
    from llava_faba.registration.seams import SEAMS

    was_registered = is_registered()
    try:
        register()
    except UserError as error:
        yield Finding("error", "seams", str(error), "install a LLaVA release that llava-faba supports")
        return
    if not was_registered:
        unregister()
    yield Finding("ok", "seams", f"all {len(SEAMS)} places that EmoLA attaches to are as expected")


def _deepspeed() -> Iterator[Finding]:
    if importlib.util.find_spec("deepspeed") is None:
        yield Finding("note", "deepspeed", "not installed; training works in one process", "pip install deepspeed")
        return
    importlib.import_module("deepspeed")
    missing = [tool for tool in ("deepspeed", "g++", "ninja") if shutil.which(tool) is None]
    if missing:
        yield Finding(
            "note",
            "deepspeed",
            f"imports, but {', '.join(missing)} is not on PATH",
            "DeepSpeed compiles its operations at the first run: install a C++ compiler and ninja, activate the "
            "environment",
        )
    else:
        yield Finding("ok", "deepspeed", "imports; launcher, compiler and ninja are there")


def _experts() -> Iterator[Finding]:
    from llava_faba.experts import create_expert, expert_names

    for name in expert_names():
        try:
            expert = create_expert(name)
        except UserError as error:
            yield Finding("note", f"expert {name}", "cannot be used here", str(error))
        else:
            yield Finding("ok", f"expert {name}", f"{expert.size or 'any number of'} numbers per face")
