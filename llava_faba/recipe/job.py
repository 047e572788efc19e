"""The process that does one step: ``python -m llava_faba.recipe.job JOB.json``.

It holds the step's lock while it works, empties a folder that was begun for something else, runs the commands one
after the
other with their output in the step's log, and writes how it ended. It ends, and its commands with it, when the process
that started it is gone (``parent`` in the job; not under a scheduler, whose jobs outlive the submitting shell).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from faba_bench.files.atomic import write_bytes, write_json
from faba_bench.files.jsonfiles import read_json
from faba_bench.files.oserrors import sentence
from faba_bench.files.paths import regular_file
from faba_bench.files.problem import FileProblem

from llava_faba.ports import free_port
from llava_faba.recipe.kinds.base import FREE_PORT
from llava_faba.recipe.logs import marker

_GRACE = 60.0  # seconds that a command has to save its work after SIGTERM
TERMINATED = 143


def main(argv: list[str]) -> int:
    job = read_json(Path(argv[0]))
    if job["parent"]:
        _end_with(int(job["parent"]))
    signal.signal(signal.SIGTERM, _raise)
    lock = Path(job["lock"])
    lock.parent.mkdir(parents=True, exist_ok=True)
    if lock.exists():
        regular_file(lock)  # a pipe would be waited for
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # another job of this step, of a run that was killed, ends first
        start = time.monotonic()
        try:
            code = _do(job, handle.fileno())
        except _Terminated:
            code = TERMINATED
        result = {"key": job["key"], "code": code, "seconds": time.monotonic() - start, "nonce": job["nonce"]}
        write_json(job["result"], result)
    return code


def _do(job: dict[str, Any], lock: int) -> int:
    out, begun, log = Path(job["out"]), Path(job["begun"]), Path(job["log"])
    key = None
    if begun.exists():
        with contextlib.suppress(Exception):
            key = read_json(begun)["key"]
    goes_on = job["resumes"] and key == job["key"] and out.exists()
    if not goes_on:
        _empty(out)
        write_json(begun, {"key": job["key"]})
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab" if goes_on else "wb") as file:
        file.write(f"{marker(job['nonce'])}\n".encode())
        file.flush()
        for action in job["actions"]:
            code = _act(action, out, file, lock)
            if code:
                return code
    return 0


def _empty(out: Path) -> None:
    if out.is_symlink() or out.is_file():
        out.unlink()
    elif out.exists():
        shutil.rmtree(out)


def _act(action: dict[str, Any], out: Path, log: BinaryIO, lock: int) -> int:
    if "run" in action:
        return _run(action["run"], action["env"], out, log, lock)
    if "copy" in action:
        source, target = action["copy"]
        write_bytes(target, Path(source).read_bytes())
        return 0
    sources, target = action["join"]
    write_bytes(target, b"".join(Path(source).read_bytes() for source in sources))
    return 0


def _run(words: list[str], environment: dict[str, str], out: Path, log: BinaryIO, lock: int) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    words = [word.replace(FREE_PORT, str(free_port())) if FREE_PORT in word else word for word in words]
    log.write(("$ " + " ".join(words) + "\n").encode("utf-8", "backslashreplace"))
    log.flush()
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        pass_fds=(lock,),  # should this process be killed, the step stays locked until its command has ended
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        process.kill()
        raise


class _Terminated(BaseException):
    """SIGTERM: what the command has saved stays, and the step is not done."""


def _raise(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _end_with(parent: int) -> None:
    """After kill -9 of the run nobody tells its job: it looks, and ends as after SIGTERM."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _main() -> int:
    """``main``; what the file system refuses is a sentence, whose place the run's own message follows."""
    try:
        return main(sys.argv[1:])
    except OSError as error:
        print(f"llava-faba recipe: {sentence(error)}", file=sys.stderr)
    except FileProblem as error:
        print(f"llava-faba recipe: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(_main())
