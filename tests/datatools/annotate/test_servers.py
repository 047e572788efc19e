"""Habits of servers and models that public reports describe: the right record, nothing paid twice, no key anywhere."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from annotation_server import GOOD, KEY, Server, completion
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava_faba.datatools.annotate.asking import HOPELESS
from llava_faba.datatools.annotate.client import Client, Fatal, Rejected, Retryable
from llava_faba.datatools.annotate.cost import Prices
from llava_faba.datatools.annotate.filters import Limits
from llava_faba.datatools.annotate.images import load_picture, targets_in_files, targets_in_folder
from llava_faba.datatools.annotate.journal import Journal
from llava_faba.datatools.annotate.pipeline import ask, sort
from llava_faba.datatools.annotate.replies import NoAnswer, finish_reason, parse_reply, well_formed
from llava_faba.datatools.annotate.secret import Scrubber, clean_key
from llava_faba.errors import UserError

LIMITS = Limits.of("au", None, None, 0.5)
THOUGHTS = "AU4 may be active. Then AU25, for the lips part."


def reply(content: object = GOOD, finish: object = "stop", usage: object = None, **message: object) -> bytes:
    body = {
        "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200} if usage is None else usage,
    }
    return json.dumps(body).encode()


def one(server: Server, faces, annotation, body: bytes, **options: object):
    """One image whose server answers ``body``: outcome, summary, and the records."""
    server.bodies["it"] = body
    server.default = "body|it"
    job = annotation(faces(1), **options)
    outcome = ask(job)
    summary = sort(job, LIMITS)
    return outcome, summary, json.loads((job.out / "train_au_anno.json").read_text(encoding="utf-8"))


PARTS = [{"type": "text", "text": GOOD}]
ANSWERED = {
    "think": reply(f"<think>\n{THOUGHTS}\n</think>\n\n{GOOD}"),
    "thinking, never opened": reply(f"{THOUGHTS}</think>{GOOD}"),
    "reasoning_content": reply(GOOD, reasoning_content=THOUGHTS),
    "list of parts": reply(PARTS),
    "list of texts": reply([GOOD]),
    "thoughts in parts of their own": reply([{"type": "thinking", "thinking": THOUGHTS}, *PARTS]),
    "output_text": reply([{"type": "output_text", "text": GOOD, "annotations": []}]),
    "one part": reply({"type": "text", "text": GOOD}),
    "part with a value": reply([{"type": "text", "text": {"value": GOOD}}]),
    "end_turn": reply(GOOD, "end_turn"),
    "eos_token": reply(GOOD, "eos_token"),
    "STOP": reply(GOOD, "STOP"),
    "no finish reason": reply(GOOD, None),
    "a byte order mark": b"\xef\xbb\xbf" + reply(GOOD),
    "old completions": json.dumps({"choices": [{"text": GOOD, "finish_reason": "stop"}]}).encode(),
    "a stream": b"".join(
        f"data: {json.dumps({'choices': [{'delta': {'content': part}}]})}\n\n".encode()
        for part in (GOOD[:30], GOOD[30:])
    )
    + b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("habit", ANSWERED)
def test_an_answer_in_another_shape_is_the_same_answer(server: Server, faces, annotation, habit: str) -> None:
    outcome, summary, records = one(server, faces, annotation, ANSWERED[habit])
    assert (outcome.answered, outcome.failed, outcome.retries) == (1, {}, 0)
    assert (summary["accepted"], records[0]["label"]) == (1, "6, 12")
    assert records[0]["conversations"][1]["value"] == GOOD
    assert ask(annotation(faces(1))).reused == 1
    assert sum(server.seen.values()) == 1


USELESS = {
    "null after thoughts": (reply(None, "stop", reasoning_content=THOUGHTS), "no answer"),
    "null at the limit": (reply(None, "length"), "no answer"),
    "thoughts that never close": (reply(f"<think>{THOUGHTS} AU6 - Cheek raiser.", "length"), "no answer"),
    "cut": (reply(GOOD, "MAX_TOKENS"), "unfinished"),
    "cut, in other words": (reply(GOOD, "max_output_tokens"), "unfinished"),
    "filtered": (reply(GOOD, "SAFETY"), "content filter"),
    "filtered, null": (reply(None, "content-filter"), "no answer"),
    "refusal": (
        reply(None, "stop", refusal="I\u2019m sorry, but I can\u2019t help with that request at all today."),
        "refusal",
    ),
    "an error on the way": (reply(GOOD, "error"), "error of the server"),
}


@pytest.mark.parametrize("habit", USELESS)
def test_an_answer_of_no_use_is_rejected_and_not_paid_for_again(server: Server, faces, annotation, habit: str) -> None:
    body, reason = USELESS[habit]
    outcome, summary, records = one(server, faces, annotation, body)
    assert (outcome.answered, outcome.retries, records) == (1, 0, [])
    assert any(reason in said for said in summary["reasons"]), summary
    assert ask(annotation(faces(1))).reused == 1
    assert sum(server.seen.values()) == 1


def test_empty_answers_are_asked_for_three_times_and_then_never_again(server: Server, faces, annotation) -> None:
    server.default = "paidforempty"
    outcome = ask(annotation(faces(1), prices=Prices(1.0, 5.0)))
    assert (outcome.answered, outcome.empty, outcome.input_tokens) == (1, 1, 3000)
    assert outcome.answered_nothing
    assert ask(annotation(faces(1))).reused == 1
    assert sum(server.seen.values()) == 3
    server.default = "good"
    assert ask(annotation(faces(1), retry_empty=True)).answered == 1
    assert sort(annotation(faces(1)), LIMITS)["accepted"] == 1


def test_half_characters_are_kept_as_a_mark_and_the_run_goes_on(server: Server, faces, annotation) -> None:
    body = reply(GOOD + " XX").replace(b" XX", b" \\ud83d.")
    outcome, _, records = one(server, faces, annotation, body)
    assert outcome.failed == {}
    assert records[0]["conversations"][1]["value"] == GOOD + " \ufffd."
    assert ask(annotation(faces(1))).reused == 1


def test_a_pair_of_halves_is_its_character() -> None:
    assert well_formed("a\ud83d\ude00b\udc00") == "a\U0001f600b\ufffd"


@pytest.mark.parametrize(
    ("unwanted", "wanted", "field"),
    [("max_tokens", "max_completion_tokens", "max_completion_tokens"), ("temperature", "", "max_tokens")],
)
def test_a_field_that_the_server_does_not_know(
    server: Server, faces, annotation, unwanted: str, wanted: str, field: str
) -> None:
    server.default = f"unless|{unwanted}" + (f"|{wanted}" if wanted else "")
    job = annotation(faces(5), concurrency=2)
    outcome = ask(job)
    assert (outcome.answered, outcome.failed, outcome.retries) == (5, {}, 0)
    assert unwanted not in server.payloads[-1]
    assert server.payloads[-1][field] == 800
    assert len(job.client.notes) == 1
    assert len(server.payloads) <= 7  # once for each that was on its way, not for each image


@pytest.mark.parametrize(
    "body",
    [
        {
            "detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}],
            "message": "max_tokens: extra",
        },
        {"error": "Unrecognized request argument supplied: max_tokens"},
        {"message": "unknown field max_tokens", "code": 400},
    ],
)
def test_other_words_for_an_unknown_field(body: dict) -> None:
    client = Client("http://127.0.0.1:9/v1", "m", KEY)
    assert client._adapted(frozenset(client._fields), json.dumps(body))
    assert set(client._fields) == {"max_completion_tokens", "temperature"}


def test_a_limit_that_is_too_large_is_no_unknown_field(server: Server, faces, annotation) -> None:
    message = "max_tokens is too large: 800. This model supports at most 512 completion tokens."
    server.bodies["it"] = json.dumps({"error": {"message": message, "param": "max_tokens"}}).encode()
    server.default = "body|it|400"
    outcome = ask(annotation(faces(2)))
    assert len(outcome.failed) == 2
    assert "at most 512" in outcome.failed["01.png"]
    assert outcome.answered_nothing


def test_a_server_that_refuses_everything_is_not_asked_to_the_end(server: Server, faces, annotation) -> None:
    server.bodies["it"] = b'{"error": {"message": "image input is not supported"}}'
    server.default = "body|it|400"
    with pytest.raises(Fatal, match=r"refuses every request.*image input is not supported"):
        ask(annotation(faces(20), concurrency=1))
    assert len(server.payloads) == HOPELESS


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (
            "/openai/deployments/gpt-4o?api-version=2024-06-01",
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01",
        ),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/?a=b#part", "/v1/chat/completions?a=b"),
        ("", "/chat/completions"),
    ],
)
def test_a_query_stays_behind_the_path(server: Server, faces, annotation, base: str, path: str) -> None:
    root = server.url.removesuffix("/v1")
    assert ask(annotation(faces(1), url=root + base)).answered == 1
    assert server.paths == [path]
    assert (server.headers_seen[0].get("api-key") == KEY) == ("api-version" in base)


@pytest.mark.parametrize(
    "url", ["https://h/v1?api_key=12345", "https://h/v1?sig=abc", "https://[::1/v1", "https://h:99999/v1"]
)
def test_more_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        Client(url, "m", KEY)
    assert "12345" not in str(caught.value)


def test_an_old_journal_whose_answers_could_not_be_read_is_not_paid_for_again(
    server: Server, faces, annotation
) -> None:
    job = annotation(faces(1))
    ask(job)
    path = job.out / "raw.jsonl"
    line = json.loads(path.read_text())
    # what 0.1 kept of a list of parts
    del line["text"], line["finish_reason"]
    line |= {"status": "invalid", "error": "the answer is empty", "body": reply(PARTS).decode()}
    path.write_text(json.dumps(line) + "\n")
    assert ask(job).reused == 1
    assert sort(job, LIMITS)["accepted"] == 1


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -5}, {"prompt_tokens": 1e300, "completion_tokens": True}, [], "many", {}]
)
def test_token_counts_that_make_no_sense_do_not_switch_the_limit_off(
    server: Server, faces, annotation, usage: object
) -> None:
    server.bodies["it"] = reply(usage=usage)
    server.default = "body|it"
    outcome = ask(annotation(faces(9), concurrency=1, prices=Prices(1.0, 5.0), max_cost=0.0025))
    assert outcome.stopped_by_cost
    assert 0 < outcome.answered < 9
    assert outcome.uncounted == outcome.answered
    assert outcome.input_tokens > 0 < outcome.output_tokens


def test_a_number_of_thousands_of_digits_is_no_answer(server: Server, faces, annotation) -> None:
    body = completion().replace(b"1000", b"9" * 5000)
    server.bodies["it"] = body
    server.plan = {1: ["body|it"]}
    assert ask(annotation(faces(1))).answered == 1


class TestKey:
    @pytest.mark.parametrize("text", [KEY + "\n", f" {KEY}\r\n", f"Bearer {KEY}", f"\t{KEY}\r"])
    def test_it_is_stripped(self, server: Server, faces, annotation, text: str) -> None:
        assert clean_key(text) == KEY
        client = Client(server.url, "m", text)
        assert client.key == KEY
        with Image.new("RGB", (8, 8), (10, 10, 10)) as image:
            stream = io.BytesIO()
            image.save(stream, "PNG")
        client.ask("?", stream.getvalue(), "image/png")
        assert server.headers_seen[0]["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("text", [f"{KEY}\r\nX-Evil: 1", f"{KEY} {KEY}", f"{KEY}\u2013", f"a\0{KEY}", f"{KEY}\x7f"])
    def test_what_no_header_can_carry_is_refused_unseen(self, text: str) -> None:
        with pytest.raises(UserError) as caught:
            clean_key(text, "the key in OPENAI_API_KEY")
        shown = "".join(traceback.format_exception(caught.value))
        assert KEY not in shown.replace(f'"{text}"', "")
        assert "OPENAI_API_KEY" in str(caught.value)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        "act",
        ["reason|500", "reason|400", "reason|401", "cut|65536", "cut|312", "halfkey|20", "halfkey|7", "halfkey|9"],
    )
    def test_it_is_nowhere_however_it_comes_back(
        self, server: Server, faces, annotation, act: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.default = act
        job = annotation(faces(1), attempts=2)
        seen = ""
        try:
            seen = str(ask(job))
        except (Fatal, Rejected, Retryable) as error:
            seen = "".join(traceback.format_exception(error))
        for path in job.out.rglob("*"):
            seen += path.read_text() if path.is_file() else ""
        seen += caplog.text
        assert not [KEY[start : start + 8] for start in range(len(KEY) - 7) if KEY[start : start + 8] in seen]
        assert KEY[:7] not in seen or act != "halfkey|7"

    def test_pieces_escapes_and_ends(self) -> None:
        scrub = Scrubber(KEY)
        assert scrub(f"a {KEY} b") == "a [key] b"
        assert scrub(f"a {KEY[3:14]} b") == "a [key] b"
        assert scrub(f"cut {KEY[:5]}") == "cut [key]"
        assert KEY not in json.loads(scrub(json.dumps(KEY).replace("s", "\\u0073")))
        assert KEY not in scrub(KEY.replace("-", "%2D"))
        assert scrub('{"text": "AU6 \\u00e9 100%"}') == '{"text": "AU6 \\u00e9 100%"}'


class TestTime:
    @pytest.mark.parametrize("act", ["dripheaders", "driperror", "drip", "hang"])
    def test_the_time_bounds_the_whole_request(self, server: Server, faces, annotation, act: str) -> None:
        server.default = act
        begin = time.monotonic()
        outcome = ask(annotation(faces(1), attempts=1, timeout=0.4))
        assert time.monotonic() - begin < 1.5
        assert "within 0.4 s" in outcome.failed["01.png"]

    @pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_senseless_time_is_refused(self, timeout: float) -> None:
        with pytest.raises(UserError, match="timeout"):
            Client("http://127.0.0.1:9/v1", "m", "", timeout)


def photograph(path: Path, size: tuple[int, int], orientation: int | None, gps: bool = False) -> Path:
    """Red left, blue right, as the camera lies; EXIF says how to turn it."""
    image = Image.new("RGB", size, (250, 10, 10))
    image.paste((10, 10, 250), (size[0] // 2, 0, size[0], size[1]))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if gps:
        exif.get_ifd(0x8825)[1] = "N"
        exif[0x8825] = {1: "N"}
    image.save(path, exif=exif, quality=95)
    return path


class TestPictures:
    @pytest.mark.parametrize("size", [(60, 40), (1500, 1000)])
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_photographs_are_sent_upright(self, tmp_path: Path, size, suffix: str, orientation: int) -> None:
        path = photograph(tmp_path / f"p{suffix}", size, orientation)
        with Image.open(io.BytesIO(load_picture(path, 1024).data)) as sent:
            assert sent.getexif().get(0x0112, 1) == 1
            assert (sent.width < sent.height) == (orientation in (6, 8))
            top, bottom = sent.convert("RGB").getpixel((1, 1)), sent.convert("RGB").getpixel((1, sent.height - 2))
        expected = {3: ("blue", "blue"), 6: ("red", "blue"), 8: ("blue", "red")}[orientation]
        assert tuple("red" if pixel[0] > pixel[2] else "blue" for pixel in (top, bottom)) == expected

    def test_an_upright_one_is_sent_as_it_is(self, tmp_path: Path) -> None:
        for name, orientation in (("a.jpg", None), ("b.jpg", 1), ("c.jpg", 99)):
            path = photograph(tmp_path / name, (60, 40), orientation)
            assert load_picture(path, 1024).data == path.read_bytes()

    def test_where_it_was_taken_is_not_sent(self, tmp_path: Path) -> None:
        path = photograph(tmp_path / "g.jpg", (60, 40), 1, gps=True)
        with Image.open(io.BytesIO(load_picture(path, 1024).data)) as sent:
            assert not sent.getexif()

    def test_an_answer_about_the_picture_on_its_side_is_not_used_for_it_upright(self, tmp_path: Path) -> None:
        from llava_faba.datatools.annotate.images import fingerprint

        turned, upright = photograph(tmp_path / "t.jpg", (60, 40), 6), photograph(tmp_path / "u.jpg", (60, 40), 1)
        assert fingerprint(turned).endswith("/upright")
        assert "/" not in fingerprint(upright)

    def test_formats_that_start_programs_are_not_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "face.jpg"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        with pytest.raises(ValueError, match="not a readable image"):
            load_picture(path, None)

    @pytest.mark.parametrize(
        "name", ["/etc/passwd", "../secret.png", "pipe", "/dev/zero", "a\0b", "link.png", "folder"]
    )
    def test_a_record_names_nothing_else_than_its_images(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "faces"
        folder.mkdir()
        photograph(tmp_path / "secret.png", (8, 8), None)
        os.mkfifo(folder / "pipe")
        (folder / "folder").mkdir()
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        file = tmp_path / "train.json"
        file.write_text(json.dumps([{"image": name, "label": "1", "gpt4": "AU1."}]))
        with pytest.raises(UserError, match=r"train\.json\[0\]: image"):
            targets_in_files([file], "au", folder)
        if name in ("../secret.png", "link.png"):
            assert targets_in_files([file], "au", folder, allow_outside=True)

    def test_hidden_files_and_others_are_counted(self, tmp_path: Path) -> None:
        from llava_faba.datatools.convert.images import Census

        photograph(tmp_path / "A.JPG", (8, 8), None)
        (tmp_path / "._A.JPG").write_bytes(b"\0\5\26\7")
        (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
        census = Census()
        assert [target.image for target in targets_in_folder(tmp_path, census)] == ["A.JPG"]
        assert "1 .heic (such as b.heic)" in "\n".join(census.notes())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        '{"choices": {}}',
        '{"choices": [1]}',
        '{"choices": [{"message": 1}]}',
        '{"error": {"message": "overloaded"}}',
        "data: {",
        "[" * 100000,
        '{"a": 1, "a": 2}',
    ],
)
def test_bodies_without_an_answer(body: str) -> None:
    with pytest.raises(NoAnswer):
        parse_reply(body)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("stop", "stop"),
        ("END_TURN", "stop"),
        ("length", "length"),
        ("max-tokens", "length"),
        ("RECITATION", "content_filter"),
        (None, ""),
        ("whatever", "whatever"),
    ],
)
def test_finish_reasons(given: object, name: str) -> None:
    assert finish_reason(given) == name


def test_a_damaged_line_without_a_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    for line in ('{"status": "answer"}', "[1]", '{"key": "a", "status": "answer", "text": 5}'):
        path.write_text(f'{{"key": "a", "status": "answer", "text": "x"}}\n{line}\n')
        with pytest.raises(UserError, match=r"raw\.jsonl, line 2"):
            Journal(path)


@pytest.mark.parametrize(("act", "code"), [("status|400", 1), ("status|500", 1), ("paidforempty", 1), ("good", 0)])
def test_a_run_that_answers_nothing_does_not_end_well(
    server: Server, faces, tmp_path: Path, act: str, code: int
) -> None:
    server.default = act
    command = [sys.executable, "-m", "llava_faba.cli", "data", "annotate", "--task", "au", "--yes", "--attempts", "2"]
    command += ["--images", str(faces(2)), "--out", str(tmp_path / "o"), "--base-url", server.url, "--model", "m"]
    result = subprocess.run(
        [*command, "--first-pause", "0.02"],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": KEY + "\n"},
        timeout=120,
        check=False,
    )
    assert result.returncode == code, result.stderr
    assert ("not one answer" in result.stderr) == bool(code)
    assert "Traceback" not in result.stderr
    assert KEY not in result.stderr + result.stdout


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["stop", "length", GOOD]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "content", "usage", "finish_reason", "text", "type", "delta", "error", "refusal",
             "prompt_tokens", "completion_tokens", "value", "reasoning_content"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(value=_VALUES, stream=st.booleans(), cut=st.integers(0, 30))
def test_whatever_a_server_sends_is_an_answer_or_none(value: object, stream: bool, cut: int) -> None:
    body = json.dumps({"choices": [value], "usage": value} if cut % 2 else value)
    body = f"data: {body}\n\ndata: [DONE]\n" if stream else body
    try:
        reply_ = parse_reply(body[: len(body) - cut] if cut > 20 else body)
    except NoAnswer:
        return
    assert isinstance(reply_.text, str)
    reply_.text.encode("utf-8")
    assert all(isinstance(count, int) and count >= 0 for count in reply_.usage.values())
