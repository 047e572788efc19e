"""A port that is taken ends LLaVA's controller and worker, whichever way they are started."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from support import llava_faba_command, run_python

from llava_faba.compat.servers import ending_with_its_server
from llava_faba.errors import UserError

WORKER, CONTROLLER = "llava.serve.model_worker", "llava.serve.controller"


@pytest.fixture
def taken() -> Iterator[str]:
    """A port of 127.0.0.1 that something listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize("program", [CONTROLLER, WORKER])
@pytest.mark.parametrize("form", ["--port {}", "--port={}", "--port 1 --port {}"])
def test_a_taken_port_is_a_sentence_before_a_model_is_loaded(program, form, taken):
    words = [*form.format(taken).split(), "--host", "127.0.0.1", "--worker-address", f"http://127.0.0.1:{taken}"]
    with pytest.raises(UserError, match=f"{taken}: the port is in use"), ending_with_its_server(program, words):
        raise AssertionError("it was started")


def test_all_interfaces_and_one_of_them_are_one_port(taken):
    with (
        pytest.raises(UserError, match="in use"),
        ending_with_its_server(CONTROLLER, ["--host=0.0.0.0", "--port", taken]),
    ):
        raise AssertionError("it was started")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "198.51.100.7"])
def test_a_host_that_is_not_here_is_a_sentence(host):
    with pytest.raises(UserError, match=host), ending_with_its_server(CONTROLLER, ["--host", host]):
        raise AssertionError("it was started")


def free() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_a_worker_does_not_go_by_another_ones_address():
    """LLaVA's default address is port 21002, whatever --port says: the controller would ask the other worker."""
    told = pytest.raises(UserError, match="--worker-address http://localhost")
    with told, ending_with_its_server(WORKER, ["--port", free()]):
        raise AssertionError("it was started")
    ran = []
    with ending_with_its_server(WORKER, ["--port", free(), "--no-register"]):
        ran.append(1)
    assert ran


def test_other_programs_are_left_alone(taken):
    ran = []
    with ending_with_its_server("llava.serve.cli", ["--port", taken]):
        ran.append(1)
    assert ran


STARTED_TOO_LATE = """
import sys, threading, time
from llava_faba.compat.servers import ending_with_its_server
with ending_with_its_server("llava.serve.controller", ["--port", sys.argv[1]]):
    threading.Thread(target=time.sleep, args=(60,)).start()
    sys.exit(1)  # what uvicorn does when another took the port meanwhile
"""


def test_a_server_that_loses_its_port_while_starting_ends_with_its_threads():
    began = time.monotonic()
    result = run_python("-c", STARTED_TOO_LATE, free())
    assert result.returncode == 1 and time.monotonic() - began < 50
    assert result.stderr.startswith("llava.serve.controller: ended")


@pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="needs 'pip install llava-faba[serve]'")
def test_the_second_controller_ends(taken, tmp_path):
    where = ["--host", "127.0.0.1", "--port", taken]
    result = llava_faba_command("run", CONTROLLER, *where, cwd=tmp_path)
    assert result.returncode == 2 and "in use" in result.stderr and "Traceback" not in result.stderr, result.stderr


@pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="needs 'pip install llava-faba[serve]'")
def test_the_second_controller_ends_with_the_plugin_hook_too(taken, patched, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(patched), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", CONTROLLER, "--host", "127.0.0.1", "--port", taken]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2 and "in use" in result.stderr, result.stderr
