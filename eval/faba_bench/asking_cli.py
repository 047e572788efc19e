"""``faba-bench ask`` and ``faba-bench judge``: the commands that send requests to a model's server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from faba_bench.console.output import add_output, emit
from faba_bench.errors import BenchError


def add_ask(commands: Any) -> None:
    """``faba-bench ask``."""
    ask = commands.add_parser(
        "ask",
        help="ask any model behind an OpenAI-compatible address",
        description="Questions (JSON lines with question_id, image, text) to an OpenAI-compatible server; answers in "
        "the format that 'score' reads. Interrupted, the same command resumes. The key comes from the environment.",
    )
    ask.add_argument("--base-url", required=True, metavar="URL", help="such as http://localhost:8000/v1")
    ask.add_argument("--model", required=True, metavar="NAME", help="the model's name there")
    ask.add_argument("--question-file", required=True, type=Path, metavar="FILE", help="question lines")
    ask.add_argument("--image-folder", required=True, type=Path, metavar="DIR", help="what image paths are relative to")
    ask.add_argument("--out", required=True, type=Path, metavar="FILE", help="answers (JSON lines) to write")
    _add_requests(ask, "a question", "an answer", 800)
    ask.add_argument("--temperature", type=float, default=0.0, metavar="T", help="(default 0)")
    ask.add_argument("--max-side", type=int, default=1024, metavar="PIXELS", help="of a picture sent (default 1024)")
    ask.add_argument("--price-input", type=float, metavar="P", help="price of a million input tokens")
    ask.add_argument("--price-output", type=float, metavar="P", help="price of a million output tokens")
    ask.add_argument("--estimate", action="store_true", help="say what all questions would take, and ask nothing")
    add_output(ask)
    ask.set_defaults(run=_ask)


def add_judge(commands: Any) -> None:
    """``faba-bench judge``."""
    judge = commands.add_parser(
        "judge",
        help="a model judges whether texts are supported by the coded AUs",
        description="A model behind an OpenAI-compatible address judges whether what answers say about faces is "
        "supported by the AUs of its record. Prompt and judge are pinned by digests; verdicts are kept in a file and "
        "replayed from it to the same number, without --base-url and without a model.",
    )
    judge.add_argument("--annotations", required=True, type=Path, metavar="FILE", help="evaluation records")
    judge.add_argument("--answers", required=True, type=Path, metavar="FILE", help="answers, JSON lines")
    judge.add_argument("--task", choices=("au", "emotion"), default="au", help="what the records are of (default au)")
    judge.add_argument("--protocol", default="faba", help="of the records (default faba)")
    judge.add_argument(
        "--aus", default="aus", metavar="FIELD", help="emotion: the records' field with the AUs (default aus)"
    )
    judge.add_argument("--verdicts", required=True, type=Path, metavar="FILE", help="verdicts (JSON lines), kept here")
    judge.add_argument("--model", required=True, metavar="NAME", help="the judge's name at the address")
    pinned = judge.add_mutually_exclusive_group(required=True)
    pinned.add_argument("--model-folder", type=Path, metavar="DIR", help="the judge's weights, to take their digest of")
    pinned.add_argument("--model-digest", metavar="SHA256", help="that digest, as an earlier result has it")
    judge.add_argument("--base-url", metavar="URL", help="where the judge is served (default: replay only)")
    _add_requests(judge, "an answer", "a verdict", 64)
    judge.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples (default 1000, 0: none)")
    judge.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add_output(judge)
    judge.set_defaults(run=_judge)


def _add_requests(parser: argparse.ArgumentParser, asked: str, told: str, tokens: int) -> None:
    """How requests are sent, the same for every command that sends some; ``tokens``: the default limit of ``told``."""
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="(default OPENAI_API_KEY)")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests in flight (default 8)")
    parser.add_argument("--per-minute", type=float, metavar="N", help="at most so many requests a minute")
    parser.add_argument("--attempts", type=int, default=6, metavar="N", help=f"tries for {asked} (default 6)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for a request (default 120)")
    parser.add_argument("--max-tokens", type=int, default=tokens, metavar="N", help=f"of {told} (default {tokens})")


def _check_requests(arguments: argparse.Namespace, *others: str) -> None:
    """Raises `BenchError` for a number below 1 under these names, and for a rate that is none."""
    for name in ("concurrency", "attempts", "max_tokens", *others):
        if getattr(arguments, name) < 1:
            raise BenchError(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(arguments, name)}")
    if arguments.per_minute is not None and not arguments.per_minute > 0:
        raise BenchError(f"--per-minute must be above 0, not {arguments.per_minute}")


def _judge(arguments: argparse.Namespace) -> int:
    import os

    from faba_bench.chat.client import Client
    from faba_bench.judge import Judge, judge, model_digest

    _check_requests(arguments)
    digest = arguments.model_digest or model_digest(arguments.model_folder)
    if not (len(digest) == 64 and all(letter in "0123456789abcdef" for letter in digest)):
        raise BenchError(f"--model-digest must be 64 hexadecimal digits, not {digest[:80]!r}")
    client = None
    if arguments.base_url is not None:
        key = os.environ.get(arguments.api_key_env, "")
        client = Client(arguments.base_url, arguments.model, key, arguments.timeout, arguments.max_tokens, 0.0)
    found = judge(
        Judge(
            client,
            arguments.model,
            digest,
            arguments.max_tokens,
            concurrency=arguments.concurrency,
            attempts=arguments.attempts,
            per_minute=arguments.per_minute,
        ),
        arguments.protocol,
        arguments.annotations,
        arguments.answers,
        arguments.verdicts,
        task=arguments.task,
        aus_field=arguments.aus,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
    )
    limits = found["score_ci"]
    around = f" [{limits[0]:.1f}, {limits[1]:.1f}]" if limits else ""
    counts = ", ".join(f"{count} {name}" for name, count in found["verdicts"].items())
    text = (
        f"supported by the AUs: {found['score']:.1f}%{around} of {found['n']} answers ({counts})\n"
        f"judge {found['model']}, weights {digest[:12]}, prompt {found['prompt_sha256'][:12]}"
    )
    emit(arguments, found, text)
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    import os
    from dataclasses import asdict

    from faba_bench.chat import ask as asking
    from faba_bench.chat.cost import Prices
    from faba_bench.console.output import tell

    _check_requests(arguments, "max_side")
    questions = asking.read_questions(arguments.question_file)
    client = asking.Client(
        arguments.base_url,
        arguments.model,
        os.environ.get(arguments.api_key_env, ""),
        arguments.timeout,
        arguments.max_tokens,
        arguments.temperature,
    )
    prices = Prices(arguments.price_input, arguments.price_output)
    if arguments.estimate:
        found = asking.estimate(questions, client, prices)
        emit(arguments, asdict(found), found.to_text())
        return 0
    policy = asking.Policy(
        concurrency=arguments.concurrency,
        per_minute=arguments.per_minute,
        attempts=arguments.attempts,
        max_side=arguments.max_side,
        prices=prices,
    )
    done = asking.ask(
        client,
        questions,
        arguments.image_folder,
        arguments.out,
        policy,
        announce=lambda estimate: tell(estimate.to_text()),
    )
    for note in client.notes:
        tell(f"note: {note}")
    lines = [
        f"answered {done.answered} now, {done.before} before, {len(done.failures)} failed, {len(done.cut)} cut off"
    ]
    lines += [f"  question {name}: {reason}" for name, reason in list(done.failures.items())[:20]]
    emit(arguments, asdict(done), "\n".join(lines))
    return 1 if done.failures else 0
