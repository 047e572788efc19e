"""LLaVA's web page (``llava.serve.gradio_web_server``) as the PyPI wheel holds it, under the gradio that it pins.

Two breaks. The wheel names a listener's JavaScript ``_js``, which gradio 4 calls ``js`` (LLaVA's git tree says ``js``).
And its page lists example pictures that lie in the git tree only, which gradio wants to copy.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llava_faba.compat.engine import replaced
from llava_faba.errors import UserError
from llava_faba.packages import install_command

MODULE = "llava.serve.gradio_web_server"


@contextlib.contextmanager
def mended_web_page() -> Iterator[None]:
    """While inside, gradio takes what LLaVA's page hands it; each fix acts only on a call that would fail.

    Raises UserError when gradio is not installed or does not import here.
    """
    try:
        import gradio
    except Exception as error:  # an unfitting pydantic or starlette raises anything at all
        raise UserError(
            f"LLaVA's web page needs gradio, which does not import here ({type(error).__name__}: {error}). "
            f"These versions work together: {install_command('serve')}"
        ) from error
    with (
        replaced(gradio.Blocks, "load", _with_js(gradio.Blocks.load)),
        replaced(gradio, "Examples", _with_existing_files(gradio.Examples)),
    ):
        yield


def _with_js(load: Callable[..., Any]) -> Callable[..., Any]:
    parameters = inspect.signature(load).parameters

    @functools.wraps(load)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if "_js" not in parameters and "_js" in kwargs:
            kwargs["js"] = kwargs.pop("_js")
        return load(*args, **kwargs)

    return wrapped


def _with_existing_files(examples_of: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(examples_of)
    def wrapped(examples: Any, *args: Any, **kwargs: Any) -> Any:
        there = [row for row in examples if all(_exists(value) for value in row)]
        return examples_of(there, *args, **kwargs) if there else None

    return wrapped


def _exists(value: Any) -> bool:
    """Whether an example's value is no absolute path or one of a file."""
    return not (isinstance(value, str) and Path(value).is_absolute()) or Path(value).is_file()
