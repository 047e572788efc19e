"""Questions to any model behind an OpenAI-compatible address, many at once, into the answers format of the scorer.

Every answer is on disk before it counts, with a key of picture, question, model and settings; an interrupted run goes
on where it stopped, and a file that holds answers of another model, question, picture or setting is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from faba_bench.chat.client import Client, Fatal, Rejected, Retryable
from faba_bench.chat.cost import Estimate, Prices, rough_usage
from faba_bench.chat.pacing import Pace
from faba_bench.chat.persisting import persist
from faba_bench.chat.replies import Reply, is_counted
from faba_bench.errors import BenchError, InputProblems
from faba_bench.files.jsonfiles import iter_json_lines, parse_json
from faba_bench.files.paths import IMAGE_LIMIT, PIXEL_LIMIT, inside, regular_file
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

_IMAGE_TOKENS = 800
_TYPICAL_ANSWER = 350


@dataclass(frozen=True)
class Policy:
    """How hard to try: `concurrency` requests in flight, `attempts` for each; `max_side` of a picture in pixels."""

    concurrency: int = 8
    per_minute: float | None = None
    attempts: int = 6
    first_pause: float = 1.0
    max_side: int = 1024
    prices: Prices = field(default_factory=Prices)


@dataclass
class Asked:
    """What a run came to. `failures`: question id to reason; `cut`: answers that the limit of tokens cut off."""

    answered: int = 0
    before: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0


def read_questions(path: Path | str) -> list[dict[str, Any]]:
    """Question lines with "question_id", "image" and "text". Raises `InputProblems` that lists all that are none."""
    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    try:
        for number, item in iter_json_lines(Path(path), problems=problems):
            fine = isinstance(item, Mapping) and all(
                isinstance(item.get(key), str) and item[key] for key in ("image", "text")
            )
            identity = item.get("question_id") if isinstance(item, Mapping) else None
            if not fine or isinstance(identity, bool) or not isinstance(identity, str | int):
                problems.append(f"{path}, line {number}: no object with 'question_id', 'image' and 'text'")
            elif str(identity) in found:
                problems.append(f"{path}, line {number}: the id {str(identity)[:80]!r} is used twice")
            else:
                found[str(identity)] = dict(item)
    except FileProblem as error:
        problems.append(f"cannot read {error}")
    if problems or not found:
        raise InputProblems("questions", problems or [f"{path}: no questions"])
    return list(found.values())


def estimate(questions: Sequence[Mapping[str, Any]], client: Client, prices: Prices) -> Estimate:
    """What asking these questions takes; four characters are taken for a token, retries are not counted."""
    inputs = sum(_IMAGE_TOKENS + len(question["text"]) // 4 + 10 for question in questions)
    outputs = len(questions) * min(_TYPICAL_ANSWER, client.max_tokens)
    return Estimate(len(questions), inputs, outputs, prices.cost(inputs, outputs))


def ask(
    client: Client,
    questions: Sequence[dict[str, Any]],
    image_folder: Path,
    out: Path,
    policy: Policy,
    *,
    announce: Callable[[Estimate], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Asked:
    """Ask every question that `out` has no answer to, and write answer lines to it, in the questions' order at the end.

    A question that fails is in the result and asked again by the next run. Raises `BenchError` for pictures outside
    `image_folder` and for a file of another run, `Fatal` where no request can succeed; answers so far are kept then.
    """
    keys, pictures = {}, {}
    failures: dict[str, str] = {}
    for question in questions:
        name = str(question["question_id"])
        path = inside(image_folder, question["image"], error=BenchError)
        try:
            pictures[name] = regular_file(path, limit=IMAGE_LIMIT)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileProblem as error:
            failures[name] = str(error)
            content = ""
        except OSError as error:
            failures[name] = f"{question['image']}: cannot be read: {error.strerror}"
            content = ""
        parts = [content, question["text"], client.model, client.max_tokens, client.temperature, policy.max_side]
        keys[name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        regular_file(out, error=BenchError)
    with out.open("a+b") as stream:
        _lock(stream, out)
        known = _known(stream, out, keys)
        left = [
            question
            for question in questions
            if str(question["question_id"]) not in known and str(question["question_id"]) not in failures
        ]
        if announce:
            announce(estimate(left, client, policy.prices))
        done = Asked(before=len(known), failures=failures)
        _Run(client, policy, stream, keys, pictures, done).all(left, progress, len(questions))
        known = _known(stream, out, keys)
    _sorted(out, [known[name] for name in keys if name in known])
    done.cut = [name for name, line in known.items() if line["metadata"].get("finish_reason") == "length"]
    return done


class _Run:
    def __init__(
        self,
        client: Client,
        policy: Policy,
        stream: IO[bytes],
        keys: Mapping[str, str],
        pictures: Mapping[str, Path],
        done: Asked,
    ) -> None:
        self.client, self.policy, self.stream, self.keys = client, policy, stream, keys
        self.pictures, self.done = pictures, done
        self.pace = Pace(policy.per_minute)
        self._lock = threading.Lock()

    def all(self, questions: Sequence[dict[str, Any]], progress: Callable[[int, int], None] | None, total: int) -> None:
        with ThreadPoolExecutor(self.policy.concurrency) as pool:
            waiting = {pool.submit(self._one, question): str(question["question_id"]) for question in questions}
            try:
                for number, future in enumerate(as_completed(waiting), self.done.before + 1):
                    try:
                        future.result()
                    except (Retryable, Rejected) as error:
                        self.done.failures[waiting[future]] = str(error)
                    if progress:
                        progress(number, total)
            except BaseException:
                self.pace.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, question: dict[str, Any]) -> None:
        name = str(question["question_id"])
        try:
            image = _picture(self.pictures[name], self.policy.max_side)
        except Exception as error:  # Pillow raises a dozen kinds for damaged pictures, and one for huge ones
            raise Rejected(printable(f"{question['image']}: no picture: {error}")[:500]) from error
        send = lambda: self.client.ask(question["text"], image, "image/png")  # noqa: E731
        self._write(question, name, persist(send, self.pace, self.policy.attempts, self.policy.first_pause, name))

    def _write(self, question: dict[str, Any], name: str, reply: Reply) -> None:
        usage = reply.usage if is_counted(reply.usage) else rough_usage(question["text"], reply.text, _IMAGE_TOKENS)
        line = {
            "question_id": question["question_id"],
            "prompt": question["text"],
            "text": reply.text,
            "answer_id": self.keys[name][:22],
            "model_id": self.client.model,
            "metadata": {"finish_reason": reply.finish_reason, "usage": dict(usage), "key": self.keys[name]},
        }
        with self._lock:
            self.stream.write((json.dumps(line) + "\n").encode())
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.done.answered += 1
            self.done.input_tokens += usage.get("prompt_tokens", 0)
            self.done.output_tokens += usage.get("completion_tokens", 0)


def _picture(path: Path, max_side: int) -> bytes:
    """The picture upright, in RGB, without metadata, no larger than `max_side`, as PNG."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]) as opened:
        if opened.width * opened.height > PIXEL_LIMIT:
            raise ValueError(f"{opened.width} x {opened.height} pixels, more than the limit of {PIXEL_LIMIT}")
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    upright.thumbnail((max_side, max_side))
    data = io.BytesIO()
    upright.save(data, "PNG")
    return data.getvalue()


def _lock(stream: IO[bytes], out: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BenchError(f"{out}: another process is writing to this file") from error


def _known(stream: IO[bytes], out: Path, keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The answers of this run that the file holds; a line that a crash cut short is taken off."""
    stream.flush()
    stream.seek(0)
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    stream.truncate(whole)
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            item = parse_json(line, str(out))
            name, key = str(item["question_id"]), item["metadata"]["key"]
        except (FileProblem, KeyError, TypeError) as error:
            raise BenchError(f"{out}, line {number}: no answer of 'faba-bench ask'; choose another file") from error
        if keys.get(name) != key:
            raise BenchError(
                f"{out} holds an answer to question {name[:80]} by another model, prompt, setting or picture; choose "
                "another file, or delete it"
            )
        found[name] = item
    return found


def _sorted(out: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    from faba_bench.files.atomic import write_text

    write_text(out, "".join(json.dumps(line) + "\n" for line in lines))


__all__ = ["Asked", "Client", "Fatal", "Policy", "ask", "estimate", "read_questions"]
