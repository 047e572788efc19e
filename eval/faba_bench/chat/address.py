"""Addresses that a key is sent to: this machine, or encrypted."""

from __future__ import annotations

import ipaddress
import urllib.parse

from faba_bench.errors import BenchError
from faba_bench.files.terminal import printable


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, without asking a name server."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_plain_key(url: str, option: str, *, error: type[Exception] = BenchError) -> None:
    """For an address that a key is sent to: raises ``error`` for http to another machine, where anybody on the way
    reads it. ``option`` is what the address was given by."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise error(
            f"{option} http://{printable(parts.hostname or '')} would send the key unencrypted: use https, or a tunnel "
            "to this machine"
        )
