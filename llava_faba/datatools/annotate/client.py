"""One request to a vision model behind an OpenAI-compatible API (``POST <base>/chat/completions``).

The key comes from the environment and goes into one header. It is never part of a message, an exception or
a stored answer, even where a server sends it back, and redirects are refused because they would carry it
elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from llava_faba.errors import UserError

MAX_BODY = 8 << 20
_RETRY = {408, 409, 425, 429}
_STOP = {401: "the key was refused", 403: "access was refused", 404: "no such address or model"}


class Retryable(Exception):
    """The request may be tried again; ``after`` is the server's wish in seconds, ``body`` what it sent, ``usage``
    the tokens that it took nevertheless.
    """

    def __init__(
        self,
        message: str,
        after: float | None = None,
        body: str = "",
        *,
        everyone: bool = False,
        usage: Mapping[str, int] | None = None,
    ):
        super().__init__(message)
        self.after, self.body, self.everyone, self.usage = after, body, everyone, usage or {}


class Rejected(Exception):
    """The server will not answer for this image, and trying again is useless."""

    def __init__(self, message: str, body: str = ""):
        super().__init__(message)
        self.body = body


class Fatal(UserError):
    """No request can succeed: a wrong key, address or model."""


@dataclass(frozen=True)
class Reply:
    """The answer's text, why it ended ("stop", "length", ...), the tokens it took, and the whole body."""

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    body: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class Client:
    """Where and how to ask. ``timeout`` bounds a whole request, in seconds."""

    base_url: str
    model: str
    key: str = field(repr=False)
    timeout: float = 120.0
    max_tokens: int = 800
    temperature: float = 0.0

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.base_url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise UserError(f"--base-url '{self.base_url}' is no http(s) address such as https://host/v1")
        if parts.username or parts.password:
            raise UserError("--base-url must not hold a password: the key belongs into the environment")
        if parts.scheme == "http" and self.key and not _is_loopback(host):
            raise UserError(f"--base-url {self.base_url} would send the key unencrypted: use https")
        self._url = self.base_url.rstrip("/") + "/chat/completions"
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if _is_loopback(host):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def is_local(self) -> bool:
        """Does the server run on this machine?"""
        return _is_loopback(urllib.parse.urlsplit(self.base_url).hostname or "")

    def scrub(self, text: str) -> str:
        """``text`` without the key."""
        return text.replace(self.key, "[key]") if self.key else text

    def _scrub_body(self, body: str) -> str:
        """A body without the key, also where JSON spells it in escapes that the raw text does not show."""
        try:
            plain = json.dumps(json.loads(body), ensure_ascii=False)
        except ValueError:
            return self.scrub(body)
        return self.scrub(plain if self.key and self.key in plain else body)

    def ask(self, prompt: str, image: bytes, mime: str) -> Reply:
        """Send one image. Raises ``Retryable``, ``Rejected`` or ``Fatal``; none of them names the key."""
        picture = f"data:{mime};base64,{base64.b64encode(image).decode()}"
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
        payload = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self._url, json.dumps(payload).encode(), headers, method="POST")
        deadline = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                body = self._read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            name = type(reason if isinstance(reason, Exception) else error).__name__
            raise Retryable(self.scrub(f"{name}: {reason}")) from None
        return self._parse(body)

    def _read(self, response: Any, deadline: float) -> str:
        """The whole body; a body that ends early, drips past the deadline or never ends is ``Retryable``."""
        wanted = response.headers.get("Content-Length")
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                part = response.read1(65536)
            except (http.client.HTTPException, OSError) as error:
                # chunked bodies that break off, and a server that stops sending
                message = f"the answer broke off: {type(error).__name__}"
                raise Retryable(message, body=self._text(parts)) from None
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise Retryable(f"the answer is longer than {MAX_BODY >> 20} MB")
            if time.monotonic() > deadline:
                raise Retryable(f"no whole answer within {self.timeout:g} s", body=self._text(parts))
        if wanted is not None and wanted.isdecimal() and size < int(wanted):
            raise Retryable(f"the answer broke off after {size} of {wanted} bytes", body=self._text(parts))
        return self._text(parts)

    def _text(self, parts: list[bytes]) -> str:
        return self._scrub_body(b"".join(parts).decode("utf-8", errors="replace"))

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        try:
            body = self._scrub_body(error.read(65536).decode("utf-8", errors="replace"))
        except (http.client.HTTPException, OSError):
            body = ""
        message = f"HTTP {error.code}: {body[:200].strip() or error.reason}"
        if error.code in _RETRY or error.code >= 500:
            return Retryable(message, _retry_after(error.headers.get("Retry-After")), body, everyone=error.code == 429)
        if error.code in _STOP:
            return Fatal(f"{self._url}: {_STOP[error.code]} ({message})")
        if 300 <= error.code < 400:
            return Fatal(f"{self._url} redirects elsewhere (HTTP {error.code}): give the final --base-url")
        return Rejected(message, body)

    def _parse(self, body: str) -> Reply:
        try:
            data = json.loads(body)
            choice = data["choices"][0]
            text = choice["message"]["content"]
        except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
            kind = "no JSON" if isinstance(error, json.JSONDecodeError) else "no chat completion"
            raise Retryable(f"the answer is {kind}", body=body) from None
        usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
        counts = {key: value for key, value in usage.items() if isinstance(value, int) and not isinstance(value, bool)}
        if not isinstance(text, str) or not text.strip():
            raise Retryable("the answer is empty", body=body, usage=counts)
        return Reply(text.strip(), str(choice.get("finish_reason") or ""), counts, body)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
