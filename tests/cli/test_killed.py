"""kill -9 at any moment: no half result, and after the next run no draft; the next run works."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ADAPTER

KILLS = int(os.environ.get("LLAVA_FABA_KILLS", 3))
SCORE = "faba-bench score --task au --protocol faba --annotations eval.json --answers a.jsonl --bootstrap 0"
COMMANDS = {
    "score": f"{SCORE} --output @/s.json --report @/s.html --markdown @/s.md",
    "extract": "priors extract --expert dlib-68 data --out @/store --no-progress",
    "import": "priors import data --npy npy --out @/new",
    "merge": "priors merge store --out @/merged",
    "export": "priors export store --out @/x.npz",
    "export npy": "priors export store --npy @/npy",
    "stats": "priors stats store --out @/stats",
    "show": "priors show data/0.png --priors store --image-folder data --out @/show",
    "align": "align data --out @/aligned --expert dlib-68 --no-progress",
    "mix": "data mix --input train.json --out @/mixed --no-progress",
    "plots": "data stats train.json --plots @/plots",
    "convert": "data convert rafdb --root rafdb --out @/rafdb",
    "questions": "bench questions eval.json --task au --out @/q.jsonl",
    "to-transformers": "checkpoint to-transformers --model-path checkpoint --out @/native",
    "from-transformers": "checkpoint from-transformers --model-path native --out @/llava",
    "merge checkpoint": "checkpoint merge --model-path checkpoint --out @/whole",
    "import checkpoint": "checkpoint import --model-path checkpoint --out @/imported",
    "validate": "data validate train.json --image-folder data --no-progress --output @/v.json",
    "leaderboard": "faba-bench leaderboard results --out @/site --output @/l.json",
    "export checkpoint": "checkpoint export --model-path checkpoint --out @/reference",
}
# What may be there of a killed run: these go on from it, and hold nothing half in what they count as done.
JOURNALS = {"extract", "import", "merge", "align", "export npy"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> Path:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    folder = tmp_path_factory.mktemp("inputs")
    for name in ("data", "npy", "rafdb/EmoLabel", "rafdb/Image/aligned"):
        (folder / name).mkdir(parents=True)
    for n in range(3):
        Image.fromarray(np.full((40, 40, 3), 40 * n, np.uint8)).save(folder / "data" / f"{n}.png")
        np.save(folder / "npy" / f"{n}.npy", np.full(136, n, np.float32))
    for n in range(1, 5):
        Image.new("RGB", (40, 40), (n, 0, 0)).save(folder / "rafdb/Image/aligned" / f"train_{n:05}_aligned.jpg")
    lines = [f"train_{n:05}.jpg {n}\n" for n in range(1, 5)]
    (folder / "rafdb/EmoLabel/list_patition_label.txt").write_text("".join(lines))
    turns = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "AU1"}]
    records = [{"id": str(n), "image": f"{n}.png", "conversations": turns} for n in range(3)]
    (folder / "train.json").write_text(json.dumps(records))
    evaluation = [{"id": str(n), "image": f"{n}.png", "label": "1, 4", "gpt4": "AU1"} for n in range(3)]
    (folder / "eval.json").write_text(json.dumps(evaluation))
    answers = [json.dumps({"question_id": str(n), "text": "AU1"}) + "\n" for n in range(3)]
    (folder / "a.jsonl").write_text("".join(answers))
    with PriorStoreWriter(folder / "store", expert="dlib-68", version="1", settings={}, size=136) as writer:
        rows = [np.random.default_rng(n).normal(size=136).astype(np.float32) for n in range(3)]
        writer.append(Row(f"{n}.png", row, "found", (40, 40)) for n, row in enumerate(rows))
    (folder / "checkpoint").symlink_to(golden / ADAPTER)
    assert started(f"{SCORE} --output @/results/r.json", folder, folder).wait(600) == 0
    made = started("checkpoint to-transformers --model-path checkpoint --out @/native", folder, folder)
    assert made.wait(600) == 0
    return folder


def started(line: str, inputs: Path, out: Path) -> subprocess.Popen[bytes]:
    words = line.replace("@", str(out)).split()
    module = ["-m", "faba_bench", *words[1:]] if words[0] == "faba-bench" else ["-m", "llava_faba", *words]
    with (out.parent / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, *module], cwd=inputs, stdout=log, stderr=log)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment(name: str, inputs: Path, tmp_path: Path) -> None:
    def run(folder: Path) -> dict[str, bytes]:
        folder.mkdir(exist_ok=True)
        process = started(COMMANDS[name], inputs, folder)
        assert process.wait(600) == 0, (tmp_path / "log").read_text()
        return contents(folder)

    begin = time.monotonic()
    whole = run(tmp_path / "whole")
    seconds = time.monotonic() - begin
    choice = random.Random(name)
    for number in range(KILLS):
        out = tmp_path / f"out{number}"
        out.mkdir()
        process = started(COMMANDS[name], inputs, out)
        time.sleep(seconds * choice.uniform(0.5, 1.02))  # before, it imports
        process.kill()
        process.wait()
        time.sleep(0.5)  # for the process that removes the drafts of folders
        left = {key: value for key, value in contents(out).items() if not key.split("/")[-1].startswith(".")}
        if name not in JOURNALS:
            assert all(whole.get(key) in (value, None) or _is_dated(key) for key, value in left.items()), left.keys()
        if _finished(name, left, whole):
            continue
        again = run(out)
        assert again.keys() == whole.keys(), again.keys() ^ whole.keys()
        assert all(again[key] == whole[key] or _is_dated(key) for key in whole), name


def _is_dated(name: str) -> bool:
    """Files with a time, a random id or a path of their own in them."""
    return name.endswith((".html", ".bin", "meta.json", "lock", "report.json")) or "store" in name


def _finished(name: str, left: dict[str, bytes], whole: dict[str, bytes]) -> bool:
    """A folder that became whole just before the kill cannot be written again."""
    return left.keys() == whole.keys()
