"""The engine "vllm": requests to a vLLM server, one that is started here for this run or one that is running.

Priors go along with each request, so that an answer's status is known and a store can be used.
"""

from __future__ import annotations

import base64
import concurrent.futures
import io
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.terminal import printable

from llava_faba.errors import UserError
from llava_faba.images import open_image
from llava_faba.inference.engines.asking import PriorSource, message
from llava_faba.inference.engines.base import Question, Result, failed, id_of
from llava_faba.inference.engines.running import Server, alias_of, running_server, started_server
from llava_faba.inference.settings import GenerateSettings

IN_FLIGHT = 64
_PATIENCE = 900.0  # seconds in which a server that is gone may come back, and load its model


def answer_with_server(
    model_path: str, image_folder: str, settings: GenerateSettings, questions: Sequence[Question], log: Path
) -> Iterator[Result]:
    """The result of every question, in the order of completion.

    Raises UserError where the server does not start, is gone for good, or is of another model; what a server of ours
    said is in ``log`` then.
    """
    source = PriorSource(model_path, settings.store)
    with _server(model_path, settings, log) as server:
        asker = _Asker(server, source, Path(image_folder), settings)
        waiting = iter(questions)
        with concurrent.futures.ThreadPoolExecutor(max(IN_FLIGHT, settings.batch_size)) as pool:
            running = {pool.submit(asker.result, one) for one in itertools.islice(waiting, 2 * IN_FLIGHT)}
            try:
                while running:
                    done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        running |= {pool.submit(asker.result, one) for one in itertools.islice(waiting, 1)}
                        yield future.result()
            finally:
                asker.is_over = True
                pool.shutdown(cancel_futures=True)


def _server(model_path: str, settings: GenerateSettings, log: Path) -> Any:
    if settings.endpoint is not None:
        return running_server(settings.endpoint, model_path)
    return started_server(model_path, settings, log)


class _Asker:
    """Asks the server about one question at a time; several threads share it."""

    def __init__(self, server: Server, source: PriorSource, folder: Path, settings: GenerateSettings) -> None:
        self._server, self._source, self._folder, self._settings = server, source, folder, settings
        self.is_over = False

    def result(self, question: Question) -> Result:
        """The answer, or why this question has none. Raises UserError where no question would have one."""
        try:
            picture = open_image(self._folder / question["image"])
            priors, statuses = self._source.of([question["image"]], [picture])
            body = self._body(question["text"], picture, priors)
        except Exception as error:
            return failed(question, error)
        status, found = self._posted(body)
        if status != 200:
            return failed(question, UserError(f"the server refused it ({status}): {_reason(found)}"))
        try:
            text, tokens, reason = _answer(found)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            return failed(question, UserError(f"the server's answer is none: {_reason(found)}"))
        return Result(id_of(question), text, tokens, prior_status=statuses[0], is_cut=reason == "length")

    def _body(self, question: str, picture: Any, priors: Any) -> dict[str, Any]:
        kept = io.BytesIO()
        picture.save(kept, "PNG", compress_level=1)
        url = "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()
        return {
            "model": self._server.model,
            "messages": [message(question, {"type": "image_url", "image_url": {"url": url}})],
            "max_tokens": self._settings.max_new_tokens,
            "temperature": 0,
            "return_token_ids": True,
            "mm_processor_kwargs": {"facial_priors": priors.tolist()},
        }

    def _posted(self, body: dict[str, Any]) -> tuple[int, Any]:
        """(HTTP status, object); a server that is being restarted is waited for."""
        end = time.monotonic() + _PATIENCE
        while True:
            if self.is_over:
                raise UserError("the run is over.")
            try:
                status, found = self._server.post("/v1/chat/completions", body)
                if status in (401, 403):
                    raise UserError(f"{self._server.url}: it wants another key (environment: VLLM_API_KEY).")
                if status == 400 and "trust-request-mm-kwargs" in _reason(found):
                    raise UserError(f"{self._server.url}: start it with --trust-request-mm-kwargs, to take priors.")
                if status not in (429, 500, 502, 503, 504):
                    return status, found
                reason = f"{status}: {_reason(found)}"
            except OSError as error:
                reason = str(error)
            self._server.check_alive()
            if time.monotonic() > end:
                raise UserError(
                    f"{self._server.url}: no answer for {_PATIENCE:.0f} s ({reason}); answers so far are kept, "
                    "the same command resumes from there."
                )
            time.sleep(1)


def _answer(found: Any) -> tuple[str, tuple[int, ...], str]:
    """The text, its tokens, and why it ends. Raises what Python does for an object of another form."""
    choice = found["choices"][0]
    text, tokens = choice["message"]["content"] or "", choice.get("token_ids") or ()
    if not isinstance(text, str) or not all(type(token) is int and token >= 0 for token in tokens):
        raise TypeError
    return text.strip(), tuple(tokens), choice["finish_reason"]


def _reason(found: Any) -> str:
    error = found.get("error") if isinstance(found, dict) else None
    told = error.get("message") if isinstance(error, dict) else None
    return printable(str(told if told is not None else found))[:400]


__all__ = ["IN_FLIGHT", "alias_of", "answer_with_server"]
