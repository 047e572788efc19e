"""Commands that write to a read-only file system, and to a full one: one sentence that names the place, exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCORE = "faba-bench score --task au --protocol faba --annotations eval.json --answers a.jsonl --bootstrap 0"
COMMANDS = {
    "extract": "priors extract --expert dlib-68 data --out @/store --no-progress",
    "import": "priors import data --npy npy --out @/new",
    "info": "priors info store --output @/i.json",
    "merge": "priors merge store --out @/merged",
    "export": "priors export store --out @/x.npz",
    "export npy": "priors export store --npy @/npy",
    "show": "priors show data/0.png --priors store --image-folder data --out @/show",
    "stats": "priors stats store --out @/stats",
    "align": "align data --out @/aligned --expert dlib-68 --no-progress",
    "validate": "data validate train.json --image-folder data --no-progress --output @/v.json",
    "mix": "data mix --input train.json --out @/mixed --no-progress",
    "described": "data stats train.json --output @/s.json",
    "plots": "data stats train.json --plots @/plots",
    "annotate": "data annotate --task au data --out @/a --model m --yes --base-url http://127.0.0.1:1/v1 --no-progress",
    "questions": "bench questions eval.json --task au --out @/q.jsonl",
    "score": f"{SCORE} --output @/s.json",
    "report": f"{SCORE} --report @/s.html",
    "markdown": f"{SCORE} --markdown @/s.md",
    "bench plots": f"{SCORE} --plots @/plots",
    "protocols": "faba-bench protocols --output @/p.json",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    folder = tmp_path_factory.mktemp("inputs")
    for name in ("data", "npy"):
        (folder / name).mkdir()
    for n in range(3):
        Image.fromarray(np.full((40, 40, 3), 40 * n, np.uint8)).save(folder / "data" / f"{n}.png")
        np.save(folder / "npy" / f"{n}.npy", np.full(136, n, np.float32))
    turns = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "AU1"}]
    records = [{"id": str(n), "image": f"{n}.png", "conversations": turns} for n in range(3)]
    (folder / "train.json").write_text(json.dumps(records))
    evaluation = [{"id": str(n), "image": f"{n}.png", "label": "1, 4", "gpt4": "AU1"} for n in range(3)]
    (folder / "eval.json").write_text(json.dumps(evaluation))
    lines = [json.dumps({"question_id": str(n), "text": "AU1"}) + "\n" for n in range(3)]
    (folder / "a.jsonl").write_text("".join(lines))
    with PriorStoreWriter(folder / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        rows = [np.random.default_rng(n).normal(size=136).astype(np.float32) for n in range(3)]
        writer.append(Row(f"{n}.png", row, "found", (40, 40)) for n, row in enumerate(rows))
    return folder


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; only root may mount one."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if os.geteuid() != 0 or done.returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from mounted(tmp_path_factory.mktemp("read-only"), "ro,size=1m")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    for folder in mounted(tmp_path, "size=64k"):
        with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        yield folder


def run(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """In this process: an exception is a traceback."""
    from faba_bench.cli import main as bench

    from llava_faba.cli.main import main

    monkeypatch.chdir(folder)
    words = line.split()
    try:
        code = bench(words[1:]) if words[0] == "faba-bench" else main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_file_system(name, inputs, read_only, monkeypatch, capsys):
    code, said = run(COMMANDS[name].replace("@", str(read_only)), inputs, monkeypatch, capsys)
    assert code == 2 and f"{read_only}/" in said and "the file system is read-only" in said, said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_file_system(name, inputs, full, monkeypatch, capsys):
    code, said = run(COMMANDS[name].replace("@", str(full)), inputs, monkeypatch, capsys)
    assert code == 2 and f"{full}/" in said and ("disk is full" in said or "No space left" in said), said
    left = [path for path in full.rglob("*") if path.is_file() and path.name != "filler"]
    assert not [path for path in left if path.suffix in (".tmp", ".partial", ".png", ".html", ".md", ".npz")], left


def test_a_store_on_a_read_only_file_system_is_read(inputs, tmp_path, monkeypatch, capsys):
    import shutil

    for folder in mounted(tmp_path, "size=1m"):
        shutil.copytree(inputs / "store", folder / "store")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        for command in ("priors verify @/store", "priors info @/store", "priors get @/store 0.png"):
            code, said = run(command.replace("@", str(folder)), inputs, monkeypatch, capsys)
            assert code == 0, said
