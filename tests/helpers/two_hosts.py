"""Two hosts on one machine: network namespaces joined by a virtual cable, each with an address of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ADDRESSES = ("10.77.83.1", "10.77.83.2")


@dataclass(frozen=True)
class TwoHosts:
    """The names of the namespaces; in each the cable's end is called ``cable0``."""

    names: tuple[str, str]

    def on(self, host: int, command: list[str]) -> list[str]:
        """``command``, run on one of them."""
        return ["ip", "netns", "exec", self.names[host], *command]

    def cut(self) -> None:
        """Pull the cable: no packet arrives any more, and nobody is told."""
        _ip("-n", self.names[1], "link", "set", "cable0", "down")


def why_not() -> str | None:
    """The reason why namespaces cannot be made here; None where they can."""
    if shutil.which("ip") is None:
        return "there is no 'ip' (Debian: iproute2)"
    name = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode != 0:
        return f"'ip netns add' is not allowed: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    names = (f"faba-{os.getpid()}-0", f"faba-{os.getpid()}-1")
    made = []
    try:
        for name in names:
            _ip("netns", "add", name)
            made.append(name)
        _ip("-n", names[0], "link", "add", "cable0", "type", "veth", "peer", "name", "cable0", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "cable0", "up")
        yield TwoHosts(names)
    finally:
        for name in made:
            _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
