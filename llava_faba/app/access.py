"""Who may ask: this machine's browser on the loopback interface, else who knows the token; no other page's scripts."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from faba_bench.chat.address import is_loopback

HEADER = "x-llava-faba"
"""Sent by our page with each request that does something: another page's script would have to ask the server first."""
_COOKIE = "llava_faba_token"


class Access:
    """The rules for one server. ``host``: what it is bound to. ``token``: None on the loopback interface."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.token = None if is_loopback(host) else secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def refusal(self, request: Any) -> str | None:
        """Why a request is not answered, or None."""
        name = (request.headers.get("host") or "").rpartition("@")[2]
        bare = name.rpartition("]")[0].lstrip("[") if name.startswith("[") else name.partition(":")[0]
        if self.token is None and not is_loopback(bare):
            return "asked for by another name than this machine's own"  # a page elsewhere whose name leads here
        if self.token is not None and not self._knows_token(request):
            return "the token is missing or wrong: open the address that the command has printed"
        if request.method != "GET" and request.headers.get(HEADER) != "1":
            return "not asked by the page"
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != name:
            return "asked by a page of another address"
        return None

    def _knows_token(self, request: Any) -> bool:
        given = request.query_params.get("token") or request.cookies.get(_COOKIE) or ""
        return hmac.compare_digest(given.encode(), str(self.token).encode())

    def remember(self, request: Any, response: Any) -> None:
        """Put a token that came with the address into a cookie of this site alone."""
        if self.token is not None and request.query_params.get("token"):
            response.set_cookie(_COOKIE, self.token, httponly=True, samesite="strict")
