"""The one door to LLaVA's imports: telling its code bases apart, and saying plainly why it cannot be imported.

``llava/model/__init__.py`` swallows every import error, so that a broken environment shows up much later as
"cannot import name 'LlavaLlamaForCausalLM'". Everything of ours that needs LLaVA comes through here first.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from llava_faba.compat.engine import packages_mended
from llava_faba.errors import UpstreamError

INSTALL_HINT = (
    "Install LLaVA beside llava-faba: 'pip install --no-deps llava-torch==1.2.2.post1' into an environment that has "
    "torch and transformers, or 'pip install --no-deps -e .' in a LLaVA checkout."
)
CODE_BASES = {"wheel": "PyPI wheel (February 2024)", "git": "git tree (May 2024)"}
_LLAMA = "llava.model.language_model.llava_llama"


def import_llava(module: str = "llava.model.builder") -> ModuleType:
    """Import a LLaVA module.

    Raises UpstreamError with the first real cause when LLaVA is absent, is another package of that name, or does
    not import in this environment.
    """
    cause = find_import_error()
    if cause is not None:
        raise UpstreamError(f"{cause} 'llava-faba doctor' shows what else is amiss here.")
    try:
        with packages_mended(training=module.startswith("llava.train")):
            return importlib.import_module(module)
    except ImportError as error:
        raise UpstreamError(f"cannot import {module}: {error}. {INSTALL_HINT}") from error


def find_import_error() -> str | None:
    """The reason why LLaVA's model classes cannot be imported, or None when they can."""
    folder = package_folder()
    if folder is None:
        return f"LLaVA is not installed (no module named 'llava'). {INSTALL_HINT}"
    code_base = find_code_base(folder)
    if code_base == "next":
        return (
            f"{folder} is the package 'llava' of LLaVA-NeXT, another project with other model code, which llava-faba "
            f"does not support. Use an environment without it. {INSTALL_HINT}"
        )
    # Packages that LLaVA imports print what they think of this machine (bitsandbytes 0.41 without a GPU); standard
    # output is for the command's results.
    with _recorded_failure(_LLAMA) as swallowed, contextlib.redirect_stdout(sys.stderr):
        try:
            with packages_mended(training=False):
                importlib.import_module(_LLAMA)
                importlib.import_module("llava.model.builder")
        except Exception as error:  # anything at all may come out of a broken environment
            real = swallowed[0] if swallowed else error
            cause = f"LLaVA is installed but does not import: {describe(real)}."
            if code_base == "unknown":
                cause += f" {folder} holds none of LLaVA's model code; is it another package called 'llava'?"
            return cause
    return None


def package_folder() -> Path | None:
    """The folder of the package ``llava`` that Python would import, or None. Imports nothing."""
    try:
        spec = importlib.util.find_spec("llava")
    except ValueError:  # somebody put a thing without a spec into sys.modules
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def find_code_base(package: Path) -> str:
    """Which ``llava`` a package folder holds, told by its files, for all carry similar versions and some none.

    "wheel" or "git" (see CODE_BASES), "next" (LLaVA-NeXT, which has models of Qwen and a resampler), or "unknown".
    """
    model = package / "model"
    if (model / "language_model" / "llava_qwen.py").is_file() or (model / "multimodal_resampler").is_dir():
        return "next"
    try:
        tower = ast.parse((model / "multimodal_encoder" / "clip_encoder.py").read_bytes())
    except OSError:
        return "unknown"
    except SyntaxError:  # a damaged file, which importing it will tell
        return "wheel"
    classes = {node.name for node in tower.body if isinstance(node, ast.ClassDef)}
    return "git" if "CLIPVisionTowerS2" in classes else "wheel"


def describe(error: BaseException) -> str:
    """An exception for a reader who has to find the package at fault: type, message, what caused it, and where."""
    text = f"{type(error).__name__}: {str(error).rstrip('.')}"
    root = _root(error)
    if str(root) not in text:
        text += f"; caused by {type(root).__name__}: {str(root).rstrip('.')}"
    where = raised_in(error)
    return f"{text} (raised in {where})" if where else text


def raised_in(error: BaseException) -> str | None:
    """The module whose code first went wrong, but for Python's own import machinery; None outside any module."""
    modules, frame = [], _root(error).__traceback__
    while frame is not None:
        modules.append(str(frame.tb_frame.f_globals.get("__name__", "")))
        frame = frame.tb_next
    named = [module for module in modules if module and module.split(".")[0] not in ("importlib", "llava_faba")]
    return named[-1] if named else None


def _root(error: BaseException) -> BaseException:
    while (earlier := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = earlier
    return error


@contextlib.contextmanager
def _recorded_failure(module: str) -> Iterator[list[Exception]]:
    """While inside, what running ``module`` for the first time raises is kept, whoever swallows it afterwards.

    Importing it once more would be no substitute: after a failed import, parts of transformers are there that were
    not before, and the second attempt fails elsewhere or not at all.
    """
    finder = _Recorder(module)
    sys.meta_path.insert(0, finder)
    try:
        yield finder.failures
    finally:
        sys.meta_path.remove(finder)


class _Recorder(MetaPathFinder):
    def __init__(self, module: str) -> None:
        self.module = module
        self.failures: list[Exception] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == self.module else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._recording(spec.loader.exec_module)  # type: ignore[method-assign,assignment]
        return spec

    def _recording(self, run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def exec_module(module: ModuleType) -> None:
            try:
                run(module)
            except Exception as error:
                self.failures.append(error)
                raise

        return exec_module
