"""LLaVA's controller and model worker: a port that is taken ends them.

Both start a thread of heartbeats before uvicorn asks for the port. When it is taken uvicorn gives up, and the thread
keeps the process alive; a worker then goes on telling the controller that it answers at the other one's address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from faba_bench.files.oserrors import sentence

from llava_faba.errors import UserError

_PORTS = {"llava.serve.controller": 21001, "llava.serve.model_worker": 21002, "llava.serve.sglang_worker": 21002}
"""LLaVA's servers with such a thread, and the ports that they take when none is named."""


@contextlib.contextmanager
def ending_with_its_server(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """While inside, ``program`` (a module's name) runs with ``arguments``; for other programs nothing is done.

    Raises UserError when one of LLaVA's servers would not get its port, or would be known to the controller by another
    server's address. A server that loses its port while it starts ends the process, threads and all.
    """
    if program not in _PORTS:
        yield
        return
    _check(program, arguments)
    try:
        yield
    except SystemExit as end:
        if end.code in (None, 0):
            raise
        said = end.code if isinstance(end.code, str) else "it did not get its port, or could not start; see above"
        print(f"{program}: ended: {said}", file=sys.__stderr__, flush=True)
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)  # heartbeats are sent by a thread that never ends


def check_own_command_line() -> None:
    """End the process (SystemExit 2) where it is ``python -m`` one of these servers and would not get its port.

    For the plugin hook, with which nothing of ours runs the program.
    """
    words = sys.orig_argv[1:]
    if "-m" not in words:
        return
    program, *arguments = words[words.index("-m") + 1 :] or [""]
    if program in _PORTS:
        try:
            _check(program, arguments)
        except UserError as error:
            print(f"{program}: {error}", file=sys.stderr, flush=True)
            raise SystemExit(2) from error


def _check(program: str, arguments: Sequence[str]) -> None:
    host, port = _value(arguments, "--host") or "localhost", _value(arguments, "--port")
    if port is None or port.isdecimal():  # anything else argparse refuses
        number = int(port or _PORTS[program])
        _check_address(program, arguments, host, number)
        _check_port(host, number)


def _value(arguments: Sequence[str], option: str) -> str | None:
    """The last value of an option, in either of argparse's spellings."""
    found = None
    for number, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else next(iter(arguments[number + 1 :]), None)
    return found


def _check_port(host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"--host {host}: {getattr(error, 'strerror', None) or error}") from error
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and family == socket.AF_INET6 and len(addresses) > 1:
                continue  # a machine without IPv6 names ::1 all the same; uvicorn then says so itself
            told = sentence(error) if isinstance(error, OSError) else str(error)
            raise UserError(f"--host {host} --port {port}: {told}") from error


def _check_address(program: str, arguments: Sequence[str], host: str, port: int) -> None:
    if program == "llava.serve.controller" or "--no-register" in arguments:
        return
    address = _value(arguments, "--worker-address")
    if address is None and port != _PORTS[program]:
        raise UserError(
            f"--port {port} without --worker-address: the controller would be told http://localhost:{_PORTS[program]}, "
            f"another server's; add --worker-address http://{host}:{port}."
        )
    with contextlib.suppress(ValueError):
        named = urlsplit(address or "").port
        if named is not None and named != port:
            print(
                f"note: the controller is told {address}, and this worker listens on port {port}: right only where "
                "something passes requests on.",
                file=sys.stderr,
            )
