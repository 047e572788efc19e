"""The page's server: faces, streamed answers, limits, and who may ask."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")

from llava_faba.app import server as server_module
from llava_faba.app.access import Access
from llava_faba.app.asking import _piece

OURS = {"X-Llava-Faba": "1"}


def ask(address: str, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    sent = {**(OURS if data is not None else {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(address + path, data, {k: v for k, v in sent.items() if v})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def events(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(part[6:]) for part in data.decode().split("\n\n") if part]


def test_faces_are_found_and_answers_streamed(server, portrait):
    status, body, _ = ask(server.address, "api/pictures", portrait.read_bytes())
    found = json.loads(body)
    assert status == 200 and (found["width"], found["height"]) == (230, 260)
    (face,) = found["faces"]
    assert len(face["points"]) == 68 and 40 < face["width"] < 230
    status, body, headers = ask(server.address, f"api/pictures/{found['id']}/0/au", b"")
    said = events(body)
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream")
    read = said[-1]["read"]
    assert "".join(one["piece"] for one in said[:-1]).strip() == read["text"]
    assert read["prior"] in ("found", "not_found") and set(read) >= {"aus", "text", "model"}


def test_answers_are_those_of_analyze(server, model, portrait, tmp_path):
    from llava_faba.analysis.run import analyze
    from llava_faba.analysis.settings import AnalyzeSettings
    from llava_faba.inference.generate import GenerateSettings

    rows = analyze(
        portrait,
        model,
        out=tmp_path / "out",
        settings=AnalyzeSettings(finder="dlib-68"),
        generate=GenerateSettings(max_new_tokens=8),
    ).rows
    found = json.loads(ask(server.address, "api/pictures", portrait.read_bytes())[1])
    for task in ("au", "emotion"):
        read = events(ask(server.address, f"api/pictures/{found['id']}/0/{task}", b"")[1])[-1]["read"]
        assert read["text"] == rows[0][f"{task}_text"]


def test_a_clip_is_read_frame_by_frame_and_deleted(server, portrait, tmp_path):
    av = pytest.importorskip("av")
    picture = np.asarray(Image.open(portrait))[:260, :230]
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 230, 260, "yuv420p", 4_000_000
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    status, body, _ = ask(server.address, "api/clips?every=0.5", clip.read_bytes())
    rows = [one["row"] for one in events(body)]
    assert status == 200 and [row["time"] for row in rows] == [0.0, 0.5] and {row["face"] for row in rows} == {0}
    assert all(row["picture"].startswith("data:image/jpeg") and "au_text" in row for row in rows)
    (private,) = server.temporary.glob("llava-faba-app-*")
    assert list(private.iterdir()) == [] and private.stat().st_mode & 0o077 == 0


BAD = {
    "text": (b"not a picture", "not a readable image"),
    "nothing": (b"", "not a readable image"),
    "a script": (b"%!PS-Adobe-3.0 EPSF-3.0\n", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_a_sentence(server, name):
    data, expected = BAD[name]
    status, body, _ = ask(server.address, "api/pictures", data)
    assert status == 400 and expected in json.loads(body)["error"] and len(json.loads(body)["error"]) > 10


def test_a_clip_that_is_none_is_a_sentence(server):
    status, body, _ = ask(server.address, "api/clips", b"no clip")
    assert status == 200 and "not a video" in events(body)[-1]["error"]
    assert ask(server.address, "api/clips?every=nan", b"x")[0] == 400


def test_what_is_no_longer_here_is_a_sentence(server):
    status, body, _ = ask(server.address, "api/pictures/none/0/au", b"")
    assert status == 400 and "drop it again" in json.loads(body)["error"]


def test_uploads_have_a_limit(monkeypatch):
    import asyncio

    async def body() -> Any:
        for _ in range(4):
            yield b"x" * 10

    async def read() -> bytes:
        return b"".join([block async for block in server_module._blocks(SimpleNamespace(stream=body), 25)])

    with pytest.raises(server_module.UserError, match="limit"):
        asyncio.run(read())


def test_the_page_loads_nothing_from_elsewhere_and_sets_its_policy(server):
    status, body, headers = ask(server.address, "")
    assert status == 200 and b"http" not in body.replace(b"http-equiv", b"")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for name in ("../setup.cfg", "%2e%2e/setup.cfg", "server.py"):
        assert ask(server.address, name)[0] == 404


REFUSED = {
    "another page's form": {"X_Llava_Faba": ""},
    "another origin": {"Origin": "http://elsewhere.example"},
    "another name for this machine": {"Host": "elsewhere.example"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_pages_cannot_ask(server, portrait, name):
    status, body, _ = ask(server.address, "api/pictures", portrait.read_bytes(), **REFUSED[name])
    assert status == 403 and json.loads(body)["error"]


def request(host: str, **values: Any) -> Any:
    fields = {"headers": {"host": host}, "query_params": {}, "cookies": {}, "method": "GET"}
    return SimpleNamespace(**{**fields, **values})


def test_a_token_guards_every_other_address():
    open_to_all = Access("0.0.0.0", 80)
    assert open_to_all.token and f"?token={open_to_all.token}" in open_to_all.address
    assert open_to_all.refusal(request("10.0.0.1")) is not None
    assert open_to_all.refusal(request("10.0.0.1", query_params={"token": "guess"})) is not None
    assert open_to_all.refusal(request("10.0.0.1", query_params={"token": open_to_all.token})) is None
    assert open_to_all.refusal(request("10.0.0.1", cookies={"llava_faba_token": open_to_all.token})) is None
    for own in ("127.0.0.1", "localhost", "::1"):
        assert Access(own, 80).token is None
    for name in ("localhost:80", "127.0.0.1:80", "[::1]:80"):
        assert Access("127.0.0.1", 80).refusal(request(name)) is None
    assert Access("127.0.0.1", 80).refusal(request("evil.example")) is not None


@pytest.mark.parametrize(
    ("line", "piece"),
    [
        ('data: {"choices":[{"delta":{"content":"AU"}}]}', "AU"),
        ("data: [DONE]", ""),
        ("data: {broken", ""),
        ('data: {"choices":[]}', ""),
        (": ping", ""),
    ],
)
def test_lines_of_an_event_stream(line, piece):
    assert _piece(line) == piece


def test_a_port_that_is_taken_is_a_sentence(server, model):
    import subprocess
    import sys

    port = server.address.rstrip("/").rpartition(":")[2]
    words = [
        sys.executable,
        "-m",
        "llava_faba",
        "app",
        "--model-path",
        str(model),
        "--finder",
        "dlib-68",
        "--port",
        port,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"127.0.0.1:{port}" in done.stderr and "Traceback" not in done.stderr
