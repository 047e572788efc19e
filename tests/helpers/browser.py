"""A real browser for pages, by the WebDriver protocol (w3.org/TR/webdriver2): Chromium and its driver."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import free_port

_FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
_FLAGS += "--disable-component-update --disable-sync --window-size=1000,900"


def missing() -> str | None:
    """Which of the two programs is not installed, or None."""
    return next((name for name in ("chromium", "chromedriver") if shutil.which(name) is None), None)


class Browser:
    """One session; elements are found by CSS selectors."""

    def __init__(self, address: str) -> None:
        self._address = address

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
            return json.load(response)["value"]

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"/element/{next(iter(found.values()))}/click", {})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextmanager
def browser(profile: Path, downloads: Path) -> Iterator[Browser]:
    """A headless browser with an empty profile, which saves downloads without asking."""
    port = free_port()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = {
        "args": [*_FLAGS.split(), f"--user-data-dir={profile}"],
        "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
    }
    capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
    root = Browser(f"http://127.0.0.1:{port}")
    try:
        for _ in range(200):
            try:
                root.call("GET", "/status")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        session = root.call("POST", "/session", {"capabilities": capabilities})["sessionId"]
        yield Browser(f"http://127.0.0.1:{port}/session/{session}")
        root.call("DELETE", f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait()
