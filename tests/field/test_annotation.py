"""Servers and photographs as people report them, asked by the command itself (data/field/annotation_server.py)."""

from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotation_server import KEY, Server
from PIL import Image

FIELD = Path(__file__).parent.parent / "data" / "field"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    running = subprocess.Popen([sys.executable, str(FIELD / "annotation_server.py"), str(number)])
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", number), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield number
    running.kill()
    running.wait()


def annotate(base: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llava_faba.cli", "data", "annotate", "--task", "au", "--yes", "--no-progress"]
    command += ["--images", str(FIELD / "annotate-exif" / "faces"), "--out", str(out), "--model", "m"]
    return subprocess.run(
        [*command, "--base-url", base, "--first-pause", "0.05", "--attempts", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("habit", ["think", "nomax", "list", "surrogate"])
def test_a_habit_changes_no_label_and_costs_nothing_twice(port: int, tmp_path: Path, habit: str) -> None:
    base = f"http://127.0.0.1:{port}/{habit}/v1"
    result = annotate(base, tmp_path)
    assert result.returncode == 0, result.stderr
    records = json.loads((tmp_path / "train_au_anno.json").read_text(encoding="utf-8"))
    assert [record["label"] for record in records] == ["6, 12", "6, 12"]
    for record in records:
        answer = record["conversations"][1]["value"]
        assert answer.startswith("The face shows a broad and happy expression")
        assert "AU4" not in answer and "think" not in answer
        assert answer.endswith(" \ufffd." if habit == "surrogate" else "up and back.")
    again = annotate(base, tmp_path)
    assert "0 answered, 2 there already, 0 failed" in again.stdout


def test_annotate_exif_both_photographs_are_sent_upright(tmp_path: Path) -> None:
    import threading

    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        assert annotate(server.url, tmp_path).returncode == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert len(server.payloads) == 2
    for payload in server.payloads:
        url = payload["messages"][0]["content"][1]["image_url"]["url"]
        with Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))) as image:
            assert image.width < image.height
            assert image.getexif().get(0x0112, 1) == 1
    assert KEY not in (tmp_path / "raw.jsonl").read_text()
