"""Who answers the page's questions: a checkpoint loaded here, or a served model."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from faba_bench.chat.secret import Scrubber
from faba_bench.files.jsonfiles import parse_json
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError
from llava_faba.inference.engines.running import check_address, key_of_environment

OnText = Callable[[str], None]
_LONGEST = 16 << 20
"""Bytes of a served model's answer: an event takes some 300 bytes for a token."""


class Asker(Protocol):
    """``name``: shown on the page."""

    name: str

    def ask(self, crop: Any, question: str, on_text: OnText) -> tuple[str, str | None]:
        """The answer to a question about a PIL image, and the prior's status where it is known; ``on_text`` gets the
        text
        piece by piece. Raises UserError."""


class Loaded:
    """A checkpoint in this process; one question at a time. ``path``: a folder of either home, or a hub id."""

    def __init__(
        self, path: str, base: str | None, *, device: str, dtype: str, conversation: str | None, max_new_tokens: int
    ) -> None:
        from llava_faba.model.loading import load_model

        self.name = path.rstrip("/").rpartition("/")[2]
        self._loaded = load_model(path, base, device=device, dtype=dtype)
        self._conversation, self._max_new_tokens = conversation, max_new_tokens
        self._lock = threading.Lock()

    def ask(self, crop: Any, question: str, on_text: OnText) -> tuple[str, str | None]:
        with self._lock:
            if hasattr(self._loaded[1], "get_vision_tower"):  # LLaVA's home streams
                from llava_faba.inference.chat import Chat

                chat = Chat(self._loaded, crop, self._conversation)
                return chat.ask(question, max_new_tokens=self._max_new_tokens, on_text=on_text), chat.status
            from llava_faba.inference.predict import predict

            found = predict(self._loaded, crop, question, max_new_tokens=self._max_new_tokens)
            on_text(found.text)
            return found.text, found.status


class Served:
    """A model behind an OpenAI-compatible address (vLLM). The key is read from ``VLLM_API_KEY``."""

    def __init__(self, url: str, *, max_new_tokens: int) -> None:
        from llava_faba.packages import install_command

        try:
            import httpx
        except ImportError as error:
            raise UserError(f"--endpoint needs httpx ({error}): {install_command('app')}") from error
        check_address(url)
        key = key_of_environment()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._scrub = Scrubber(key or "")
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=600)
        self._max_new_tokens = max_new_tokens
        models = self._json("models").get("data")
        if not isinstance(models, list) or not models or not isinstance(models[0], dict):
            raise UserError(f"{url} serves no model.")
        self.name = self._scrub(printable(str(models[0].get("id"))))[:200]

    def _json(self, path: str) -> dict[str, Any]:
        import httpx

        try:
            with self._client.stream("GET", path) as response:
                response.raise_for_status()
                text = b"\n".join(_lines(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(
                f"the endpoint does not answer: {type(error).__name__}. Is it the address with /v1?"
            ) from error
        found = parse_json(self._scrub(text.decode(errors="replace")), "the endpoint's answer", error=UserError)
        if not isinstance(found, dict):
            raise UserError("the endpoint's answer is not an object: is it the address with /v1?")
        return found

    def ask(self, crop: Any, question: str, on_text: OnText) -> tuple[str, str | None]:
        import httpx

        stream = io.BytesIO()
        crop.save(stream, "PNG")
        image = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": question}]
        body = {
            "model": self.name,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._max_new_tokens,
            "temperature": 0,
            "stream": True,
        }
        text = ""
        try:
            with self._client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise UserError(f"the served model refused the question (HTTP {response.status_code}).")
                for line in _lines(response):
                    piece = self._scrub(_piece(line.decode(errors="replace")))
                    text += piece
                    if piece:
                        on_text(piece)
        except httpx.HTTPError as error:
            raise UserError(f"the served model went away: {type(error).__name__}.") from error
        return self._scrub(text).strip(), None


def _lines(response: Any) -> Iterator[bytes]:
    """The lines of a body. Raises UserError behind ``_LONGEST`` bytes: a server may send without end."""
    rest, size = b"", 0
    for block in response.iter_bytes():
        size += len(block)
        if size > _LONGEST:
            raise UserError(f"the served model's answer is longer than {_LONGEST >> 20} MB.")
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _piece(line: str) -> str:
    """The text in one line of an event stream."""
    if not line.startswith("data:") or line.strip() == "data: [DONE]":
        return ""
    try:
        return str(parse_json(line[5:], "a line")["choices"][0]["delta"].get("content") or "")
    except (FileProblem, LookupError, TypeError, AttributeError):
        return ""
