"""A vLLM server: started for one run, or found at an address; and whether it serves the model that it should."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faba_bench.chat.address import refuse_plain_key
from faba_bench.chat.secret import Scrubber, clean_key
from faba_bench.files.jsonfiles import parse_json
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError
from llava_faba.inference.settings import GenerateSettings
from llava_faba.model.fingerprint import fingerprint
from llava_faba.packages import is_installed
from llava_faba.ports import free_port
from llava_faba.vetting.native import vet_folder

KEY = "VLLM_API_KEY"
_START_SECONDS = 1800
_TOLD = 2000
_LONGEST = 64 << 20  # bytes of an answer


@dataclass
class Server:
    """``url`` without a slash at its end; ``model``: the name to ask for; ``process``: of one that was started here.

    ``key`` goes into one header and is taken out of all that comes back, whoever repeats it.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    _parts: urllib.parse.SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._parts = urllib.parse.urlsplit(self.url)
        self._scrub = Scrubber(self.key or "")

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """(HTTP status, the answer's JSON; its beginning where it is none). Raises OSError where nobody answers."""
        return self._asked("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> tuple[int, Any]:
        return self._asked("GET", path, None)

    def _asked(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=3600)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, self._parts.path + path, body, headers)
            answer = connection.getresponse()
            content = answer.read(_LONGEST + 1)
        except (http.client.HTTPException, OSError) as error:
            # Not chained: the library's own exception may hold what the server sent.
            raise ConnectionError(self._scrub(printable(f"{type(error).__name__}: {error}"))[:_TOLD]) from None
        finally:
            connection.close()
        if len(content) > _LONGEST:
            raise ConnectionError(f"the answer is longer than {_LONGEST >> 20} MB")
        text = self._scrub(content.decode(errors="replace"))
        try:
            return answer.status, parse_json(text, path) if text else None
        except FileProblem:
            return answer.status, printable(text[:_TOLD])

    def check_alive(self) -> None:
        """Raise UserError when a server that was started here has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise UserError(
                f"vLLM ended with exit code {self.process.returncode} (its messages: {self.log}); answers so far are "
                f"kept, the same command resumes from there.\n{_last_error(self.log)}"
            )


def key_of_environment() -> str | None:
    """The key in ``VLLM_API_KEY``, without what a shell or a file left around it. Raises UserError, not showing it."""
    return clean_key(os.environ.get(KEY, ""), f"the key in {KEY}", UserError) or None


def alias_of(model_path: str) -> str:
    """The served name that says by content which model this is."""
    return f"emola-{fingerprint([Path(model_path)])[:16]}"


@contextlib.contextmanager
def running_server(url: str, model_path: str) -> Iterator[Server]:
    """The server at ``url`` (with or without /v1). Raises UserError where nobody answers, or with another model."""
    url = url.rstrip("/").removesuffix("/v1")
    check_address(url)
    server = Server(url, "", key_of_environment())
    try:
        status, found = server.get("/v1/models")
    except OSError as error:
        raise UserError(
            f"{url}: nobody answers ({error}); start 'llava-faba serve --model-path {model_path}'."
        ) from error
    if status != 200 or not isinstance(found, dict):
        raise UserError(f"{url}/v1/models answers {status}: is it a vLLM server, and {KEY} its key?")
    server.model = _name_of(found, url, model_path)
    yield server


def check_address(url: str) -> None:
    """Raises UserError for what is no address, holds a password, or would carry the key unencrypted."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_one = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_one = False
    if is_one and (parts.username or parts.password):
        raise UserError(f"--endpoint must not hold a password: the key belongs into {KEY}.")
    if is_one and key_of_environment():
        refuse_plain_key(url, "--endpoint", error=UserError)
    if not is_one or not (url.isascii() and url.isprintable()) or " " in url:
        raise UserError(f"--endpoint {printable(url)}: an address such as http://127.0.0.1:8000 is wanted.")


def _name_of(found: dict[str, Any], url: str, model_path: str) -> str:
    """The served model that is the folder's, by content, or by its path on this machine."""
    wanted = alias_of(model_path)
    listed = found.get("data")
    cards = [card for card in listed if isinstance(card, dict)] if isinstance(listed, list) else []
    names = [str(card.get("id")) for card in cards]
    if wanted in names:
        return wanted
    others = [name for name in names if name.startswith("emola-") and len(name) == len(wanted)]
    roots = {str(card.get("root")) for card in cards}
    same = any(Path(root).is_absolute() and Path(root).resolve() == Path(model_path).resolve() for root in roots)
    if not others and same:
        return names[0]
    told = printable(", ".join(names))[:_TOLD] or "nothing"
    raise UserError(
        f"{url} serves {told}, and nothing says that this is {model_path}: start it by "
        f"'llava-faba serve', or with --served-model-name NAME {wanted}."
    )


@contextlib.contextmanager
def started_server(model_path: str, settings: GenerateSettings, log: Path) -> Iterator[Server]:
    """A vLLM server of this run alone: on the loopback interface, with a key of its own, ended with this process."""
    if not is_installed("vllm"):
        raise UserError("--engine vllm needs vLLM: pip install vllm (or a server that is running: --endpoint URL).")
    vet_folder(model_path)
    port, key = free_port(), secrets.token_urlsafe(24)
    messages = log.with_name(log.name.removesuffix(".errors.log") + ".vllm.log")
    command = [
        *(sys.executable, "-m", "llava_faba.inference.engines.launch", str(os.getpid())),
        *vllm_arguments(model_path, settings.dtype, settings.device),
        *("--port", str(port), "--served-model-name", alias_of(model_path)),
        *("--tensor-parallel-size", str(settings.tensor_parallel)),
        *("--data-parallel-size", str(settings.data_parallel)),
        "--trust-request-mm-kwargs",
    ]
    with messages.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env={**environment(settings.device, settings.tensor_parallel * settings.data_parallel), KEY: key},
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", alias_of(model_path), key, process, messages)
    try:
        _wait(server)
        yield server
    finally:
        _end(process)


def vllm_arguments(model_path: str, dtype: str, device: str, host: str = "127.0.0.1") -> list[str]:
    """What follows ``vllm serve`` for an EmoLA folder.

    On a CPU vLLM's blocks hold 128 tokens unless told: no prompt of ours would share one with another in the prefix
    cache, and attention would go over empty places. 32 is the least that it takes there.
    """
    arguments = [str(model_path), "--host", host, "--dtype", dtype, "--limit-mm-per-prompt", '{"image": 1}']
    return [*arguments, "--enforce-eager", "--block-size", "32"] if device == "cpu" else arguments


def environment(device: str, processes: int = 1) -> dict[str, str]:
    """Of a vLLM process: on a CPU it would take most of the memory for its cache, here a gigabyte unless told.

    Several processes (copies times parts) share this machine's cores there, for which vLLM wants a NUMA node each.
    """
    found = {**os.environ, "VLLM_NO_USAGE_STATS": os.environ.get("VLLM_NO_USAGE_STATS", "1")}
    key = key_of_environment()  # with a line end behind it, no client's key would be equal
    found |= {KEY: key} if key else {}
    if not key:
        found.pop(KEY, None)
    if device == "cpu":
        found.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        if processes > 1:
            found.setdefault("VLLM_CPU_OMP_THREADS_BIND", _shares(sorted(os.sched_getaffinity(0)), processes))
    return found


def _shares(cores: list[int], processes: int) -> str:
    """The cores of each process as vLLM reads them: ``0,2|1,3``; with too few, several share one."""
    shares = [cores[number::processes] or [cores[number % len(cores)]] for number in range(processes)]
    return "|".join(",".join(str(core) for core in share) for share in shares)


def _wait(server: Server) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        server.check_alive()
        with contextlib.suppress(OSError):
            if server.get("/health")[0] == 200:
                return
        time.sleep(0.5)
    raise UserError(f"vLLM does not answer after {_START_SECONDS} s; its messages: {server.log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server and all that it started, which is one process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_error(log: Path | None) -> str:
    """The last line of a log that names an error."""
    if log is None or not log.is_file():
        return ""
    lines = log.read_bytes()[-200_000:].decode(errors="replace").splitlines()
    return next((line[-_TOLD:] for line in reversed(lines) if "Error" in line), "")
