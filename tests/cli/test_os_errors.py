"""Whatever the file system refuses reaches the user as one sentence that names the file, with exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ADAPTER, llava_faba_command, run_python

READ = {
    "data validate": ["data", "validate", "@", "--no-images", "--no-progress"],
    "data stats": ["data", "stats", "@"],
    "data mix": ["data", "mix", "--input", "@", "--out", "mixed"],
    "bench questions": ["bench", "questions", "@", "--out", "q.jsonl"],
    "priors info": ["priors", "info", "@"],
    "priors verify": ["priors", "verify", "@"],
    "priors get": ["priors", "get", "@", "0.png"],
    "priors merge": ["priors", "merge", "@", "--out", "merged"],
    "priors stats": ["priors", "stats", "@"],
    "priors import": ["priors", "import", "--images", "@", "--npy", "npy", "--out", "new"],
    "priors extract": ["priors", "extract", "--expert", "dlib-68", "--images", "@", "--out", "new"],
    "align": ["align", "@", "--out", "new", "--expert", "dlib-68"],
    "merge": ["merge", "--model-path", "@", "--save-model-path", "new"],
    "checkpoint import": ["checkpoint", "import", "--model-path", "@", "--out", "new"],
    "predict": ["predict", "--model-path", "@", "--image", "data/0.png"],
    "doctor": ["doctor", "--model-path", "@"],
    "score": [
        "faba-bench",
        "score",
        "--task",
        "au",
        "--protocol",
        "faba",
        "--annotations",
        "@",
        "--answers",
        "a.jsonl",
    ],
    "compare": ["faba-bench", "compare", "@"],
}
WRITE = {
    "data stats": ["data", "stats", "train.json", "--output", "@"],
    "data mix": ["data", "mix", "--input", "train.json", "--out", "@"],
    "bench questions": ["bench", "questions", "train.json", "--task", "au", "--out", "@"],
    "priors merge": ["priors", "merge", "store", "--out", "@"],
    "priors stats": ["priors", "stats", "store", "--out", "@"],
    "priors import": ["priors", "import", "--images", "data", "--npy", "npy", "--out", "@"],
    "align": ["align", "data", "--out", "@", "--expert", "dlib-68"],
    "checkpoint import": ["checkpoint", "import", "--model-path", ADAPTER, "--out", "@"],
    "checkpoint export": ["checkpoint", "export", "--model-path", ADAPTER, "--out", "@"],
    "score": [
        "faba-bench", "score", "--task", "au", "--protocol", "faba", "--annotations", "eval.json", "--answers",
        "a.jsonl",
        "--bootstrap", "10", "--output", "@",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    folder = tmp_path_factory.mktemp("inputs")
    for name in ("base", "clip-tiny", ADAPTER):
        shutil.copytree(golden / name, folder / name)
    (folder / "data").mkdir()
    (folder / "npy").mkdir()
    for index in range(3):
        Image.fromarray(np.full((40, 40, 3), 40 * index, np.uint8)).save(folder / "data" / f"{index}.png")
        np.save(folder / "npy" / f"{index}.npy", np.full(136, index, np.float32))
    turns = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "AU1"}]
    records = [{"id": str(n), "image": f"{n}.png", "conversations": turns} for n in range(3)]
    (folder / "train.json").write_text(json.dumps(records))
    evaluation = [{"id": str(n), "image": f"{n}.png", "label": "1, 4", "gpt4": "AU1"} for n in range(3)]
    (folder / "eval.json").write_text(json.dumps(evaluation))
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"question_id": str(n), "text": "AU1"}) + "\n" for n in range(3))
    )
    with PriorStoreWriter(folder / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        writer.append(Row(f"{n}.png", np.full(136, n, np.float32), "found", (40, 40)) for n in range(3))
    (folder / "file").write_text("x")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


def run(command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """In this process: an exception is a traceback."""
    from faba_bench.cli import main as bench

    from llava_faba.cli.main import main

    monkeypatch.chdir(folder)
    signal.alarm(60)  # a pipe that nobody writes to must not be waited for
    try:
        code = bench(command[1:]) if command[0] == "faba-bench" else main(command)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        signal.alarm(0)
    said = capsys.readouterr()
    assert code == (1 if command[0] == "doctor" else code) and code in (1, 2), said
    return said.out + said.err


PLACES = {"long": "n" * 300, "below a file": "file/x", "loop": "loop", "nothing": "nowhere/x", "pipe": "pipe"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", READ)
def test_what_cannot_be_read_is_a_sentence(name, place, inputs, monkeypatch, capsys):
    text = run([PLACES[place] if one == "@" else one for one in READ[name]], inputs, monkeypatch, capsys)
    assert PLACES[place][:60].split("/")[0] in text, text


@pytest.mark.parametrize("place", ["long", "below a file", "loop"])
@pytest.mark.parametrize("name", WRITE)
def test_what_cannot_be_written_is_a_sentence(name, place, inputs, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in (inputs / "store").iterdir() if path.is_file()}
    if (name, place) == ("score", "loop"):
        pytest.skip("the file takes the link's place")
    text = run([PLACES[place] if one == "@" else one for one in WRITE[name]], inputs, monkeypatch, capsys)
    assert PLACES[place][:60].split("/")[0] in text, text
    assert {path: path.read_bytes() for path in (inputs / "store").iterdir() if path.is_file()} == before


FULL = [
    ["-m", "faba_bench", "protocols"],
    ["-m", "llava_faba", "data", "stats", "train.json"],
    ["-m", "llava_faba", "priors", "info", "store"],
]


@pytest.mark.parametrize("command", FULL, ids=lambda command: " ".join(command[1:3]))
def test_a_full_disk_behind_standard_output(inputs, command):
    line = (
        "import subprocess, sys\n"
        f"done = subprocess.run([sys.executable, *{command!r}], stdout=open('/dev/full', 'w'))\n"
        "sys.exit(done.returncode)"
    )
    result = run_python("-c", line, cwd=inputs)
    assert result.returncode == 2 and "full" in result.stderr and "Traceback" not in result.stderr, result.stderr


def test_a_disk_that_is_full(inputs):
    """``/dev/full`` refuses every byte."""
    result = llava_faba_command("bench", "questions", "train.json", "--task", "au", "--out", "/dev/full/x", cwd=inputs)
    assert result.returncode == 2 and "/dev/full" in result.stderr and "Traceback" not in result.stderr, result.stderr
