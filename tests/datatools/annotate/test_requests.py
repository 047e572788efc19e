"""Annotation against a server that misbehaves: retries, limits, resuming, cost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from annotation_server import KEY, Server, completion
from PIL import Image

from llava_faba.datatools.annotate.asking import Outcome
from llava_faba.datatools.annotate.client import Client, Fatal
from llava_faba.datatools.annotate.cost import Prices
from llava_faba.datatools.annotate.filters import Limits
from llava_faba.datatools.annotate.images import load_picture, targets_in_folder
from llava_faba.datatools.annotate.journal import Journal
from llava_faba.datatools.annotate.pacing import Pace, backoff
from llava_faba.datatools.annotate.pipeline import ask, sort
from llava_faba.datatools.annotate.prompts import load_prompt
from llava_faba.errors import UserError

LIMITS = Limits.of("au", None, None, 0.5)


def test_every_misbehaviour_is_survived(server: Server, faces, annotation) -> None:
    acts = ["status|500", "status|503", "busy|0.05", "invalid", "nochoice", "empty", "half", "halfchunk"]
    acts += ["hang", "drip", "drop", "status|429"]
    server.plan = {number: [act] for number, act in enumerate(acts, start=1)}
    job = annotation(faces(len(acts)), concurrency=6)
    outcome = ask(job)
    assert outcome.failed == {}
    assert outcome.answered == len(acts)
    assert outcome.retries == len(acts)
    assert all(server.seen[number] == 2 for number in range(1, len(acts) + 1))
    lines = job.journal().lines
    assert Counter(line["status"] for line in lines) == {"invalid": len(acts), "answer": len(acts)}
    bodies = {line["image"]: line["body"] for line in lines if line["status"] == "invalid"}
    # what a server sent is kept, also when it was of no use
    assert bodies["04.png"].startswith('{"choices"')
    assert bodies["07.png"] == completion().decode()[: len(completion()) // 2]
    summary = sort(job, LIMITS)
    assert (summary["accepted"], summary["rejected"], summary["unanswered"]) == (len(acts), 0, 0)


def test_the_key_is_nowhere_but_in_the_header(server: Server, faces, annotation, caplog) -> None:
    server.plan = {1: ["status|500"], 2: ["status|400"], 3: ["status|429"]}
    job = annotation(faces(3))
    outcome = ask(job)
    assert list(outcome.failed) == ["02.png"]
    assert "[key]" in outcome.failed["02.png"]
    assert {headers["Authorization"] for headers in server.headers_seen} == {f"Bearer {KEY}"}
    sort(job, LIMITS)
    for path in job.out.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in repr(job) + str(outcome) + caplog.text


def test_a_key_that_comes_back_in_escapes_is_not_kept_either(server: Server, faces, annotation, load) -> None:
    server.default = "echo"
    job = annotation(faces(1))
    assert ask(job).answered == 1
    sort(job, LIMITS)
    assert "[key]" in load(job.out / "train_au_anno.json")[0]["conversations"][1]["value"]
    for line in job.journal().lines:
        assert KEY not in json.dumps([line, json.loads(line["body"])])


@pytest.mark.parametrize("act", ["status|401", "status|403", "status|404", "redirect"])
def test_hopeless_answers_stop_the_run_at_once(server: Server, faces, annotation, act: str) -> None:
    server.default = act
    job = annotation(faces(12), concurrency=2)
    with pytest.raises(Fatal) as caught:
        ask(job)
    assert KEY not in str(caught.value)
    assert sum(server.seen.values()) <= 4


def test_an_image_that_is_refused_is_not_sent_again_in_the_run(server: Server, faces, annotation) -> None:
    server.plan = {1: ["status|400"] * 9}
    outcome = ask(annotation(faces(2)))
    assert server.seen[1] == 1
    assert list(outcome.failed) == ["01.png"]
    assert outcome.answered == 1


def test_giving_up_after_the_last_attempt(server: Server, faces, annotation) -> None:
    server.plan = {1: ["status|500"] * 9}
    job = annotation(faces(1), attempts=3)
    outcome = ask(job)
    assert server.seen[1] == 3
    assert "after 3 attempts" in outcome.failed["01.png"]
    # the next run tries again
    server.plan = {}
    assert ask(annotation(job.image_folder)).answered == 1


def test_a_refused_connection_is_retried_and_reported(faces, annotation) -> None:
    outcome = ask(annotation(faces(1), url="http://127.0.0.1:9/v1", attempts=2))
    assert "ConnectionRefusedError" in outcome.failed["01.png"]


def test_resuming_sends_only_what_is_missing(server: Server, faces, annotation) -> None:
    folder = faces(6)
    first = annotation(folder, targets=targets_in_folder(folder)[:4])
    assert ask(first).answered == 4
    journal = first.out / "raw.jsonl"
    whole = journal.read_bytes()
    # a crash in the middle of the last line
    journal.write_bytes(whole[:-25])
    outcome = ask(annotation(folder))
    assert (outcome.reused, outcome.answered) == (3, 3)
    assert sum(server.seen.values()) == 7
    assert ask(annotation(folder)) == Outcome(reused=6)
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_other_model_prompt_or_settings_are_not_mixed_up(server: Server, faces, annotation) -> None:
    job = annotation(faces(1))
    ask(job)
    job.client.model = "another-model"
    assert ask(job).answered == 1
    job.client.temperature = 0.7
    assert ask(job).answered == 1
    assert len(job.journal().answers()) == 3


def test_equal_images_are_asked_once(server: Server, faces, annotation) -> None:
    folder = faces(1)
    (folder / "copy.png").write_bytes((folder / "01.png").read_bytes())
    job = annotation(folder)
    assert ask(job).answered == 1
    assert sort(job, LIMITS)["accepted"] == 2


def test_many_requests_are_in_flight(server: Server, faces, annotation) -> None:
    server.default = "slow"
    begin = time.monotonic()
    outcome = ask(annotation(faces(16), concurrency=8))
    assert outcome.answered == 16
    assert 4 <= server.most_in_flight <= 8
    assert time.monotonic() - begin < 16 * 0.15


def test_the_rate_limit_spaces_requests(server: Server, faces, annotation) -> None:
    ask(annotation(faces(6), concurrency=6, per_minute=60 / 0.08))
    times = sorted(server.times)
    assert times[-1] - times[0] >= 5 * 0.08 * 0.9


def test_too_many_requests_hold_back_everybody(server: Server, faces, annotation) -> None:
    server.plan = {1: ["busy|0.5"]}
    folder = faces(8)
    server.default = "slow"
    ask(annotation(folder, concurrency=1))
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert gaps[0] >= 0.45


def test_spending_stops_at_the_limit(server: Server, faces, annotation) -> None:
    # 1,000 input and 200 output tokens at 1 and 5 a million are 0.002
    job = annotation(faces(10), concurrency=1, prices=Prices(1.0, 5.0), max_cost=0.0055)
    outcome = ask(job)
    assert outcome.stopped_by_cost
    assert outcome.answered == 3
    assert (outcome.input_tokens, outcome.output_tokens) == (3000, 600)
    assert sort(job, LIMITS)["unanswered"] == 7


def test_useless_answers_cost_as_well(server: Server, faces, annotation) -> None:
    server.plan = {1: ["paidforempty", "paidforempty"]}
    outcome = ask(annotation(faces(1), prices=Prices(1.0, 5.0)))
    assert (outcome.answered, outcome.input_tokens, outcome.output_tokens) == (1, 3000, 600)


def test_two_runs_into_one_folder_do_not_pay_twice(server: Server, faces, annotation) -> None:
    job = annotation(faces(1))
    with job.journal().locked(), pytest.raises(UserError, match="another run is annotating"):
        ask(job)
    assert not server.payloads
    assert ask(job).answered == 1


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_run_goes_on_and_leaves_the_key_nowhere(server: Server, faces, tmp_path: Path) -> None:
    """kill -9 of the command itself, requests in flight; then every file and everything printed is searched."""
    server.default = "slow"
    server.plan = {3: ["status|500"], 5: ["busy|0.2"], 7: ["invalid"], 9: ["half"]}
    out = tmp_path / "out"
    command = [sys.executable, "-m", "llava_faba.cli", "data", "annotate", "--task", "au", "--yes"]
    command += ["--images", str(faces(24)), "--out", str(out), "--base-url", server.url, "--model", "m"]
    command += ["--concurrency", "4", "--first-pause", "0.05"]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    with (tmp_path / "first.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        wait_for(lambda: len(server.payloads) >= 14)
        running.kill()
        assert running.wait() == -signal.SIGKILL
    wait_for(lambda: server.in_flight == 0)
    kept = Journal(out / "raw.jsonl").answers()
    assert 0 < len(kept) < 24
    sent = len(server.payloads)
    with (tmp_path / "second.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=True, timeout=120)
    assert f"{24 - len(kept)} answered, {len(kept)} there already, 0 failed" in (tmp_path / "second.log").read_text()
    # only what had no answer was sent again: at most one request for each, and the retries of the four faults
    assert len(server.payloads) - sent <= 24 - len(kept) + 4
    answers = [line["key"] for line in Journal(out / "raw.jsonl").lines if line["status"] == "answer"]
    assert len(answers) == len(set(answers)) == 24
    assert len(json.loads((out / "train_au_anno.json").read_text())) == 24
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"raw.jsonl", "page-001.html", "summary.json", "first.log", "second.log"} <= {path.name for path in written}
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


def test_estimate_counts_what_is_missing(server: Server, faces, annotation) -> None:
    job = annotation(faces(4), prices=Prices(10.0, 30.0))
    before = job.estimate(image_tokens=1000)
    assert before.requests == 4
    assert before.output_tokens == 4 * 350
    assert before.cost == pytest.approx((before.input_tokens * 10 + before.output_tokens * 30) / 1e6)
    ask(job)
    after = job.estimate(image_tokens=1000)
    assert (after.requests, after.cost) == (0, 0)
    assert not server.payloads[4:]


def test_the_request_is_what_openai_compatible_servers_expect(server: Server, faces, annotation) -> None:
    ask(annotation(faces(1)))
    payload = server.payloads[0]
    assert payload["model"] == "some-model"
    assert payload["max_tokens"] == 800
    text, image = payload["messages"][0]["content"]
    assert text == {"type": "text", "text": load_prompt("au").text}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")


def test_unreadable_images_are_failures_of_their_own(server: Server, faces, annotation) -> None:
    folder = faces(2)
    (folder / "01.png").write_text("no image")
    outcome = ask(annotation(folder))
    assert "cannot read the image" in outcome.failed["01.png"]
    assert outcome.answered == 1


def test_pictures_are_scaled_and_recoded_only_where_needed(tmp_path: Path) -> None:
    small, big, odd = tmp_path / "s.jpg", tmp_path / "b.png", tmp_path / "o.bmp"
    Image.new("RGB", (50, 40)).save(small)
    Image.new("RGB", (500, 400)).save(big)
    Image.new("RGB", (50, 40)).save(odd)
    assert load_picture(small, 100).data == small.read_bytes()
    for path, size in ((big, (100, 80)), (odd, (50, 40))):
        picture = load_picture(path, 100)
        assert picture.mime == "image/jpeg"
        with Image.open(io.BytesIO(picture.data)) as image:
            assert image.size == size


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/v1", "no http"),
        ("https://user:pw@host/v1", "password"),
        ("http://example.invalid/v1", "unencrypted"),
        ("nonsense", "no http"),
    ],
)
def test_unsafe_addresses_are_refused(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Client(url, "m", KEY)
    assert KEY not in str(caught.value)


def test_backoff_grows_is_jittered_and_respects_the_server() -> None:
    import random

    rng = random.Random(0)
    pauses = [backoff(attempt, 1.0, None, rng) for attempt in range(12)]
    for attempt, pause in enumerate(pauses):
        assert min(0.5 * 2**attempt, 120) <= pause <= min(2**attempt, 120)
    assert backoff(0, 1.0, 30.0, rng) == 30.0
    assert backoff(0, 1.0, 9999.0, rng) == 120.0


def test_a_stopped_pace_ends_waiting() -> None:
    pace = Pace(per_minute=1)
    assert pace.wait()
    threading.Timer(0.1, pace.stop).start()
    begin = time.monotonic()
    assert not pace.wait()
    assert time.monotonic() - begin < 5


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text('{"key": "a", "status": "answer"}\nrubbish\n{"key": "b", "status": "answer"}\n')
    with pytest.raises(UserError, match=r"raw\.jsonl, line 2"):
        Journal(path)
