"""One question about one picture, by vLLM."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llava_faba.errors import UserError
from llava_faba.inference.engines.base import Result
from llava_faba.inference.prediction import Prediction
from llava_faba.inference.settings import GenerateSettings


def predict_native(model_path: str, image: str | Path, question: str, settings: GenerateSettings) -> Prediction:
    """As ``predict``, for a folder that ``checkpoint to-transformers`` made, by a vLLM server.

    Raises UserError subclasses.
    """
    asked = {"question_id": "0", "image": Path(image).name, "text": question}
    folder = str(Path(image).resolve().parent)
    result = _result(model_path, folder, asked, settings)
    if result.error is not None:
        raise UserError(result.error)
    return Prediction(result.text, None, result.prior_status or "given")


def _result(model_path: str, folder: str, asked: dict[str, str], settings: GenerateSettings) -> Result:
    from llava_faba.inference.engines.server import answer_with_server

    with tempfile.TemporaryDirectory() as scratch:
        return next(answer_with_server(model_path, folder, settings, [asked], Path(scratch) / "predict.errors.log"))
