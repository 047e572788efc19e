"""One request to a vision model behind an OpenAI-compatible API (``POST <base>/chat/completions``).

httpx carries it. The key comes from the environment and goes into one header. It is never part of a message, an
exception or a stored answer, even where a server sends it back, and redirects are refused because they would carry it
elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import http
import json
import math
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from faba_bench.chat.address import is_loopback, refuse_plain_key
from faba_bench.chat.replies import NoAnswer, Reply, error_message, parse_reply
from faba_bench.chat.secret import Scrubber, clean_key, scrub_logs
from faba_bench.errors import BenchError
from faba_bench.files.terminal import printable

MAX_BODY = 8 << 20
_RETRY = {408, 409, 425, 429}
_STOP = {
    401: "the key was refused",
    402: "payment is required",
    403: "access was refused",
    404: "no such address or model",
}
_UNKNOWN_FIELD = re.compile(
    r"unsupported|not (?:be )?support|does not support|unrecognized|unknown|unexpected|not permitted|not allowed|extra|"
    r"deprecated|not compatible|only the default|removed|use '?\"?`?max_(?:completion|output)?_?tokens",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"too large|at most|exceed|maximum|less than or equal|greater than", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"key|token|secret|sig|password|auth", re.IGNORECASE)


class Retryable(Exception):
    """The request may be tried again; ``after`` is the server's wish in seconds, ``body`` what it sent, ``usage``
    the tokens that it took nevertheless, ``empty`` a completion without an answer.
    """

    def __init__(
        self,
        message: str,
        after: float | None = None,
        body: str = "",
        *,
        everyone: bool = False,
        usage: Mapping[str, int] | None = None,
        empty: bool = False,
    ):
        super().__init__(message)
        self.after, self.body, self.everyone, self.usage, self.empty = after, body, everyone, usage or {}, empty


class Rejected(Exception):
    """The server will not answer for this image, and trying again is useless."""

    def __init__(self, message: str, body: str = ""):
        super().__init__(message)
        self.body = body


class Fatal(BenchError):
    """No request can succeed: a wrong key, address or model."""


@dataclass
class Client:
    """Where and how to ask. ``timeout`` bounds a whole request, in seconds: connecting, headers, and body."""

    base_url: str
    model: str
    key: str = field(repr=False)
    timeout: float = 120.0
    max_tokens: int = 800
    temperature: float = 0.0
    error: ClassVar[type[Exception]] = BenchError
    """What is raised for a key or an address that cannot be."""

    def __post_init__(self) -> None:
        self.key = clean_key(self.key, error=self.error)
        self._scrub = Scrubber(self.key)
        scrub_logs(self._scrub)
        self._url = _address(self.base_url, bool(self.key), self.error)
        self._shown = urllib.parse.urlsplit(self._url)._replace(query="").geturl()
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise self.error(f"--timeout must be a number above 0, not {self.timeout}")
        self._verify: ssl.SSLContext | bool = False
        self._fields = {"max_tokens", "temperature"}
        self._lock = threading.Lock()
        self.notes: list[str] = []

    @property
    def is_local(self) -> bool:
        """Does the server run on this machine?"""
        return is_loopback(urllib.parse.urlsplit(self.base_url).hostname or "")

    def scrub(self, text: str) -> str:
        """``text`` without the key."""
        return self._scrub(text)

    def ask(self, prompt: str, image: bytes | None = None, mime: str = "image/png") -> Reply:
        """Send a text, and an image if given. Raises ``Retryable``, ``Rejected``, ``Fatal``, without the key.

        A server that does not know ``max_tokens`` or does not let a temperature be chosen gets the request again
        without, at once and from then on; ``notes`` says so.
        """
        content: str | list[dict[str, Any]] = prompt
        if image is not None:
            picture = f"data:{mime};base64,{base64.b64encode(image).decode()}"
            content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
        message = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        for _ in range(4):
            fields = frozenset(self._fields)
            status, headers, body = self._post(json.dumps({**message, **self._settings(fields)}).encode())
            if 200 <= status < 300:
                try:
                    return parse_reply(body)
                except NoAnswer as reason:
                    text = self.scrub(printable(str(reason)))
                    raise Retryable(text, body=body, usage=reason.usage, empty=reason.empty) from None
            if not (status in (400, 422) and self._adapted(fields, body)):
                break
        raise self._refusal(status, headers, body)

    def _settings(self, fields: frozenset[str]) -> dict[str, Any]:
        values = {
            "max_tokens": self.max_tokens,
            "max_completion_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        return {name: values[name] for name in sorted(fields)}

    def _adapted(self, sent: frozenset[str], body: str) -> bool:
        """Does the server complain of a field that can be left out or has another name? Then do so from now on."""
        text, parameter = error_message(body)
        with self._lock:
            if sent != self._fields:
                return True  # another request has found it out meanwhile
            if not _UNKNOWN_FIELD.search(text):
                return False
            named = next((name for name in sorted(sent, key=len, reverse=True) if name == parameter), None) or next(
                (name for name in sorted(sent) if re.search(rf"\b{name}\b", text)), None
            )
            if named is None or (named != "temperature" and _TOO_LARGE.search(text)):
                return False
            self._fields = self._fields - {named}
            if named == "max_tokens":
                self._fields = self._fields | {"max_completion_tokens"}
                self.notes.append("the server wants max_completion_tokens instead of max_tokens")
            elif named == "temperature":
                self.notes.append("the server does not take a temperature: it samples as it likes")
            else:
                self.notes.append("the server takes no limit of tokens: none is sent")
            return True

    def _post(self, data: bytes) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body without the key. Raises ``Retryable`` for a request that got no whole answer."""
        parts: list[bytes] = []
        try:
            status, headers = asyncio.run(asyncio.wait_for(self._exchange(data, parts), self.timeout))
        except (asyncio.TimeoutError, TimeoutError):
            raise Retryable(f"no whole answer within {self.timeout:g} s", body=self._text(parts)) from None
        except _TooLongError:
            raise Retryable(f"the answer is longer than {MAX_BODY >> 20} MB") from None
        except Exception as error:
            if not isinstance(error, OSError | EOFError | ssl.SSLError) and type(error).__module__.split(".")[
                0
            ] not in (
                "httpx",
                "httpcore",
                "h11",
                "anyio",
            ):
                raise
            cause = _deepest(error)
            said = self.scrub(printable(f"{type(cause).__name__}: {cause or error}"))[:300]
            what = f"the answer broke off: {said}" if parts else said
            raise Retryable(what, body=self._text(parts)) from None
        return status, headers, self._text(parts)

    async def _exchange(self, data: bytes, parts: list[bytes]) -> tuple[int, Mapping[str, str]]:
        import httpx

        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
            if "api-version=" in self._url:  # Azure has a header of its own
                headers["api-key"] = self.key
        if self._url.startswith("https:") and self._verify is False:
            self._verify = httpx.create_ssl_context()
        async with (
            httpx.AsyncClient(
                verify=self._verify, timeout=self.timeout, trust_env=not self.is_local, follow_redirects=False
            ) as client,
            client.stream("POST", self._url, content=data, headers=headers) as response,
        ):
            size = 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    raise _TooLongError
            return response.status_code, dict(response.headers)

    def _text(self, parts: list[bytes]) -> str:
        return self.scrub(b"".join(parts).decode("utf-8", errors="replace"))

    def _refusal(self, status: int, headers: Mapping[str, str], body: str) -> Exception:
        try:
            meaning = http.HTTPStatus(status).phrase  # the server's own words may hold anything
        except ValueError:
            meaning = "unknown status"
        message = printable(f"HTTP {status}: {' '.join(body.split())[:300] or meaning}")
        if status in _RETRY or status >= 500:
            return Retryable(message, _retry_after(headers.get("retry-after")), body, everyone=status == 429)
        if status in _STOP:
            return Fatal(f"{self._shown}: {_STOP[status]} ({message})")
        if 300 <= status < 400:
            return Fatal(f"{self._shown} redirects elsewhere (HTTP {status}): give the final --base-url")
        return Rejected(message, body)


class _TooLongError(Exception):
    """More than ``MAX_BODY`` bytes."""


def _address(base_url: str, has_key: bool, error_class: type[Exception]) -> str:
    """Where to post to; a query (Azure's ``?api-version=...``) stays behind the path. Raises ``error_class``."""
    try:
        parts = urllib.parse.urlsplit(base_url.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise error_class(f"--base-url is no address: {error}") from error
    if parts.username or parts.password:
        raise error_class("--base-url must not hold a password: the key belongs into the environment")
    if parts.scheme not in ("http", "https") or not host:
        raise error_class(f"--base-url '{printable(base_url)[:200]}' is no http(s) address such as https://host/v1")
    secret = [name for name, _ in urllib.parse.parse_qsl(parts.query) if _SECRET_QUERY.search(name)]
    if secret:
        name = printable(secret[0])
        raise error_class(f"--base-url holds '{name}' in its query: the key belongs into the environment")
    if has_key:
        refuse_plain_key(parts.geturl(), "--base-url", error=error_class)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def _deepest(error: BaseException) -> BaseException:
    """What lies under an exception of the transport: the system's own error, where there is one."""
    seen = {id(error)}
    while (below := error.__cause__ or error.__context__) is not None and id(below) not in seen:
        if not isinstance(below, Exception):
            break
        seen.add(id(below))
        error = below
    return error


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
