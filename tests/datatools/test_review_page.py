"""The review page in a real browser: what a person clicks is what ``data annotate --apply`` takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import browser, missing

from llava_faba.datatools.annotate.client import Client
from llava_faba.datatools.annotate.images import targets_in_folder
from llava_faba.datatools.annotate.journal import ANSWER
from llava_faba.datatools.annotate.pipeline import Annotation
from llava_faba.datatools.annotate.prompts import load_prompt
from llava_faba.datatools.annotate.review import PER_PAGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=f"{missing()} is not installed (apt-get install chromium-driver)"),
]

GOOD = "The face shows a broad smile. AU12 - Lip corner puller: the corners of the mouth are drawn up and back."
COUNT = PER_PAGE + 4  # so that there are two pages


@pytest.fixture
def answered(tmp_path: Path, paint: Callable[..., Path]) -> Annotation:
    """Answers to ``COUNT`` images, of which the last one is too short to be accepted."""
    for number in range(COUNT):
        paint(tmp_path / "faces" / f"{number:03d}.png", seed=number, size=96)
    client = Client("http://127.0.0.1:9/v1", "m", "")
    job = Annotation(
        "au", targets_in_folder(tmp_path / "faces"), tmp_path / "faces", tmp_path / "out", client, load_prompt("au")
    )
    journal = job.journal()
    for target, key in job.keyed():
        text = "AU4." if target.image.startswith(f"{COUNT - 1:03d}") else GOOD
        line = {"status": ANSWER, "key": key, "text": text, "finish_reason": "stop", "model": "m", "prompt": "au-v1"}
        journal.append(line)
    return job


def annotate(job: Annotation, *more: str) -> str:
    command = [sys.executable, "-m", "llava_faba.cli", "data", "annotate", "--task", "au", "--model", "m"]
    command += ["--images", str(job.image_folder), "--out", str(job.out), *more]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def saved(folder: Path) -> dict[str, Any]:
    for _ in range(200):
        if (folder / "decisions.json").is_file():
            return json.loads((folder / "decisions.json").read_text())
        time.sleep(0.05)
    raise AssertionError("the browser saved nothing")


def test_a_person_accepts_and_rejects(answered: Annotation, tmp_path: Path, load: Any) -> None:
    assert f"{COUNT - 1} accepted, 1 rejected" in annotate(answered, "--sort-only")
    keys = {target.image: key for target, key in answered.keyed()}
    doubtful, first, last = keys[f"{COUNT - 1:03d}.png"], keys["000.png"], keys[f"{COUNT - 2:03d}.png"]
    downloads = tmp_path / "downloads"
    with browser(tmp_path / "profile", downloads) as page:
        page.open((answered.out / "review" / "page-001.html").as_uri())
        shown = page.run(
            "return [...document.querySelectorAll('article')].map(a => [a.dataset.key, a.dataset.decision])"
        )
        # what the filters doubt comes first, and is rejected unless somebody says otherwise
        assert shown[:2] == [[doubtful, "reject"], [first, "accept"]]
        assert len(shown) == PER_PAGE
        assert page.run("return [...document.images].every(i => i.complete && i.naturalWidth === 96)")
        assert "too short" in page.run("return document.querySelector('article .why').textContent")
        page.click(f"article[data-key='{doubtful}'] button[value='accept']")
        page.click(f"article[data-key='{first}'] button[value='reject']")
        assert f"{PER_PAGE - 1} of {PER_PAGE} accepted" in page.run(
            "return document.getElementById('count').textContent"
        )
        page.screenshot(tmp_path / "page.png")
        page.click("header a")
        assert page.run("return document.querySelectorAll('article').length") == COUNT - PER_PAGE
        page.click(f"article[data-key='{last}'] button[value='reject']")
        page.open((answered.out / "review" / "page-001.html").as_uri())
        # remembered, also across pages
        assert page.run("return document.querySelector('article').dataset.decision") == "accept"
        page.click("#save")
        assert saved(downloads) == {doubtful: "accept", first: "reject", last: "reject"}
    summary = annotate(answered, "--apply", str(downloads / "decisions.json"))
    assert f"{COUNT - 2} accepted, 2 rejected" in summary
    kept = {record["image"]: record["label"] for record in load(answered.out / "train_au_anno.json")}
    assert "000.png" not in kept
    assert kept[f"{COUNT - 1:03d}.png"] == "4"
    assert (tmp_path / "page.png").stat().st_size > 10_000
