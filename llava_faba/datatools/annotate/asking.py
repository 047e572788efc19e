"""Asking for many images at once: workers, retries, limits, and the journal."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llava_faba.datatools.annotate.client import Client, Fatal, Rejected, Reply, Retryable
from llava_faba.datatools.annotate.cost import Prices, used
from llava_faba.datatools.annotate.images import Picture, Target, load_picture
from llava_faba.datatools.annotate.journal import ANSWER, FAILED, INVALID, Journal
from llava_faba.datatools.annotate.pacing import Pace, backoff
from llava_faba.datatools.annotate.prompts import Prompt


@dataclass(frozen=True)
class Policy:
    """How hard to try. ``first_pause`` in seconds; ``max_cost`` in the currency of the prices."""

    concurrency: int = 8
    per_minute: float | None = None
    attempts: int = 6
    first_pause: float = 1.0
    max_side: int | None = 1024
    prices: Prices = field(default_factory=Prices)
    max_cost: float | None = None


@dataclass
class Outcome:
    """What a run of requests came to."""

    answered: int = 0
    reused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    stopped_by_cost: bool = False


def request_key(picture_sha256: str, prompt: Prompt, client: Client, max_side: int | None) -> str:
    """What makes two requests the same: image, prompt, model and generation settings; not the address."""
    parts = [picture_sha256, prompt.sha256, client.model, client.max_tokens, client.temperature, max_side]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """The hash of an image file; a file that is gone has one that no answer has."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f"missing/{path}"


class Asker:
    """Sends what the journal has no answer for. One instance serves one run."""

    def __init__(self, client: Client, prompt: Prompt, journal: Journal, policy: Policy, folder: Path) -> None:
        self.client, self.prompt, self.journal, self.policy = client, prompt, journal, policy
        self.folder = folder
        self.pace = Pace(policy.per_minute)
        self.outcome = Outcome()
        self._lock = threading.Lock()
        self._fatal: Fatal | None = None

    def run(self, targets: Sequence[tuple[Target, str]], progress: bool = False) -> Outcome:
        """Ask for each (target, key) without an answer; equal keys are asked once. Raises ``Fatal``."""
        with self.journal.locked():
            return self._run(targets, progress)

    def _run(self, targets: Sequence[tuple[Target, str]], progress: bool) -> Outcome:
        known = self.journal.answers()
        pending = {key: target for target, key in targets if key not in known}
        self.outcome.reused = len({key for _, key in targets}) - len(pending)
        from tqdm import tqdm

        pool = ThreadPoolExecutor(self.policy.concurrency, thread_name_prefix="annotate")
        try:
            futures = [pool.submit(self._one, target, key) for key, target in pending.items()]
            for future in tqdm(as_completed(futures), total=len(futures), unit="image", disable=not progress):
                future.result()
        except BaseException:
            self.pace.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if self._fatal is not None:
            raise self._fatal
        return self.outcome

    def _one(self, target: Target, key: str) -> None:
        if self.pace.stopped:
            return
        try:
            picture = load_picture(self.folder / target.image, self.policy.max_side)
        except ValueError as error:
            self._fail(target, key, str(error))
            return
        rng = random.Random(key)
        for attempt in range(self.policy.attempts):
            if not self.pace.wait():
                return
            begin = time.monotonic()
            try:
                reply = self.client.ask(self.prompt.text, picture.data, picture.mime)
            except Retryable as error:
                self._note(target, key, picture, INVALID, attempt, begin, error=str(error), body=error.body)
                self._spend(error.usage)
                if attempt + 1 == self.policy.attempts:
                    self._fail(target, key, f"{error} (after {attempt + 1} attempts)")
                elif not self._pause(attempt, error, rng):
                    return
            except Rejected as error:
                self._note(target, key, picture, INVALID, attempt, begin, error=str(error), body=error.body)
                self._fail(target, key, str(error))
                return
            except Fatal as error:
                self._fatal = error
                self.pace.stop()
                return
            else:
                self._accept(target, key, picture, attempt, begin, reply)
                return

    def _pause(self, attempt: int, error: Retryable, rng: random.Random) -> bool:
        pause = backoff(attempt, self.policy.first_pause, error.after, rng)
        with self._lock:
            self.outcome.retries += 1
        if error.everyone:
            # Too many requests: the others would only be refused as well.
            self.pace.hold(pause)
        return self.pace.sleep(pause)

    def _accept(self, target: Target, key: str, picture: Picture, attempt: int, begin: float, reply: Reply) -> None:
        self._note(
            target,
            key,
            picture,
            ANSWER,
            attempt,
            begin,
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=dict(reply.usage),
            body=reply.body,
        )
        with self._lock:
            self.outcome.answered += 1
        self._spend(reply.usage)

    def _spend(self, usage: Mapping[str, int]) -> None:
        """Count tokens, also those of useless answers, and stop when they cost too much."""
        inputs, outputs = used([usage])
        with self._lock:
            self.outcome.input_tokens += inputs
            self.outcome.output_tokens += outputs
            cost = self.policy.prices.cost(self.outcome.input_tokens, self.outcome.output_tokens)
            if self.policy.max_cost is not None and cost is not None and cost >= self.policy.max_cost:
                self.outcome.stopped_by_cost = True
                self.pace.stop()

    def _fail(self, target: Target, key: str, message: str) -> None:
        self.journal.append({"status": FAILED, "key": key, "image": target.image, "error": message})
        with self._lock:
            self.outcome.failed[target.image] = message

    def _note(
        self,
        target: Target,
        key: str,
        picture: Picture,
        status: str,
        attempt: int,
        begin: float,
        **content: Any,
    ) -> None:
        self.journal.append(
            {
                "status": status,
                "key": key,
                "image": target.image,
                "image_sha256": picture.sha256,
                "model": self.client.model,
                "prompt": self.prompt.name,
                "prompt_sha256": self.prompt.sha256,
                "max_tokens": self.client.max_tokens,
                "temperature": self.client.temperature,
                "attempt": attempt + 1,
                "seconds": round(time.monotonic() - begin, 3),
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **content,
            }
        )
