"""The page in headless Chromium, wide and narrow: a picture is dropped, faces are boxed, answers appear."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"{missing()} is not installed")

_DROP = """
const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "portrait.png", {type: "image/png"}));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
"""


@pytest.fixture(scope="module")
def page(server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("downloads")) as session:
        session.downloads = next(iter(tmp_path_factory.getbasetemp().glob("downloads*")))
        session.open(server.address)
        wait(session, "return document.body.dataset.ready === '1'")
        yield session


def wait(session: Browser, script: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not session.run(script):
        assert time.monotonic() < end, session.run("return document.body.innerText")
        time.sleep(0.1)


def drop(session: Browser, picture: Path) -> None:
    session.run(_DROP % base64.b64encode(picture.read_bytes()).decode())
    wait(session, "return document.getElementById('status').textContent === 'Done.'")


def test_a_dropped_picture_is_boxed_and_read(page, portrait):
    drop(page, portrait)
    assert page.run("return document.querySelectorAll('#picture rect').length") == 1
    assert page.run("return document.querySelectorAll('#picture circle').length") == 68
    names = "return [...document.querySelectorAll('article')].map(a => a.dataset.task + ':' + a.dataset.model)"
    cards = page.run(names)
    assert cards == ["au:model", "emotion:model"]
    assert page.run("return [...document.querySelectorAll('.read')].every(r => r.textContent.length > 0)")


def test_both_models_answer_where_that_is_asked_for(page, portrait):
    page.run("document.getElementById('compare').click()")
    drop(page, portrait)
    assert page.run("return document.querySelectorAll('article').length") == 4
    page.run("document.getElementById('compare').click()")


def test_results_are_saved(page, portrait):
    drop(page, portrait)
    page.click("#csv")
    end = time.monotonic() + 30
    while not (files := list(page.downloads.glob("faces*.csv"))):
        assert time.monotonic() < end
        time.sleep(0.1)
    lines = files[0].read_text().splitlines()
    assert lines[0].startswith("source,time,face,x,y") and lines[1].startswith("portrait.png,,0,")


def test_everything_is_named_and_reached_by_keys(page, portrait):
    drop(page, portrait)
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, svg[role=img], img')].filter(e => !(e.textContent.trim() "
        "|| e.getAttribute('aria-label') || e.alt || e.labels?.length)).length"
    )
    assert nameless == 0
    focused = page.run("document.querySelector('#choose button').focus(); return document.activeElement.textContent")
    assert focused == "Face 1"
    assert page.run("return getComputedStyle(document.activeElement).display !== 'none'")
    assert page.run("return document.querySelector('[aria-live]') !== null && document.documentElement.lang === 'en'")


def test_at_a_phones_width_nothing_is_cut_off(page, portrait):
    page.call("POST", "/window/rect", {"width": 390, "height": 844})
    drop(page, portrait)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.call("POST", "/window/rect", {"width": 1000, "height": 900})


def test_clear_forgets_here_and_on_the_server(page, portrait):
    drop(page, portrait)
    page.click("#clear")
    wait(page, "return document.getElementById('status').textContent.startsWith('Cleared')")
    assert page.run("return document.querySelectorAll('article, #picture rect').length") == 0
