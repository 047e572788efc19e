"""Running a program of LLaVA as ``python -m MODULE`` or ``python FILE`` would, with EmoLA registered."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import runpy
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from llava_faba.compat import servers, web_page
from llava_faba.compat.device import on_cpu
from llava_faba.errors import UserError
from llava_faba.registration.engine import register

# Run as __main__ it would be a second copy of the module that the seams are in: it is imported and its train() called.
_TRAIN = "llava.train.train"


def run_program(program: str, arguments: Sequence[str], *, device: str | None = None) -> int:
    """Run ``program``, a module's name or the path of a .py file, with ``arguments`` as its command line.

    As Python does it, modules are also looked for in the working directory, and a file's imports beside the file.
    ``device``: "cpu" keeps all that asks for CUDA on the CPU (see ``compat.device``); None leaves it alone.

    Raises UserError when there is no such program, UpstreamError when LLaVA cannot be used. ``sys.argv`` and
    ``sys.path`` are restored.
    """
    is_file = program.endswith(".py")
    if is_file and not Path(program).is_file():
        raise UserError(f"there is no file '{program}'; a module is named without .py, such as llava.serve.cli.")
    folder = Path(program).resolve().parent if is_file else Path.cwd()
    with on_cpu() if device == "cpu" else contextlib.nullcontext(), _command_line(program, arguments, folder):
        register()
        if is_file and not _is_file_of(program, _TRAIN):
            runpy.run_path(program, run_name="__main__")
        elif is_file or program == _TRAIN:
            importlib.import_module(_TRAIN).train()
        else:
            _check_module(program)
            page = web_page.mended_web_page() if program == web_page.MODULE else contextlib.nullcontext()
            with page, servers.ending_with_its_server(program, arguments):
                runpy.run_module(program, run_name="__main__", alter_sys=True)
    return 0


@contextlib.contextmanager
def _command_line(program: str, arguments: Sequence[str], folder: Path) -> Iterator[None]:
    argv, path = sys.argv, list(sys.path)
    sys.argv = [program, *arguments]
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


def _check_module(module: str) -> None:
    spec = _find(module)
    if spec is None:
        raise UserError(f"no module named '{module}'; LLaVA's own are llava.serve.cli, llava.train.train and so on.")
    if spec.submodule_search_locations is not None and _find(f"{module}.__main__") is None:
        raise UserError(f"'{module}' is a package, not a program; name one of its modules, such as llava.serve.cli.")


def _is_file_of(file: str, module: str) -> bool:
    spec = _find(module)
    return spec is not None and spec.origin is not None and Path(file).resolve() == Path(spec.origin).resolve()


def _find(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent that is none, a relative name, an empty one
        return None
