"""Devices, pipes, bytes that are no text and nesting without end, in every place where a command reads a file."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCORE = "faba-bench score --task au --annotations eval.json --answers a.jsonl --bootstrap 0 --protocol"
ASK = "faba-bench ask --base-url http://127.0.0.1:1/v1 --model m --image-folder data --attempts 1"
COMMANDS = {
    "protocol": f"{SCORE} @.json",
    "annotations": "faba-bench score --task au --protocol faba --annotations @ --answers a.jsonl",
    "answers": "faba-bench score --task au --protocol faba --annotations eval.json --answers @",
    "landmarks": f"{SCORE} faba --report r.html --image-folder data --landmarks @",
    "result": "faba-bench compare @",
    "prompt": "data annotate --task au data --out out --model m --dry-run --prompt @.txt",
    "decisions": "data annotate --task au data --out out --model m --apply @",
    "annotated": "data annotate --task au --annotations @ --image-folder data --out out --model m --dry-run",
    "mixture": "data mix --repeat @ --out mixed",
    "partition": "data convert gft --root data --partition @ --out converted",
    "records": "data validate @ --no-images --no-progress",
    "described": "data stats @",
    "named images": "priors extract --expert dlib-68 --annotations @ --image-folder data --out new --no-progress",
    "recipe": "recipe plan @.yaml",
    "training": "train @.yaml --check",
    "matrix": "faba-bench table @",
    "asked": f"{ASK} --question-file @ --out a9.jsonl",
    "questions": "bench questions @ --task au --out q.jsonl",
}
CONTENTS = {
    "latin": '{"name": "caf\u00e9", "task": 1}\n'.encode("latin-1"),
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 100_000,
    "zeros": bytes(5000),
    "digits": b'{"version": ' + b"9" * 6000 + b"}",
    "twice": b'{"id": "1", "id": "2", "label": "1", "label": "2"}\n',
    "surrogate": b'[{"id": "\\ud800", "image": "\\udfff.png", "label": ["\\ud800"], "conversations": "\\ud800"}]',
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange")
    (folder / "data").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "data" / "0.png")
    (folder / "eval.json").write_text(json.dumps([{"id": "0", "image": "0.png", "label": "1, 4", "gpt4": "AU1"}]))
    (folder / "a.jsonl").write_text(json.dumps({"question_id": "0", "text": "AU1"}) + "\n")
    for suffix in ("", ".json", ".txt", ".yaml"):
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
        for name, content in CONTENTS.items():
            (folder / f"{name.replace(' ', '-')}{suffix}").write_bytes(content)
    return folder


def run(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """In this process: an exception is a traceback, and a pipe that nobody writes to ends it after a minute."""
    from faba_bench.cli import main as bench

    from llava_faba.cli.main import main

    monkeypatch.chdir(folder)
    signal.alarm(60)
    try:
        words = line.split()
        code = bench(words[1:]) if words[0] == "faba-bench" else main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        signal.alarm(0)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("place", ["pipe", "zero"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_and_a_device_are_not_opened(name, place, inputs, monkeypatch, capsys):
    code, said = run(COMMANDS[name].replace("@", place), inputs, monkeypatch, capsys)
    assert code in (1, 2) and place in said, said


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_bytes_that_are_not_what_is_read_are_a_sentence(name, content, inputs, monkeypatch, capsys):
    if name == "prompt" and content != "latin":
        pytest.skip("any text is a prompt")
    file = content.replace(" ", "-")
    code, said = run(COMMANDS[name].replace("@", file), inputs, monkeypatch, capsys)
    harmless = content == "surrogate" and name in ("described", "questions")  # which open no picture
    assert code in ((0,) if harmless else (1, 2)) and len(said) < 8000, (code, said[:3000])
    assert harmless or file in said, said


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 200_000, b"{}", b'{"image": 1}\n{"status": []}\n'])
@pytest.mark.parametrize("file", ["align.jsonl", "align.json"])
def test_a_strange_log_of_an_alignment(file, content, inputs, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / file).write_bytes(content)
    line = f"align data --out {tmp_path / 'out'} --expert dlib-68 --no-progress"
    code, said = run(line, inputs, monkeypatch, capsys)
    assert code in (0, 2), said
    (tmp_path / "out" / file).unlink()
    os.mkfifo(tmp_path / "out" / file)
    code, said = run(line, inputs, monkeypatch, capsys)
    assert code == 2 and "pipe" in said, said
