"""Annotation against a real local HTTP server that misbehaves in every way a real one does."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_faba.datatools.annotate.asking import Outcome, Policy
from llava_faba.datatools.annotate.client import Client, Fatal
from llava_faba.datatools.annotate.cost import Prices
from llava_faba.datatools.annotate.filters import Limits, judge
from llava_faba.datatools.annotate.images import Target, load_picture, targets_in_files, targets_in_folder
from llava_faba.datatools.annotate.journal import Journal
from llava_faba.datatools.annotate.pacing import Pace, backoff
from llava_faba.datatools.annotate.pipeline import Annotation, ask, sort
from llava_faba.datatools.annotate.prompts import load_prompt, prompt_names
from llava_faba.datatools.annotate.review import load_decisions
from llava_faba.datatools.validate import validate
from llava_faba.errors import UserError

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
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def faces(tmp_path: Path) -> Callable[[int], Path]:
    """A folder with ``n`` grey images, whose values tell the server which is which."""

    def make(count: int) -> Path:
        folder = tmp_path / "faces"
        folder.mkdir(exist_ok=True)
        for number in range(1, count + 1):
            Image.new("RGB", (16, 16), (number * 10,) * 3).save(folder / f"{number:02d}.png")
        return folder

    return make


@pytest.fixture
def annotation(server: Server, tmp_path: Path) -> Callable[..., Annotation]:
    def make(folder: Path, task: str = "au", targets: list[Target] | None = None, **options: Any) -> Annotation:
        client = Client(options.pop("url", server.url), "some-model", KEY, timeout=options.pop("timeout", 1.0))
        policy = Policy(first_pause=0.01, **options)
        out = tmp_path / "out"
        return Annotation(task, targets or targets_in_folder(folder), folder, out, client, load_prompt(task), policy)

    return make


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


SORRY = "I'm sorry, but I can't help with analyzing the facial expression of this person today."
NO_AU = "The person in this picture looks at the camera with an open and friendly face today."
AT_REST = "The face is at rest with smooth skin. No action units are active in this face."
HAPPY = "The face shows happiness. The cheeks are lifted and the mouth smiles."
NO_EMOTION = "There is a face in the picture and it has two eyes."


@pytest.mark.parametrize(
    ("task", "text", "finish", "given", "reason"),
    [
        ("au", GOOD, "stop", None, None),
        ("au", GOOD, "stop", "6, 12", None),
        ("au", GOOD, "stop", "1, 2, 4", "disagrees"),
        ("au", GOOD, "length", None, "unfinished"),
        ("au", GOOD[:-20], "stop", None, "unfinished"),
        ("au", GOOD, "content_filter", None, "content filter"),
        ("au", "AU12 - smile.", "stop", None, "too short"),
        ("au", GOOD + " very" * 500 + ".", "stop", None, "too long"),
        ("au", SORRY, "stop", None, "refusal"),
        ("au", NO_AU, "stop", None, "names no action unit"),
        ("au", GOOD + " AU99 - Something: odd.", "stop", None, "unknown AU: 99"),
        ("au", GOOD + " AU4 is not present.", "stop", None, "not active: 4"),
        ("au", AT_REST, "stop", "", None),
        ("emotion", HAPPY, "stop", "Happiness", None),
        ("emotion", HAPPY, "stop", "Fear", "disagrees"),
        ("emotion", NO_EMOTION, "stop", None, "names no emotion"),
    ],
)
def test_filters(task: str, text: str, finish: str, given: str | None, reason: str | None) -> None:
    verdict = judge(task, text, finish, given, Limits.of(task, None, None, 0.5))
    if reason is None:
        assert verdict.reasons == ()
        assert verdict.label is not None
    else:
        assert any(reason in one for one in verdict.reasons), verdict


def test_sorting_writes_valid_records_and_reasons(server: Server, faces, annotation, load) -> None:
    server.plan = {1: ["text|AU1 only."], 2: [f"text|{GOOD}|length"]}
    folder = faces(4)
    targets = [
        Target(f"{number:02d}.png", f"id{number}", "6, 12" if number < 4 else "1", "s1", "AffectNet")
        for number in range(1, 5)
    ]
    job = annotation(folder, targets=targets)
    ask(job)
    summary = sort(job, LIMITS)
    assert (summary["accepted"], summary["rejected"]) == (1, 3)
    records = load(job.out / "train_au_anno.json")
    assert records[0]["label"] == "6, 12"
    assert records[0]["subject"] == "s1"
    assert records[0]["annotator"]["prompt"] == prompt_names("au")[-1]
    assert validate([job.out / "train_au_anno.json"], image_folder=folder).ok
    rejected = {line["image"]: line["reasons"] for line in load(job.out / "rejected.json")}
    assert any("too short" in reason for reason in rejected["01.png"])
    assert any("unfinished" in reason for reason in rejected["02.png"])
    assert any("disagrees" in reason for reason in rejected["04.png"])


class _Cards(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cards: list[dict[str, str | None]] = []
        self.images: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "article":
            self.cards.append(values)
        elif tag == "img":
            self.images.append(values["src"] or "")
        elif tag == "script":
            self.scripts += 1


def test_review_page_shows_and_escapes_and_decisions_apply(server: Server, faces, annotation, load) -> None:
    server.plan = {1: ["text|<script>alert(1)</script> $text AU1."]}
    job = annotation(faces(3))
    ask(job)
    sort(job, LIMITS)
    page = (job.out / "review" / "page-001.html").read_text()
    cards = _Cards()
    cards.feed(page)
    assert cards.scripts == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $text AU1." in page
    assert [card["data-default"] for card in cards.cards] == ["reject", "accept", "accept"]
    with Image.open(io.BytesIO(base64.b64decode(cards.images[0].split(",", 1)[1]))) as image:
        assert image.size == (16, 16)
    decisions = job.out / "decisions.json"
    keys = [str(card["data-key"]) for card in cards.cards]
    decisions.write_text(json.dumps({keys[0]: "accept", keys[1]: "accept"}))
    later = job.out / "decisions-2.json"
    later.write_text(json.dumps({keys[1]: "reject"}))
    summary = sort(job, LIMITS, load_decisions([decisions, later]))
    assert (summary["accepted"], summary["rejected"], summary["decided_by_hand"]) == (2, 1, 2)
    assert load(job.out / "rejected.json")[0]["reasons"] == ["rejected by hand"]
    decisions.write_text('{"x": "perhaps"}')
    with pytest.raises(UserError, match="decisions"):
        load_decisions([decisions])


def test_targets_from_files_keep_labels_and_refuse_contradictions(tmp_path: Path) -> None:
    path = tmp_path / "eval.json"
    path.write_text(json.dumps([{"image": "a.png", "label": "1"}, {"image": "a.png", "label": "1"}]))
    assert targets_in_files([path], "au") == [Target("a.png", "a", "1")]
    path.write_text(json.dumps([{"image": "a.png", "label": "1"}, {"image": "a.png", "label": "2"}]))
    with pytest.raises(UserError, match=r"label '2' here and '1' before"):
        targets_in_files([path], "au")
    with pytest.raises(UserError, match="no image below"):
        targets_in_folder(tmp_path)
    # labels of the other task are not compared with the answers; those that cannot be read stop before any cost
    path.write_text(json.dumps([{"image": "a.png", "label": "Fear", "subject": "s"}]))
    assert targets_in_files([path], "au") == [Target("a.png", "a", None, "s")]
    assert targets_in_files([path], "emotion")[0].label == "Fear"
    path.write_text(json.dumps([{"image": "a.png", "label": "1, 4"}, {"image": "b.png", "label": "1; 4"}]))
    with pytest.raises(UserError, match=r"eval\.json\[1\]: AU label '1; 4'"):
        targets_in_files([path], "au")


def test_prompts_are_versioned_and_own_ones_are_read(tmp_path: Path) -> None:
    assert load_prompt("au") == load_prompt("au", "au-v1")
    assert load_prompt("au").sha256 != load_prompt("emotion").sha256
    own = tmp_path / "mine.txt"
    own.write_text("Describe the face.")
    assert load_prompt("au", str(own)).text == "Describe the face."
    own.write_text(" ")
    with pytest.raises(UserError, match="empty"):
        load_prompt("au", str(own))
    with pytest.raises(UserError, match=r"no prompt 'au-v0'.*au-v1"):
        load_prompt("au", "au-v0")


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
