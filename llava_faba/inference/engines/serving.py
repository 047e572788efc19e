"""``llava-faba serve``: vLLM's own server for an EmoLA folder, with settings that suit it, and how to ask it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from llava_faba.devices import choose_device
from llava_faba.errors import UserError
from llava_faba.inference.engines.kinds import check_vllm, native_config
from llava_faba.inference.engines.running import KEY, alias_of, environment, key_of_environment, vllm_arguments
from llava_faba.packages import is_installed
from llava_faba.vetting.native import vet_folder

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_QUESTION = "What AUs are conveyed by this face?"


@dataclass(frozen=True)
class ServeSettings:
    """``name``: of the model, in requests (default: the folder's). ``trust_priors``: requests may bring priors.
    ``more``: passed on to ``vllm serve`` as it is."""

    host: str = "127.0.0.1"
    port: int = 8000
    name: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    tensor_parallel: int = 1
    data_parallel: int = 1
    trust_priors: bool = False
    more: tuple[str, ...] = ()


def serve_command(model_path: str, settings: ServeSettings) -> tuple[list[str], dict[str, str]]:
    """The command of the server and its environment. The model has its name and one that says by content what it is.

    Raises UserError for a folder that is none of transformers, without vLLM, and for an address that others reach
    without a key in the environment (``VLLM_API_KEY``).
    """
    if native_config(model_path) is None:
        raise UserError(
            f"{model_path}: 'serve' takes a folder that 'llava-faba checkpoint to-transformers --model-path "
            f"{model_path} --out DIR' makes; LLaVA's own servers take its checkpoints (docs/serving.md)."
        )
    check_vllm(model_path)
    vet_folder(model_path)
    if not is_installed("vllm"):
        raise UserError("'serve' needs vLLM, which is not installed here: pip install vllm")
    if settings.host not in _LOOPBACK and not key_of_environment():
        raise UserError(
            f"--host {settings.host} is open to others: put a key into {KEY} first, which clients then send."
        )
    device = choose_device(settings.device)
    arguments = [
        *vllm_arguments(model_path, settings.dtype, device, settings.host),
        *("--port", str(settings.port), "--served-model-name", _name(model_path, settings), alias_of(model_path)),
        *("--tensor-parallel-size", str(settings.tensor_parallel)),
        *("--data-parallel-size", str(settings.data_parallel)),
        *(["--trust-request-mm-kwargs"] if settings.trust_priors else []),
        *settings.more,
    ]
    processes = settings.tensor_parallel * settings.data_parallel
    return [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", *arguments], environment(device, processes)


def ways_to_ask(model_path: str, settings: ServeSettings) -> tuple[str, str]:
    """A line for a shell with curl and one with Python's openai client, about ``face.jpg`` in the current folder."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
    url = f"http://{host}:{settings.port}/v1"
    name = _name(model_path, settings)
    body = (
        f'{{"model": "{name}", "temperature": 0, "messages": [{{"role": "user", "content": [{{"type": "image_url", '
        '"image_url": {"url": "data:image/jpeg;base64,%s"}}, '
        f'{{"type": "text", "text": "{_QUESTION}"}}]}}]}}'
    )
    key = f'-H "Authorization: Bearer ${KEY}" ' if key_of_environment() else ""
    # The picture goes through a pipe: an argument of a command may have 128 KiB at most.
    curl = (
        f'printf {shlex.quote(body)} "$(base64 -w0 face.jpg)" | curl -s {url}/chat/completions {key}'
        "-H 'Content-Type: application/json' -d @-"
    )
    python = (
        "import base64, openai, os; url = 'data:image/jpeg;base64,' + base64.b64encode(open('face.jpg', 'rb').read())"
        f".decode(); print(openai.OpenAI(base_url='{url}', api_key=os.environ.get('{KEY}', '-')).chat.completions"
        f".create(model='{name}', temperature=0, messages=[{{'role': 'user', 'content': [{{'type': 'image_url', "
        f"'image_url': {{'url': url}}}}, {{'type': 'text', 'text': '{_QUESTION}'}}]}}]).choices[0].message.content)"
    )
    return curl, f"python -c {shlex.quote(python)}"


def _name(model_path: str, settings: ServeSettings) -> str:
    name = settings.name or Path(model_path).resolve().name
    if not name or any(sign in name for sign in "\"'\\%") or not name.isprintable():
        raise UserError(f"--name {name!r}: a name without quotes, backslashes and percent signs is wanted.")
    return name
