"""Asking for many images at once: workers, retries, limits, and the journal."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faba_bench.chat.cost import Prices, rough_usage, used
from faba_bench.chat.pacing import Pace, backoff
from faba_bench.chat.replies import Reply, is_counted
from faba_bench.thoughts import strip_thoughts

from llava_faba.datatools.annotate.client import Client, Fatal, Rejected, Retryable
from llava_faba.datatools.annotate.images import Picture, Target, load_picture
from llava_faba.datatools.annotate.journal import ANSWER, FAILED, INVALID, Journal
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
    retry_empty: bool = False


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
    empty: int = 0
    """Of the answered ones, those without an answer: nothing, or thoughts only."""
    uncounted: int = 0
    """Answers whose tokens the server did not count; theirs are estimated."""

    @property
    def answered_nothing(self) -> bool:
        """Was there something to ask, and not one answer?"""
        return bool(self.failed or self.empty) and self.answered == self.empty


HOPELESS = 8
"""After so many refusals for one reason and no answer nothing more is sent."""


class _StoppedError(Exception):
    """The run is stopped: by the costs, a fatal error, or an interrupt."""


class _Empties:
    """An answer that was empty and paid for is asked for three times, not six."""

    def __init__(self) -> None:
        self._count = 0

    def too_many(self, state: Any) -> bool:
        error = _failure(state.outcome)
        self._count += isinstance(error, Retryable) and error.empty and bool(error.usage.get("completion_tokens"))
        return self._count >= 3


def _wish(outcome: Any) -> float | None:
    """How long the server asks to be left alone, in seconds."""
    error = _failure(outcome)
    return error.after if isinstance(error, Retryable) else None


def _failure(outcome: Any) -> BaseException | None:
    return None if outcome is None else outcome.exception()


def request_key(picture_sha256: str, prompt: Prompt, client: Client, max_side: int | None) -> str:
    """What makes two requests the same: image, prompt, model and generation settings; not the address."""
    parts = [picture_sha256, prompt.sha256, client.model, client.max_tokens, client.temperature, max_side]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Asker:
    """Sends what the journal has no answer for. One instance serves one run."""

    def __init__(self, client: Client, prompt: Prompt, journal: Journal, policy: Policy, folder: Path) -> None:
        self.client, self.prompt, self.journal, self.policy = client, prompt, journal, policy
        self.folder = folder
        self.pace = Pace(policy.per_minute)
        self.outcome = Outcome()
        self._lock = threading.Lock()
        self._fatal: Fatal | None = None
        self._refusals: Counter[str] = Counter()

    def run(self, targets: Sequence[tuple[Target, str]], progress: bool = False) -> Outcome:
        """Ask for each (target, key) without an answer; equal keys are asked once. Raises ``Fatal``."""
        with self.journal.locked():
            return self._run(targets, progress)

    def _run(self, targets: Sequence[tuple[Target, str]], progress: bool) -> Outcome:
        known = self.journal.answers()
        if self.policy.retry_empty:
            known = {key: line for key, line in known.items() if strip_thoughts(line["text"]).text.strip()}
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
        import tenacity

        if self.pace.stopped:
            return
        try:
            picture = load_picture(self.folder / target.image, self.policy.max_side)
        except ValueError as error:
            self._fail(target, key, f"cannot read the image: {error}")
            return
        rng = random.Random(key)
        empties = _Empties()
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Retryable),
            stop=lambda state: empties.too_many(state) or state.attempt_number >= self.policy.attempts,
            wait=lambda state: backoff(state.attempt_number - 1, self.policy.first_pause, _wish(state.outcome), rng),
            before_sleep=self._before_pause,
            sleep=self._sleep,
            reraise=True,
        )
        number = 0
        try:
            for attempt in tries:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    self._attempt(target, key, picture, number)
        except Retryable as error:
            if error.empty:
                # The model has been paid for saying nothing: what a further run would be told again.
                self._accept(target, key, picture, number, time.monotonic(), Reply("", "", {}, ""))
            else:
                self._fail(target, key, f"{error} (after {number} attempts)")
        except Rejected as error:
            self._fail(target, key, str(error))
            self._refused(str(error))
        except Fatal as error:
            self._fatal = error
            self.pace.stop()
        except _StoppedError:
            return

    def _attempt(self, target: Target, key: str, picture: Picture, number: int) -> None:
        if not self.pace.wait():
            raise _StoppedError
        begin = time.monotonic()
        try:
            reply = self.client.ask(self.prompt.text, picture.data, picture.mime)
        except (Retryable, Rejected) as error:
            self._note(target, key, picture, INVALID, number, begin, error=str(error), body=error.body)
            if isinstance(error, Retryable):
                self._spend(error.usage)
            raise
        self._accept(target, key, picture, number, begin, reply)

    def _sleep(self, seconds: float) -> None:
        self.pace.sleep(seconds)

    def _before_pause(self, state: Any) -> None:
        """Count a retry; hold everybody back where the server has too many requests."""
        error = _failure(state.outcome)
        with self._lock:
            self.outcome.retries += 1
        if isinstance(error, Retryable) and error.everyone:
            # The others would only be refused as well.
            self.pace.hold(state.next_action.sleep)

    def _refused(self, message: str) -> None:
        """Stop where the server refuses every image for one reason: it is not the images."""
        reason = re.sub(r"[0-9a-f]{8,}|[0-9]+", "#", message)
        with self._lock:
            self._refusals[reason] += 1
            hopeless = self._refusals[reason] >= HOPELESS and not (self.outcome.answered or self.outcome.reused)
        if hopeless and not self.pace.stopped:
            self._fatal = Fatal(f"the server refuses every request, the last one with: {message}")
            self.pace.stop()

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
            self.outcome.empty += not strip_thoughts(reply.text).text.strip()
        usage = reply.usage
        if reply.body and not is_counted(usage):
            # A server that does not count (or counts nonsense) must not make --max-cost a dead letter.
            usage = rough_usage(self.prompt.text, reply.text) | dict(usage)
            with self._lock:
                self.outcome.uncounted += 1
        self._spend(usage)

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
                "attempt": attempt,
                "seconds": round(time.monotonic() - begin, 3),
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **content,
            }
        )
