"""vLLM in tests: what it needs beside torch's CPU build, and servers as real processes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import free_port, kill_tree

STAND_INS = Path(__file__).parents[1] / "vllm_engine" / "stand_ins"
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(STAND_INS), os.environ.get("PYTHONPATH")])),
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take most of the machine
    "VLLM_NO_USAGE_STATS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
}
_PATIENCE = 900


def in_this_process() -> None:
    """What ``ENVIRONMENT`` does for processes that are started, for this one."""
    os.environ.update(ENVIRONMENT)
    if str(STAND_INS) not in sys.path:
        sys.path.insert(0, str(STAND_INS))
        spec = importlib.util.spec_from_file_location("vllm_stand_ins", STAND_INS / "sitecustomize.py")
        assert spec and spec.loader
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@dataclass
class Serving:
    """``llava-faba serve`` as a process; ``said``: what it printed so far."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}:\n{self.said[-4000:]}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if urllib.request.urlopen(f"{self.url}/health", timeout=10).status == 200:
                    return
            time.sleep(0.5)
        raise RuntimeError(f"does not answer:\n{self.said[-4000:]}")


@contextlib.contextmanager
def serving(
    model: Path, log: Path, *arguments: str, port: int | None = None, key: str | None = None
) -> Iterator[Serving]:
    """``llava-faba serve``, answering, and killed with all that it started at the end."""
    port = port or free_port()
    environment = {**os.environ, **ENVIRONMENT} | ({"VLLM_API_KEY": key} if key else {})
    command = [sys.executable, "-m", "llava_faba", "serve", str(model), f"--port={port}", "--dtype=float32", *arguments]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    found = Serving(process, port, log)
    try:
        found.wait()
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            kill_tree(process.pid)
        process.wait()
