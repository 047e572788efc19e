"""``llava-faba recipe run``: each step once for what goes into it; after any interruption the same command resumes."""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from faba_bench.files.atomic import write_bytes, write_json
from faba_bench.files.jsonfiles import read_json
from faba_bench.files.locks import exclusive
from faba_bench.files.terminal import printable

from llava_faba.recipe.digests import Digests
from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.executors import Executor, Running
from llava_faba.recipe.expansion import Graph, Step
from llava_faba.recipe.logs import Log
from llava_faba.recipe.state import Done, Folder, code_version, key_of, read_done, write_done

_TAIL = 15
_POLL = 0.2  # s
_STEP = re.compile(r"(\d+)/(\d+) \[")


@dataclass
class _Job:
    step: Step
    key: str
    nonce: str
    running: Running
    line: _Line
    start: float = field(default_factory=time.monotonic)


def run(
    graph: Graph, executor: Executor, *, redo: Sequence[str] = (), jobs: int = 1, stream: TextIO | None = None
) -> None:
    """Do all steps that are not done for what goes into them now, at most ``jobs`` at a time.

    ``redo``: names of steps to do again whatever is known. Raises RecipeError when an input is missing, a step fails
    (naming
    its log), or something that a step made was changed by somebody else.
    """
    if graph.missing:
        raise RecipeError(f"{graph.recipe.name} lacks inputs:\n  " + "\n  ".join(graph.missing))
    _check_names(graph, redo)
    folder = Folder(graph.root)
    with exclusive(folder.lock, f"a recipe in {graph.root}", error=RecipeError):
        _Run(graph, folder, executor, set(redo), jobs, stream or sys.stdout).all()


def _check_names(graph: Graph, redo: Sequence[str]) -> None:
    known = {step.id for step in graph.steps} | {step.name for step in graph.steps}
    for name in redo:
        if name not in known:
            raise RecipeError(
                f"--redo {printable(name)}: no such step; there are {', '.join(s.id for s in graph.steps)}"
            )


class _Run:
    def __init__(
        self, graph: Graph, folder: Folder, executor: Executor, redo: set[str], jobs: int, stream: TextIO
    ) -> None:
        self._graph, self._folder, self._executor = graph, folder, executor
        self._redo, self._jobs, self._stream = redo, jobs, stream
        self._digests = Digests(folder.digests, graph.root)
        self._done: set[str] = set()
        self._by_other_code: dict[str, str] = {}
        self._number = 0

    def all(self) -> None:
        waiting = list(self._graph.steps)
        working: list[_Job] = []
        try:
            while waiting or working:
                for step in [s for s in waiting if self._done.issuperset(s.needs)]:
                    if len(working) >= self._jobs:
                        break
                    waiting.remove(step)
                    job = self._begin(step)
                    if job is not None:
                        working.append(job)
                for job in list(working):
                    if self._has_ended(job):
                        working.remove(job)
                if working:
                    time.sleep(_POLL)
        except BaseException:
            for job in working:
                job.running.stop()
            raise
        finally:
            self._digests.save()
        self._publish()
        if self._by_other_code:
            steps = ", ".join(f"{name} ({version})" for name, version in self._by_other_code.items())
            self._say(
                f"Done before by other code than this ({code_version()}), and not again, for its kinds are said to "
                f"give the same: {steps}. --redo STEP does one anew."
            )

    def _begin(self, step: Step) -> _Job | None:
        self._number += 1
        self._say(f"[{self._number}/{len(self._graph.steps)}] {step.title}")
        key = key_of(step, self._digests)
        done = read_done(self._folder.done(step))
        again = bool({step.id, step.name} & self._redo)
        if done is not None and done.key == key and not again and step.out.exists():
            self._check_unchanged(step, done)
            self._done.add(step.id)
            self._say(f"      done before, in {done.seconds:.0f} s")
            if done.version != code_version():
                self._by_other_code[step.id] = done.version
            return None
        # From here on the folder holds a step under way; "begun" says for which key, so that it can go on.
        self._folder.done(step).unlink(missing_ok=True)
        if again:
            self._folder.begun(step).unlink(missing_ok=True)
        nonce = secrets.token_hex(8)
        job = {
            "key": key,
            "nonce": nonce,
            "parent": os.getpid() if self._executor.follows_parent else 0,
            "out": str(step.out),
            "resumes": type(step.kind).RESUMES,
            "begun": str(self._folder.begun(step)),
            "lock": str(self._folder.begun(step).with_suffix(".lock")),
            "log": str(self._folder.log(step)),
            "result": str(self._folder.result(step)),
            "actions": step.kind.actions(str(step.out)),
        }
        write_json(self._folder.job(step), job)
        running = self._executor.start(self._folder.job(step))
        return _Job(step, key, nonce, running, _Line(self._stream, Log(self._folder.log(step), nonce)))

    def _has_ended(self, job: _Job) -> bool:
        code = job.running.code()
        if code is None:
            job.line.show()
            return False
        job.line.clear()
        result = self._folder.result(job.step)
        ended = read_json(result, error=RecipeError) if result.exists() else {}
        if ended.get("nonce") != job.nonce:
            raise RecipeError(
                f"step {job.step.id}: its process was killed (exit code {code}); run the same command to go on. "
                + _end_of(job.line.log)
            )
        if ended["code"] != 0:
            raise RecipeError(f"step {job.step.id} failed with exit code {ended['code']}; " + _end_of(job.line.log))
        if key_of(job.step, self._digests) != job.key:
            raise RecipeError(
                f"step {job.step.id}: what goes into it was changed while it ran; run the same command again"
            )
        output = self._digests.of(str(job.step.out))
        if output is None:
            raise RecipeError(f"step {job.step.id} ended well but made nothing in {job.step.out}")
        write_done(self._folder.done(job.step), job.key, output, float(ended["seconds"]))
        self._done.add(job.step.id)
        self._say(f"      done in {ended['seconds']:.0f} s")
        return True

    def _check_unchanged(self, step: Step, done: Done) -> None:
        if self._digests.of(str(step.out)) != done.output:
            raise RecipeError(
                f"step {step.id}: {step.out} is not what this step made; somebody changed it. Keep your change "
                f"elsewhere, and have the step done again: --redo {step.id}"
            )

    def _publish(self) -> None:
        for name, source in self._graph.results.items():
            if not source.is_file():
                raise RecipeError(f"results.{name}: no step has made {source}")
            write_bytes(self._graph.root / name, source.read_bytes())

    def _say(self, text: str) -> None:
        print(printable(text), file=self._stream, flush=True)


def _end_of(log: Log) -> str:
    said = log.end(16384)
    if said is None:
        return f"it left no word in its log ({log.path})"
    lines = said.replace("\r", "\n").splitlines()[-_TAIL:]
    return f"the end of {log.path}:\n" + "\n".join(printable(line) for line in lines)


class _Line:
    """How far a step is, read from the end of its log: one line rewritten on a terminal, a line every quarter
    elsewhere."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self.log, self._stream, self._start, self._quarter = log, stream, time.monotonic(), 0
        self._shown = False

    def show(self) -> None:
        found = self._last()
        if found is None:
            return
        done, total = found
        elapsed = time.monotonic() - self._start
        left = elapsed / max(done, 1) * (total - done)
        text = f"      {done}/{total}, {elapsed:.0f} s, about {left:.0f} s left"
        if self._stream.isatty():
            print(f"\r{text:<70}", end="", file=self._stream, flush=True)
            self._shown = True
        elif total and done * 4 // total > self._quarter:
            self._quarter = done * 4 // total
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r" + " " * 70 + "\r", end="", file=self._stream)

    def _last(self) -> tuple[int, int] | None:
        steps = _STEP.findall(self.log.end(2048) or "")
        return (int(steps[-1][0]), int(steps[-1][1])) if steps else None
