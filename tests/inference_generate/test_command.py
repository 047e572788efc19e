"""``llava-faba bench generate`` as a real process: killed, resumed, refused, failing, verified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import llava_faba_command

from llava_faba.cli.main import main
from llava_faba.records.questions import read_jsonl


def arguments(bench: Any, answers: Path, *more: str) -> list[str]:
    return [
        "bench",
        "generate",
        f"--model-path={bench.model}",
        f"--question-file={bench.file}",
        f"--image-folder={bench.images}",
        f"--answers-file={answers}",
        *more,
    ]


def whole_lines(path: Path) -> list[bytes]:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1].splitlines()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s: {what}")
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_killed_in_the_middle_it_goes_on_where_it_stopped(bench, tmp_path):
    path = tmp_path / "out" / "answers.jsonl"
    command = arguments(bench, path, "--batch-size=2", "--max-new-tokens=300")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "llava_faba", *command], stdout=log, stderr=log)
        try:
            wait_for(lambda: len(whole_lines(path)) >= 4, 120, (tmp_path / "log").read_text())
            workers = children(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    before = whole_lines(path)
    assert workers and 4 <= len(before) < len(bench.questions)
    wait_for(lambda: not any(is_running(worker) for worker in workers), 20, "workers outlive their parent")

    with path.open("ab") as file:  # what a crash in the middle of a write leaves
        file.write('{"question_id": "q17", "text": "hä'.encode()[:-1])
    result = llava_faba_command(*command)
    assert result.returncode == 0, result.stderr[-3000:]
    left = len(bench.questions) - len(before)
    assert f"answered {left} now, {len(before)} before, 0 failed" in result.stdout
    after = whole_lines(path)
    assert set(before) <= set(after)
    answers = [json.loads(line) for line in after]
    assert [answer["question_id"] for answer in answers] == [question["question_id"] for question in bench.questions]


def worker_of(pid: int) -> int | None:
    """The process that holds the model; multiprocessing's resource tracker is another child."""
    for child in children(pid):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


@pytest.mark.slow
def test_a_killed_worker_is_told_and_costs_no_answer(bench, tmp_path):
    path = tmp_path / "answers.jsonl"
    command = arguments(bench, path, "--batch-size=2", "--max-new-tokens=300")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "llava_faba", *command], stdout=log, stderr=log)
        try:
            wait_for(lambda: len(whole_lines(path)) >= 2, 300, (tmp_path / "log").read_text())
            worker = worker_of(process.pid)
            assert worker is not None
            os.kill(worker, signal.SIGKILL)  # as the kernel does when memory runs out
            assert process.wait(60) == 2
        finally:
            process.kill()
    assert "a worker process ended with exit code -9" in (tmp_path / "log").read_text()
    before = whole_lines(path)
    assert 2 <= len(before) < len(bench.questions)
    result = llava_faba_command(*command)
    assert f"{len(before)} before, 0 failed" in result.stdout
    assert set(before) <= set(whole_lines(path)) and len(whole_lines(path)) == len(bench.questions)


@pytest.fixture(scope="module")
def answered(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An answers file of a whole run with two workers, one of whose questions failed."""
    path = tmp_path_factory.mktemp("answered") / "answers.jsonl"
    questions = [*bench.questions[:6], {"question_id": "gone", "image": "gone.jpg", "text": "What?"}]
    file = path.with_name("questions.jsonl")
    file.write_text("".join(json.dumps(question) + "\n" for question in questions))
    result = llava_faba_command(*with_questions(bench, path, "--workers=2", "--batch-size=2", "--verify=3"))
    assert result.returncode == 1, result.stderr[-3000:]
    path.with_name("stdout").write_text(result.stdout)
    path.with_name("stderr").write_text(result.stderr)
    return path


def with_questions(bench: Any, path: Path, *more: str) -> list[str]:
    replaced = arguments(bench, path, "--max-new-tokens=12", *more)
    return [f"--question-file={path.parent}/questions.jsonl" if "--question-file" in a else a for a in replaced]


def test_a_failure_is_recorded_and_the_others_are_answered(answered):
    assert len(read_jsonl(answered)) == 6
    output = answered.with_name("stdout").read_text()
    assert "answered 6 now, 0 before, 1 failed" in output and "question gone: " in output
    failures = read_jsonl(answered.with_name("answers.jsonl.failures.jsonl"))
    assert [failure["question_id"] for failure in failures] == ["gone"]
    assert "gone.jpg: this image does not exist" in failures[0]["error"]


def test_some_answers_were_verified(answered):
    assert "verified 3 answers one at a time: 3 equal, 0 differ" in answered.with_name("stdout").read_text()
    report = json.loads(answered.with_name("answers.jsonl.verified.json").read_text())
    assert report == {"tolerance": 1e-4, "dtype": "float32", "checked": 3, "near_ties": [], "different": []}


def test_processes_end_quietly(answered):
    errors = answered.with_name("stderr").read_text()
    assert "leaked" not in errors and "Traceback" not in errors


def test_a_failed_question_is_tried_again_and_nothing_else(bench, answered, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for image in bench.images.iterdir():
        (tmp_path / "images" / image.name).symlink_to(image)
    (tmp_path / "images" / "gone.jpg").symlink_to(bench.images / bench.questions[7]["image"])
    for name in ("answers.jsonl", "questions.jsonl", "answers.jsonl.failures.jsonl"):
        (tmp_path / name).write_bytes(answered.with_name(name).read_bytes())
    path = tmp_path / "answers.jsonl"
    kept = whole_lines(path)
    assert main([*with_questions(bench, path), f"--image-folder={tmp_path}/images", "--allow-outside"]) == 0
    assert "answered 1 now, 6 before, 0 failed" in capsys.readouterr().out
    assert whole_lines(path)[:6] == kept and json.loads(whole_lines(path)[6])["question_id"] == "gone"
    assert not path.with_name("answers.jsonl.failures.jsonl").exists()


@pytest.mark.parametrize(
    "change",
    [("--dtype=bfloat16",), ("--max-new-tokens=13",), ("--conv-mode=plain",)],
    ids=["dtype", "length", "template"],
)
def test_another_setting_never_takes_over_an_answer(bench, answered, capsys, change):
    content = answered.read_bytes()
    assert main([*with_questions(bench, answered), *change]) == 2
    assert "by another model, prompt, setting or image" in capsys.readouterr().err
    assert answered.read_bytes() == content


def test_another_model_never_takes_over_an_answer(bench, answered, tmp_path, capsys):
    from tiny import make_emola

    other = make_emola(tmp_path, seed=1)
    content = answered.read_bytes()
    assert main([*with_questions(bench, answered), f"--model-path={other}"]) == 2
    assert "by another model, prompt, setting or image" in capsys.readouterr().err
    assert answered.read_bytes() == content


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--model-path={tmp}/none", "no such folder"),
        ("--question-file={tmp}/none.jsonl", "none.jsonl: cannot be read"),
        ("--question-file={tmp}/broken.jsonl", "broken.jsonl, line 2, column 1: not JSON"),
        ("--batch-size=0", "batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_is_said(bench, tmp_path, capsys, more, told):
    (tmp_path / "broken.jsonl").write_text("{}\nnonsense\n")
    assert main([*arguments(bench, tmp_path / "a.jsonl"), more.format(tmp=tmp_path)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


def test_a_worker_that_cannot_start_says_why(bench, tmp_path, capsys):
    assert main([*arguments(bench, tmp_path / "a.jsonl"), "--conv-mode=lava_v1"]) == 2
    assert "Did you mean 'llava_v1'" in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


def test_verify_takes_a_number_or_all(bench, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*arguments(bench, tmp_path / "a.jsonl"), "--verify=some"])
    assert "'some' is neither a number nor 'all'" in capsys.readouterr().err
