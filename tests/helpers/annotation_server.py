"""A real local HTTP server that misbehaves in every way a real one does."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

KEY = "sk-test-0123456789-secret"
GOOD = (
    "The face shows a broad and friendly smile. AU6 - Cheek raiser: the cheeks are lifted. AU12 - Lip corner "
    "puller: the corners of the mouth are drawn up and back."
)


def completion(text: str = GOOD, finish_reason: str = "stop") -> bytes:
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    }
    return json.dumps(body).encode()


class Server(ThreadingHTTPServer):
    """Answers image ``n`` (its top left grey value) with the acts planned for it, one after the other."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: dict[int, list[str]] = {}
        self.default = "good"
        self.bodies: dict[str, bytes] = {}
        self.paths: list[str] = []
        self.seen: Counter[int] = Counter()
        self.times: list[float] = []
        self.headers_seen: list[dict[str, str]] = []
        self.payloads: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    payload: dict[str, Any]
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        payload = self.payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        url = payload["messages"][0]["content"][1]["image_url"]["url"]
        with Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))) as image:
            number = round(image.convert("L").getpixel((0, 0)) / 10)
        with server.lock:
            acts = server.plan.get(number, [])
            position = server.seen[number]
            act = acts[position] if position < len(acts) else server.default
            server.seen[number] += 1
            server.times.append(time.monotonic())
            server.headers_seen.append(dict(self.headers))
            server.payloads.append(payload)
            server.paths.append(self.path)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            getattr(self, f"act_{act.split('|')[0]}")(*act.split("|")[1:])
        finally:
            with server.lock:
                server.in_flight -= 1

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def act_good(self) -> None:
        self.reply(200, completion())

    def act_body(self, name: str, status: str = "200") -> None:
        self.reply(int(status), self.server.bodies[name])

    def act_unless(self, unwanted: str, wanted: str = "") -> None:
        """400 for a request with the field ``unwanted``, in the words of the API that made the other one up."""
        if unwanted in self.payload:
            message = f"Unsupported parameter: '{unwanted}' is not supported with this model."
            message += f" Use '{wanted}' instead." if wanted else ""
            error = {"message": message, "param": unwanted, "code": "unsupported_parameter"}
            self.reply(400, json.dumps({"error": error}).encode())
        else:
            self.reply(200, completion())

    def act_reason(self, status: str) -> None:
        """The key in the reason phrase."""
        self.wfile.write(f"HTTP/1.1 {status} {self.headers['Authorization']}\r\nContent-Length: 0\r\n\r\n".encode())
        self.close_connection = True

    def act_cut(self, size: str) -> None:
        """A long error whose end is the beginning of the key."""
        key = self.headers["Authorization"].removeprefix("Bearer ")
        body = b"x" * (int(size) - 12) + key.encode()
        self.reply(500, body + b"y" * 100)

    def act_halfkey(self, letters: str) -> None:
        """A body that breaks off within the key."""
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b'{"you sent": "' + KEY[: int(letters)].encode())
        self.wfile.flush()
        self.connection.close()

    def act_dripheaders(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n":
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)

    def act_driperror(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def act_slow(self) -> None:
        time.sleep(0.15)
        self.reply(200, completion())

    def act_text(self, text: str, finish_reason: str = "stop") -> None:
        self.reply(200, completion(text, finish_reason))

    def act_status(self, status: str) -> None:
        # servers do send back what they were sent
        self.reply(int(status), f"error, your header was {self.headers['Authorization']}".encode())

    def act_busy(self, seconds: str) -> None:
        self.reply(429, b"slow down", Retry_After=seconds)

    def act_redirect(self) -> None:
        self.reply(307, b"", Location=self.server.url.replace("127.0.0.1", "localhost") + "/chat/completions")

    def act_invalid(self) -> None:
        self.reply(200, b'{"choices": [{"message": {"content": "AU1')

    def act_nochoice(self) -> None:
        self.reply(200, b'{"choices": []}')

    def act_empty(self) -> None:
        self.reply(200, completion("   "))

    def act_paidforempty(self) -> None:
        self.reply(200, completion(""))

    def act_echo(self) -> None:
        # the key in escapes, as some JSON writers spell it
        key = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
        self.reply(200, completion(f"{GOOD} KEYHERE.").replace(b"KEYHERE", key.encode()))

    def act_half(self) -> None:
        body = completion()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.connection.close()

    def act_halfchunk(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"40\r\n" + completion()[:20])
        self.wfile.flush()
        self.connection.close()

    def act_hang(self) -> None:
        time.sleep(2.5)

    def act_drip(self) -> None:
        body = completion()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body[:40]:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)

    def act_drop(self) -> None:
        self.connection.close()
