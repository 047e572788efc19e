"""Mutated annotation, answer and result files, stores, pictures and server bodies, through the commands.

Each case ends in 0, 1 or 2, within seconds, without a traceback; a store called sound gives the priors that were put
in; a score that is given is of all samples; what is only read stays as it was.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from faba_bench.cli import main as bench_main
from fuzz_counting import count_case
from fuzz_mutations import damage_bytes, damage_json
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from llava_faba.cli.main import main as faba_main

IMAGES, SIZE, LIMIT = 6, 136, 40
SECONDS = 200  # of the slow part
KEY = "sk-fuzz-5e4d3c2b1a"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]")
ANSWER = "The face shows a smile. AU6 - Cheek raiser: the cheeks are lifted. AU12 - Lip corner puller."


def vector(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=SIZE).astype(np.float32)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the commands read."""
    from llava_faba.priors.writer import PriorStoreWriter, Row

    folder = tmp_path_factory.mktemp("clean")
    (folder / "data").mkdir()
    (folder / "npy").mkdir()
    names = [f"{index}.png" for index in range(IMAGES)]
    for index, name in enumerate(names):
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(
            folder / "data" / name
        )
        np.save(folder / "npy" / f"{index}.npy", vector(index))
    records = [
        {
            "id": str(index),
            "image": name,
            "source": "x",
            "conversations": [
                {"from": "human", "value": "What AUs are conveyed by this face?\n<image>"},
                {"from": "gpt", "value": ANSWER},
            ],
        }
        for index, name in enumerate(names)
    ]
    evaluation = [{"id": str(i), "image": name, "label": "6, 12", "gpt4": ANSWER} for i, name in enumerate(names)]
    answers = [{"question_id": str(index), "text": ANSWER} for index in range(IMAGES)]
    (folder / "train.json").write_text(json.dumps(records))
    (folder / "eval.json").write_text(json.dumps(evaluation))
    (folder / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    with PriorStoreWriter(folder / "store", expert="dlib-68", version="1", settings={}, size=SIZE) as writer:
        writer.append(Row(name, vector(index), "found", (40, 40)) for index, name in enumerate(names))
    command = ["score", "--task", "au", "--protocol", "faba", "--bootstrap", "20", "--annotations", "eval.json"]
    with in_folder(folder), contextlib.redirect_stdout(io.StringIO()):
        assert bench_main([*command, "--answers", "answers.jsonl", "--output", "result.json"]) == 0
    return folder


BENCH = ["faba-bench", "score", "--task", "au", "--protocol", "faba", "--bootstrap", "20"]
COMMANDS: dict[str, list[list[str]]] = {
    "train.json": [
        ["data", "validate", "train.json", "--image-folder", "data", "--no-progress"],
        ["data", "validate", "train.json", "--no-images", "--no-progress"],
        ["data", "stats", "train.json", "--json"],
        ["data", "mix", "--input", "train.json", "--out", "mixed"],
        ["priors", "verify", "store", "--annotations", "train.json", "--image-folder", "data"],
        ["priors", "import", "--annotations", "train.json", "--image-folder", "data", "--npy", "npy", "--out", "new"],
    ],
    "eval.json": [
        [*BENCH, "--annotations", "eval.json", "--answers", "answers.jsonl", "--output", "out.json"],
        ["bench", "questions", "eval.json", "--out", "questions.jsonl"],
        ["data", "validate", "eval.json", "--image-folder", "data", "--no-progress"],
        ["data", "stats", "eval.json"],
    ],
    "answers.jsonl": [
        [*BENCH, "--annotations", "eval.json", "--answers", "answers.jsonl", "--output", "out.json"],
        [*BENCH, "--annotations", "eval.json", "--answers", "answers.jsonl", "--report", "out.html"],
    ],
    "result.json": [["faba-bench", "compare", "result.json", "good.json", "--samples", "20"]],
    "store": [
        ["priors", "verify", "store"],
        ["priors", "verify", "store"],
        ["priors", "info", "store", "--json"],
        ["priors", "get", "store", "3.png", "--json"],
        ["priors", "merge", "store", "--out", "merged"],
        ["priors", "stats", "store", "--out", "stats"],
        ["data", "validate", "train.json", "--image-folder", "data", "--priors", "store", "--no-progress"],
    ],
    "npy": [["priors", "import", "--images", "data", "--npy", "npy", "--out", "new"]],
    "data": [["data", "validate", "train.json", "--image-folder", "data", "--no-progress"]],
}


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """contextlib.chdir, which Python 3.10 lacks."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Hang(BaseException):
    pass


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(5 * seconds, exit=True)  # of a library that comes back to Python never again
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def run(command: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with within(LIMIT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = bench_main(command[1:]) if command[0] == "faba-bench" else faba_main(command)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue() + err.getvalue()


def mutate(folder: Path, what: str, random: Random) -> str:
    path = folder / what
    if path.is_dir():
        path = random.choice(sorted(one for one in path.rglob("*") if one.is_file()))
    kind = random.randrange(10)
    if path.suffix == ".json" and kind < 5:
        text, done = damage_json(json.loads(path.read_text()), random)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    elif path.suffix == ".jsonl" and kind < 6:
        lines = path.read_text().splitlines()
        at = random.randrange(len(lines))
        if kind == 0:
            lines.insert(at, lines[random.randrange(len(lines))])
        elif kind == 1:
            del lines[at]
        else:
            lines[at] = damage_json(json.loads(lines[at]), random)[0]
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        done = f"line {at}, {kind}"
    elif kind == 9:
        path.unlink()
        done = "gone"
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), random))
        done = "bytes"
    return f"{path.relative_to(folder)}: {done}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_case(seed: int, clean: Path, work: Path) -> None:
    random = Random(seed)
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(clean, folder)
    shutil.copy(folder / "result.json", folder / "good.json")
    what = random.choice(list(COMMANDS))
    command = random.choice(COMMANDS[what])
    done = mutate(folder, what, random)
    told = f"seed {seed}, {done}, {' '.join(command[:3])}"
    before = {name: contents(folder / name) for name in ("store", "data", "npy")}
    with in_folder(folder):
        try:
            code, text = run(command)
        except Hang:
            raise AssertionError(f"{told}: a hang") from None
        except Exception as error:
            raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
        assert code in (0, 1, 2), f"{told}: exit code {code}"
        assert "Traceback" not in text, f"{told}: {text[-1500:]}"
        assert not _CONTROL.search(text), f"{told}: control characters in {text[-600:]!r}"
        assert {name: contents(folder / name) for name in before} == before, f"{told}: an input was changed"
        if code == 0 and command[:2] == ["priors", "verify"] and what == "store":
            check_store(folder, told)
        if code == 0 and command[:2] == ["priors", "merge"]:
            check_merged(folder, told)
        if code == 0 and command[0] == "faba-bench" and "out.json" in command:
            check_score(folder, told)
    count_case("files", "refused" if code else "read")


def check_store(folder: Path, told: str) -> None:
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(folder / "store")
    for index in range(IMAGES):
        assert np.array_equal(store.get(f"{index}.png"), vector(index)), f"{told}: sound, with another prior"


def check_merged(folder: Path, told: str) -> None:
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(folder / "merged")
    for index in range(IMAGES):
        with contextlib.suppress(Exception):
            found = store.get(f"{index}.png")
            assert np.array_equal(found, vector(index)) or not found.any(), f"{told}: merged, with another prior"


def check_score(folder: Path, told: str) -> None:
    result = json.loads((folder / "out.json").read_text())
    records = json.loads((folder / "eval.json").read_text(encoding="utf-8-sig"))
    assert result["n"] == len(records), f"{told}: a score of {result['n']} samples"


@pytest.mark.parametrize("part", range(4))
def test_a_few_mutated_files(part, clean, tmp_path):
    for seed in range(25 * part, 25 * part + 25):
        one_case(seed, clean, tmp_path)


@pytest.mark.slow
def test_many_mutated_files(clean, tmp_path):
    until = time.monotonic() + SECONDS  # of this test: in a whole run it begins long after this file was read

    @settings(
        max_examples=int(os.environ.get("LLAVA_FABA_FUZZ", 4000)),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(min_value=1000, max_value=2**32))
    def many(seed: int) -> None:
        if time.monotonic() < until:
            one_case(seed, clean, tmp_path)

    many()


class Strange(BaseHTTPRequestHandler):
    """Answers with a mutated body, status and header, drawn from the server's ``random``."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        random: Random = self.server.random  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        body: bytes = json.dumps({"choices": [choice], "usage": usage}).encode()
        kind = random.randrange(5)
        if kind == 0:
            body = damage_bytes(body, random)
        elif kind < 4:
            body = damage_json({"choices": [choice], "usage": usage}, random)[0].encode("utf-8", "surrogatepass")
        if random.randrange(6) == 0:
            body = f"{KEY} {self.headers.get('Authorization')}".encode()
        self.send_response(random.choice((200, 200, 200, 200, 400, 404, 500, 429)), random.choice((None, f"no {KEY}")))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", random.choice(("application/json", "text/html", "text/event-stream")))
        self.send_header("Retry-After", random.choice(("0", "x", "-1")))
        self.end_headers()
        self.wfile.write(body)


def one_server_case(seed: int, clean: Path, work: Path) -> None:
    random = Random(seed)
    folder = work / "served"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(clean / "data", folder / "data")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Strange)
    server.random = random  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    command = (
        f"data annotate --task au --images data --out out --model m --yes --attempts 2 "
        f"--base-url http://127.0.0.1:{server.server_port}/v1 --first-pause 0.01 --timeout 5 --concurrency 1"
    )
    try:
        with in_folder(folder), pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            try:
                code, text = run(command.split())
            except Hang:
                raise AssertionError(f"seed {seed}: a hang") from None
            assert code in (0, 1, 2) and "Traceback" not in text, f"seed {seed}: {code}: {text[-1500:]}"
            written = text + "".join(path.read_text(errors="replace") for path in folder.rglob("*.json*"))
            assert KEY not in written, f"seed {seed}: the key was printed or written"
    finally:
        server.shutdown()
        server.server_close()
    count_case("server answers", "refused" if code else "taken")


def test_a_few_strange_servers(clean, tmp_path):
    for seed in range(12):
        one_server_case(seed, clean, tmp_path)


@pytest.mark.slow
def test_many_strange_servers(clean, tmp_path):
    until = time.monotonic() + SECONDS / 4
    seed = 100
    while time.monotonic() < until and seed < 400:
        one_server_case(seed, clean, tmp_path)
        seed += 1
