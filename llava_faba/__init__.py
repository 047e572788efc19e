"""llava-faba: EmoLA (facial affective behaviour analysis with instruction tuning) as a plugin for LLaVA.

Importing this package has no side effects and imports neither torch nor llava; every public name is resolved
on first use.

==================  =================================================================================
``register``        attach EmoLA to the installed LLaVA (idempotent)
``unregister``      restore every original
``load_model``      load an EmoLA checkpoint of either home, or a plain LLaVA one
``LoadedModel``     what ``load_model`` returns; unpacks as four
``predict``         one call for one picture
``analyze``         photographs and videos to a table of faces
``Prediction``      what ``predict`` returns
==================  =================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llava_faba._version import __version__

if TYPE_CHECKING:
    from llava_faba.analysis.run import analyze
    from llava_faba.inference.loading import load_model
    from llava_faba.inference.predict import predict
    from llava_faba.inference.prediction import Prediction
    from llava_faba.model.loaded import LoadedModel
    from llava_faba.registration import register, unregister

__all__ = ["LoadedModel", "Prediction", "__version__", "analyze", "load_model", "predict", "register", "unregister"]

_HOME = {
    "register": "llava_faba.registration",
    "unregister": "llava_faba.registration",
    "load_model": "llava_faba.inference.loading",
    "LoadedModel": "llava_faba.model.loaded",
    "analyze": "llava_faba.analysis.run",
    "predict": "llava_faba.inference.predict",
    "Prediction": "llava_faba.inference.prediction",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'llava_faba' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
