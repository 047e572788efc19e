"""LLaVA's three servers as real processes: ``llava-faba run llava.serve.controller``, or a patched LLaVA's own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE = 240  # seconds until a server answers; several seconds on a free machine


@dataclass(frozen=True)
class Servers:
    """Where the three answer, and the folder that they run in and log to."""

    controller: str
    worker: str
    page: str | None
    folder: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def post(url: str, content: Any = None) -> bytes:
    data = b"" if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=120) as response:
        return bytes(response.read())


@contextlib.contextmanager
def llava_servers(model: Path, folder: Path, *, with_page: bool, patched: Path | None = None) -> Iterator[Servers]:
    """Controller, model worker on the CPU and, if asked for, the web page, all stopped at the end.

    ``patched``: the source tree of a LLaVA with the plugin hook; its modules are then run with no wrapper.
    """
    addresses = [f"http://127.0.0.1:{free_port()}" for _ in range(3)]
    controller, worker, page = addresses
    ports = [address.rpartition(":")[2] for address in addresses]
    where = ("--host", "127.0.0.1", "--port")
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str, ready: Callable[[], bool]) -> None:
            stack.enter_context(_server(name, arguments, folder, ready, patched))

        def models() -> list[str]:
            return list(json.loads(post(f"{controller}/list_models"))["models"])

        start("controller", *where, ports[0], ready=lambda: models() == [])
        start(
            "model_worker",
            *(*where, ports[1], "--worker-address", worker, "--controller-address", controller),
            *("--model-path", str(model), "--device", "cpu"),
            ready=lambda: models() == [model.name],
        )
        if with_page:
            start(
                "gradio_web_server",
                *(*where, ports[2], "--controller-url", controller),
                ready=lambda: urllib.request.urlopen(page, timeout=10).status == 200,
            )
        yield Servers(controller, worker, page if with_page else None, folder)


@contextlib.contextmanager
def _server(
    name: str, arguments: tuple[str, ...], folder: Path, ready: Callable[[], bool], patched: Path | None
) -> Iterator[None]:
    log = folder / f"{name}.out"
    wrapper = ["llava_faba", "run"] if patched is None else []
    command = [sys.executable, "-m", *wrapper, f"llava.serve.{name}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    if patched is not None:
        environment["PYTHONPATH"] = str(patched)
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        _wait(process, name, log, ready)
        yield
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], name: str, log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if ready():
                return
        time.sleep(0.2)
    raise RuntimeError(f"{name} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
