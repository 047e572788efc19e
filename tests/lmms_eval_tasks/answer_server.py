"""An OpenAI-compatible server that looks at the picture it is sent: its answer depends on question and pixels."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ANSWERS = {
    "What AUs are conveyed by this face?": ("AU1 and AU4 are active.", "AU12 is seen, AU25 is not.", "Nothing moves."),
    "What emotions are conveyed by this face?": ("She looks happy.", "He is sad. The eyes show fear.", "Anger."),
}


def answer(question: str, pixels: bytes) -> str:
    """One of three answers, chosen by the picture."""
    choices = ANSWERS[question]
    return choices[hashlib.sha256(pixels).digest()[0] % len(choices)]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        from PIL import Image

        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = body["messages"][-1]["content"]
        question = "".join(part["text"] for part in parts if part["type"] == "text").strip()
        data = next(part["image_url"]["url"] for part in parts if part["type"] == "image_url").split(",", 1)[1]
        pixels = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").tobytes()
        message = {"role": "assistant", "content": answer(question, pixels)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._send(
            {"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        )

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def answer_server() -> Iterator[str]:
    """The server's base URL, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
