"""``--endpoint``: what a server of somebody else answers, and the key, which nobody gets to see."""

from __future__ import annotations

import contextlib
import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faba_bench.chat.address import refuse_plain_key

from llava_faba.app.asking import Served
from llava_faba.cli.main import main
from llava_faba.errors import UserError
from llava_faba.inference.engines.running import Server, key_of_environment, running_server
from llava_faba.inference.engines.server import _answer
from llava_faba.inference.engines.serving import ServeSettings, serve_command

KEY = "sk-endpoint-0123456789-secret"
_BODY = json.dumps({"error": {"message": f"key {KEY}"}})
ANSWERS = {
    "in the body": f"HTTP/1.1 500 x\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}",
    "in the reason": f"HTTP/1.1 401 no {KEY}\r\nContent-Length: 2\r\n\r\n[]",
    "as the status line": f"{KEY} {KEY}\r\n\r\n",
    "as the status": f"HTTP/1.1 {KEY} x\r\n\r\n",
    "in a header": f"HTTP/1.1 403 x\r\nX-Key: {KEY}\r\nContent-Length: 0\r\n\r\n",
    "as a name": "HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"data": [{"id": KEY, "root": KEY}]}),
    "cut": f"HTTP/1.1 200 OK\r\n\r\n{'x' * 1980}{KEY}",
    "cut by a broken connection": f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nno {KEY[:-3]}",
    "escaped": "HTTP/1.1 200 OK\r\n\r\n" + "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "no chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n",
    "steering": "HTTP/1.1 200 OK\r\n\r\n\x1b[2J" + KEY,
    "nothing": "",
    "data is none": "HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"data": None}),
    "deep": "HTTP/1.1 200 OK\r\n\r\n" + "[" * 100_000,
}


class Echo(socketserver.ThreadingTCPServer):
    """Reads a request and answers with ``said`` as it is."""

    daemon_threads = allow_reuse_address = True
    said = ""
    asked = b""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.server.asked = self.request.recv(65536)  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):  # an answer without end is not read to its end
                self.request.sendall(self.server.said.encode())  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo(("127.0.0.1", 0), Echo.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def native(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_type": "emola", "landmark_feature_hidden_size": 136, "facial_prior_expert": "dlib-68"}
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "q.jsonl").write_text('{"question_id": "1", "image": "1.png", "text": "Which AUs?"}\n')
    return folder


@pytest.mark.parametrize("habit", ANSWERS)
@pytest.mark.parametrize("end", [pytest.param("", marks=pytest.mark.slow), "\r\n"])
def test_no_way_of_repeating_the_key_shows_it(
    habit: str, end: str, echo: Echo, native: Path, monkeypatch: Any, capsys: Any, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    echo.said = ANSWERS[habit]
    monkeypatch.setenv("VLLM_API_KEY", KEY + end)
    out = native.parent / "out"
    code = main(
        f"bench generate --engine vllm --endpoint {echo.url} --model-path {native} --image-folder {native.parent} "
        f"--question-file {native.parent}/q.jsonl --out {out}/a.jsonl".split()
    )
    said = capsys.readouterr()
    text = said.out + said.err + caplog.text + "".join(p.read_text() for p in out.rglob("*") if p.is_file())
    assert code == 2 and echo.url in text and "Traceback" not in text, text
    assert f"Authorization: Bearer {KEY}\r\n".encode() in echo.asked
    assert not [start for start in range(len(KEY) - 7) if KEY[start : start + 8] in text], text
    assert "\x1b" not in text and len(text) < 4000


@pytest.mark.parametrize("habit", [name for name in ANSWERS if name not in ("nothing", "data is none", "deep")])
@pytest.mark.parametrize("end", ["", "\r\n"])
def test_neither_does_ask(habit: str, end: str, echo: Echo, native: Path, monkeypatch: Any, capsys: Any) -> None:
    from faba_bench.cli import main as bench
    from PIL import Image

    echo.said = ANSWERS[habit]
    monkeypatch.setenv("OPENAI_API_KEY", KEY + end)
    Image.new("RGB", (8, 8)).save(native.parent / "1.png")
    out = native.parent / "out"
    code = bench(
        f"ask --base-url {echo.url}/v1 --model m --image-folder {native.parent} --out {out}/a.jsonl "
        f"--question-file {native.parent}/q.jsonl --attempts 1 --timeout 20".split()
    )
    said = capsys.readouterr()
    text = said.out + said.err + "".join(p.read_text() for p in out.rglob("*") if p.is_file())
    assert code in (1, 2) and "Traceback" not in text and "\x1b" not in text, text
    assert f"Authorization: Bearer {KEY}\r\n".encode() in echo.asked
    assert not [start for start in range(len(KEY) - 7) if KEY[start : start + 8] in text], text


@pytest.mark.parametrize("status", [200, 500])
def test_objects_and_exceptions_of_the_client_hold_no_key(status: int, echo: Echo) -> None:
    server = Server(echo.url, "m", KEY)
    echo.said = f"HTTP/1.1 {status} x\r\n\r\n" + json.dumps({"choices": [{"message": {"content": f"AU4 {KEY}"}}]})
    assert KEY not in repr((server.post("/v1/chat/completions", {}), server))


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "a b", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_carry(key: str, native: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.environ", {"VLLM_API_KEY": key + "0123456789"})
    with pytest.raises(UserError, match="VLLM_API_KEY") as caught:
        key_of_environment()
    assert "0123456789" not in str(caught.value)
    monkeypatch.setattr("llava_faba.inference.engines.serving.is_installed", lambda name: True)
    with pytest.raises(UserError, match="VLLM_API_KEY"):
        serve_command(str(native), ServeSettings(host="0.0.0.0", device="cpu"))


def test_a_server_gets_the_key_that_clients_send(native: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("llava_faba.inference.engines.serving.is_installed", lambda name: True)
    for given, meant in ((KEY + "\r\n", KEY), (f" Bearer {KEY}", KEY), ("\n", None)):
        monkeypatch.setenv("VLLM_API_KEY", given)
        command, environment = serve_command(str(native), ServeSettings(device="cpu"))
        assert environment.get("VLLM_API_KEY") == meant and KEY not in " ".join(command)


@pytest.mark.parametrize(
    "url", ["ftp://h", "http://", "http://h:99999", "http://[::1", "http://h\x1b[2J", "http://u:pw9@h"]
)
def test_an_address_that_is_none(url: str, native: Path) -> None:
    with pytest.raises(UserError, match="--endpoint") as caught, running_server(url, str(native)):
        pass
    assert "pw9" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://10.1.2.3:8000", "http://localhost.evil.example/v1", "http://127.0.0.1.nip.io"])
def test_no_key_goes_unencrypted_to_another_machine(url: str, native: Path, monkeypatch: Any, capsys: Any) -> None:
    """Both commands sent it without a word; `faba-bench ask` and `data annotate` refuse it in the same words."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it was asked"))
    with (
        pytest.raises(UserError, match=r"--endpoint .* would send the key unencrypted"),
        running_server(url, str(native)),
    ):
        pass
    with pytest.raises(UserError, match=r"--endpoint .* would send the key unencrypted"):
        Served(url, max_new_tokens=9)
    refuse_plain_key(url.replace("http:", "https:"), "--endpoint")
    refuse_plain_key("http://[::1]:8000/v1", "--endpoint")


STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("data: " + "[" * 100_000 + "\n\n" + 'data: {"choices": [{"delta": {"content": "AU4"}}]}\n\n', "AU4"),
        (f'data: {{"choices": [{{"delta": {{"content": "{KEY}"}}}}]}}\n\n', "[key]"),
        ("data: x" * (3 << 20), None),
    ],
    ids=["deep", "the key", "without end"],
)
def test_a_served_model_says_what_it_likes(said: str, expected: str | None, echo: Echo, monkeypatch: Any) -> None:
    from PIL import Image

    monkeypatch.setenv("VLLM_API_KEY", KEY)
    echo.said = "HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"data": [{"id": f"m\x1b[2J{KEY}"}]})
    served = Served(f"{echo.url}/v1", max_new_tokens=9)
    assert "\x1b" not in served.name and KEY[:8] not in served.name
    echo.said = STREAM + said
    if expected is None:
        with pytest.raises(UserError, match="longer than 16 MB"):
            served.ask(Image.new("RGB", (8, 8)), "Which AUs?", print)
    else:
        assert served.ask(Image.new("RGB", (8, 8)), "Which AUs?", print) == (expected, None)


@pytest.mark.parametrize(
    "choice",
    [
        None,
        {"message": {"content": ["AU4"]}, "finish_reason": "stop"},
        {"message": {"content": "AU4"}, "finish_reason": "stop", "token_ids": [1, "2"]},
        {"message": {"content": "AU4"}, "finish_reason": "stop", "token_ids": [True]},
        {"message": {"content": "AU4"}, "finish_reason": "stop", "token_ids": 7},
        {"message": None, "finish_reason": "stop"},
        {"message": {"content": "AU4"}},
    ],
)
def test_an_answer_of_another_form_is_none(choice: Any) -> None:
    with pytest.raises((KeyError, IndexError, TypeError, AttributeError)):
        _answer({"choices": [choice]})
    assert _answer({"choices": [{"message": {"content": " AU4 "}, "finish_reason": "length"}]}) == ("AU4", (), "length")
