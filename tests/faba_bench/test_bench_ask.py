"""faba-bench ask: many in flight, resumable, through a server that misbehaves; the answers can be scored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faba_bench
import pytest
from annotation_server import KEY, Server
from faba_bench.cli import main
from http_servers import answering
from PIL import Image

pytest.importorskip("httpx")


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as running:
        yield running


@pytest.fixture
def command(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ten pictures, whose grey values tell the server which is which, and the command that asks about them."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    lines = []
    for number in range(1, 11):
        Image.new("RGB", (16, 16), (number * 10,) * 3).save(tmp_path / f"{number}.png")
        lines.append({"question_id": number, "image": f"{number}.png", "text": "What AUs are conveyed by this face?"})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["ask", "--base-url", server.url, "--model", "some-model", "--question-file", str(tmp_path / "q.jsonl")]
    return [*words, "--image-folder", str(tmp_path), "--out", str(tmp_path / "a.jsonl"), "--timeout", "2"]


def answers(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]


def test_answers_are_in_order_and_are_scored(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.default = "slow"
    server.plan = {2: ["drop"], 3: ["half"], 4: ["status|503"], 5: ["invalid"], 6: ["text|AU1|length"]}
    assert main([*command, "--price-input", "1", "--price-output", "2", "--json"]) == 0
    printed = capsys.readouterr()
    assert "10 requests" in printed.err and "cost: about" in printed.err
    found = json.loads(printed.out)
    assert (found["answered"], found["failures"], found["cut"]) == (10, {}, ["6"])
    assert found["input_tokens"] == 10_000
    assert [line["question_id"] for line in answers(tmp_path)] == list(range(1, 11))
    annotations = [{"id": number, "label": "6, 12", "gpt4": "A smile."} for number in range(1, 11)]
    result = faba_bench.score("au", "faba", annotations, tmp_path / "a.jsonl", bootstrap=0)
    assert sum(sample["parsed"] == [6, 12] for sample in result["modes"]["strict"]["samples"]) == 9
    assert server.most_in_flight > 1
    assert KEY not in (tmp_path / "a.jsonl").read_text()


def test_failed_questions_are_asked_again_and_answered_ones_are_not(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.plan = {7: ["status|400"]}
    (tmp_path / "8.png").write_bytes(b"no picture")
    assert main([*command, "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["failures"]) == {"7", "8"}
    asked = sum(server.seen.values())
    Image.new("RGB", (16, 16), (80,) * 3).save(tmp_path / "8.png")
    with (tmp_path / "a.jsonl").open("a") as stream:
        stream.write('{"question_id": 9, "te')  # a crash cut this line short
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answered"], found["before"]) == (2, 8)
    assert sum(server.seen.values()) == asked + 2


def test_answers_of_another_model_question_or_picture_are_not_taken_over(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    before = (tmp_path / "a.jsonl").read_bytes()
    assert main(["other-model" if word == "some-model" else word for word in command]) == 2
    Image.new("RGB", (16, 16), (200,) * 3).save(tmp_path / "3.png")
    assert main(command) == 2
    assert "another model, prompt, setting or picture" in capsys.readouterr().err
    assert (tmp_path / "a.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"question_id": 1, "image": "../x.png", "text": "?"}', "x.png"),
        ('{"question_id": 1, "text": "?"}', "no object with"),
        ("", "no questions"),
    ],
)
def test_bad_questions_are_named_before_anything_is_sent(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, part: str
) -> None:
    (tmp_path / "q.jsonl").write_text(line)
    assert main(command) == 2
    assert part in capsys.readouterr().err
    assert not server.seen


def test_pictures_that_are_none_fail_alone(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """A pipe among the pictures was waited for, for ever; a huge one was decoded."""
    (tmp_path / "2.png").unlink()
    os.mkfifo(tmp_path / "2.png")
    monkeypatch.setattr("faba_bench.chat.ask.PIXEL_LIMIT", 300)
    Image.new("RGB", (20, 20), (30,) * 3).save(tmp_path / "3.png")
    damaged = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(damaged[:40] + b"\xff" * 20 + damaged[60:])
    (tmp_path / "5.png").unlink()
    assert main([*command, "--json"]) == 1
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert failures.keys() == {"2", "3", "4", "5"}
    assert "a pipe" in failures["2"] and "more than the limit" in failures["3"] and "No such file" in failures["5"]


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "deep", "twice"])
def test_an_answers_file_that_is_none(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    out = tmp_path / "a.jsonl"
    if kind == "pipe":
        os.mkfifo(out)
    elif kind == "/dev/zero":
        out.symlink_to(kind)
    else:
        out.write_text("[" * 100_000 + "\n" if kind == "deep" else '{"question_id": 1, "question_id": 2}\n')
    assert main(command) == 2
    printed = capsys.readouterr().err
    assert str(out) in printed and len(printed) < 600
    assert not server.seen


def test_a_refused_key_ends_the_run_without_showing_it(
    command: list[str], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.default = "status|401"
    assert main(command) == 2
    printed = capsys.readouterr()
    assert "the key was refused" in printed.err and KEY not in printed.err + printed.out


def test_an_estimate_sends_nothing(command: list[str], server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--estimate", "--price-input", "1", "--price-output", "1"]) == 0
    assert "10 requests" in capsys.readouterr().out
    assert not server.seen


def test_neither_torch_nor_llava_is_imported() -> None:
    code = "import sys, faba_bench.chat.ask; sys.exit(any(n in sys.modules for n in ('torch', 'llava', 'llava_faba')))"
    root = Path(faba_bench.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)}).returncode == 0
