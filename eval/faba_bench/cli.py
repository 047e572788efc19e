"""Command line: ``faba-bench score | compare | protocols``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench.console.output import add_output, emit, save, show
from faba_bench.console.parser import Parser, warn_old
from faba_bench.console.program import run
from faba_bench.errors import BenchError
from faba_bench.records import Files


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 2 after an error that the user can fix (printed to stderr)."""
    arguments = build_parser().parse_args(argv)
    # Files are written before anything is printed, so a reader that closed the pipe cost nothing.
    return run("faba-bench", lambda: arguments.run(arguments), pipe_closed=0, undisplayable="replace")


def build_parser() -> Parser:
    """The parser of ``faba-bench``; docs/cli.md is made from it."""
    parser = Parser(prog="faba-bench", description="Score facial affective behaviour answers of any model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_score(commands)
    _add_compare(commands)
    _add_table(commands)
    _add_ask(commands)
    _add_judge(commands)
    _add_leaderboard(commands)
    published = commands.add_parser(
        "published",
        help="the field's figures, each with its source",
        description="Figures of the literature with source, date, split, conditions and flags. Other test sets and "
        "scorers do not compare.",
    )
    add_output(published)
    published.set_defaults(run=_published)
    protocols = commands.add_parser("protocols", help="list the protocols")
    add_output(protocols)
    protocols.set_defaults(run=_protocols)
    return parser


def _add_score(commands: Any) -> None:
    score = commands.add_parser(
        "score",
        help="score an answers file",
        description="Score answers (JSON lines with question_id and text) against annotations.",
    )
    score.add_argument(
        "--task", required=True, choices=("au", "emotion", "au_intensity", "va"), help="what the answers are about"
    )
    score.add_argument("--protocol", required=True, help="a name of 'faba-bench protocols', or a .json file")
    score.add_argument("--annotations", type=Path, help="evaluation records (JSON list or JSON lines)")
    score.add_argument("--answers", type=Path, help="answers, JSON lines with question_id and text")
    score.add_argument(
        "--fold-dirs",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="score folds apart and average them: each folder holds answers.jsonl, and annotations.json or "
        "eval_TASK_anno.json; instead of --annotations and --answers",
    )
    add_output(score, had_file=True)
    score.add_argument("--report", type=Path, metavar="OUT.html", help="write a self-contained HTML page")
    score.add_argument("--markdown", type=Path, metavar="OUT.md", help="write the tables as Markdown")
    score.add_argument("--latex", type=Path, metavar="OUT.tex", help="write the tables as LaTeX")
    score.add_argument(
        "--plots", type=Path, metavar="DIR", help="write the report's plots as SVG (and PNG, with matplotlib)"
    )
    score.add_argument("--image-folder", type=Path, metavar="DIR", help="images for the report's samples")
    score.add_argument("--landmarks", type=Path, metavar="FILE.npz", help="landmarks for the report's samples")
    score.add_argument("--title", help="the report's title, such as the model's name")
    score.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples (default 1000, 0: none)")
    score.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    score.add_argument(
        "--cluster",
        metavar="FIELD",
        help="resample the values of this field of the annotations, a person's samples at once (default: subject where "
        "records have it; 'none': single samples)",
    )
    score.add_argument(
        "--group",
        nargs="+",
        default=(),
        metavar="FIELD",
        help="measure the values of these fields of the annotations apart (gender, age_group): scores, gaps, intervals",
    )
    score.add_argument(
        "--no-label-scores", dest="label_scores", action="store_false", help="pass over the answers' scores per label"
    )
    score.add_argument("--model", metavar="NAME", help="the model's name, kept in the result for 'faba-bench table'")
    score.add_argument("--model-card", metavar="URL", help="where the model is described, for 'faba-bench leaderboard'")
    score.add_argument(
        "--trained-on",
        nargs="*",
        metavar="PROTOCOL",
        help="the sets that the model was trained on (nothing behind it: on none), kept in the result",
    )
    score.add_argument("--allow-missing", action="store_true", help="score missing answers as empty ones")
    score.set_defaults(run=_score)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="compare results",
        description="Put results side by side, with paired bootstrap differences to the first one.",
    )
    compare.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="made by score --output")
    compare.add_argument("--names", nargs="+", help="names for the results (default: file names)")
    compare.add_argument("--no-published", action="store_true", help="leave the published figures out")
    compare.add_argument("--samples", type=int, default=2000, help="resamples (default 2000)")
    compare.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    compare.add_argument(
        "--format", choices=("text", "markdown", "latex"), default="text", help="of what is printed (default text)"
    )
    add_output(compare)
    compare.old.append(("--format json", "--json"))
    compare.rewrite(_format_json)
    compare.add_argument("--report", type=Path, metavar="OUT.html", help="write the comparison as an HTML page")
    compare.set_defaults(run=_compare)


def _add_table(commands: Any) -> None:
    table = commands.add_parser(
        "table",
        help="a matrix of results: trained on, tested on",
        description="Results of several test sets as a matrix: a row for each model and what it was trained on (score "
        "--model, --trained-on), a column for each task and protocol.",
    )
    table.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="made by score --output")
    table.add_argument("--mode", choices=("reference", "strict"), default="strict", help="(default strict)")
    table.add_argument("--metric", choices=("s_re", "s_ge", "s_rege"), default="s_re", help="(default s_re)")
    table.add_argument("--format", choices=("text", "markdown", "latex"), default="text", help="(default text)")
    add_output(table)
    table.set_defaults(run=_table)


def _add_leaderboard(commands: Any) -> None:
    board = commands.add_parser(
        "leaderboard",
        help="a static page from a folder of results",
        description="A sortable page of all results of a folder, a table for each test set, with intervals and paired "
        "differences to the best; equal files give equal bytes.",
    )
    board.add_argument("results", type=Path, metavar="DIR", help="a folder of result files, made by score --output")
    board.add_argument("--out", required=True, type=Path, metavar="SITE", help="the folder to write index.html to")
    board.add_argument("--samples", type=int, default=1000, help="resamples of the differences (default 1000)")
    board.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add_output(board)
    board.set_defaults(run=_leaderboard)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from faba_bench.report.leaderboard import write_leaderboard

    found = write_leaderboard(arguments.results, arguments.out, samples=arguments.samples, seed=arguments.seed)
    lines = [f"{b['task']} {b['protocol']}, {b['n']} samples: {len(b['rows'])} results" for b in found["boards"]]
    emit(arguments, found, "\n".join([*lines, f"written to {arguments.out / 'index.html'}"]))
    return 0


def _add_ask(commands: Any) -> None:
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
    ask.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="(default OPENAI_API_KEY)")
    ask.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests in flight (default 8)")
    ask.add_argument("--per-minute", type=float, metavar="N", help="at most so many requests a minute")
    ask.add_argument("--attempts", type=int, default=6, metavar="N", help="tries for a question (default 6)")
    ask.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for a request (default 120)")
    ask.add_argument("--max-tokens", type=int, default=800, metavar="N", help="of an answer (default 800)")
    ask.add_argument("--temperature", type=float, default=0.0, metavar="T", help="(default 0)")
    ask.add_argument("--max-side", type=int, default=1024, metavar="PIXELS", help="of a picture sent (default 1024)")
    ask.add_argument("--price-input", type=float, metavar="P", help="price of a million input tokens")
    ask.add_argument("--price-output", type=float, metavar="P", help="price of a million output tokens")
    ask.add_argument("--estimate", action="store_true", help="say what all questions would take, and ask nothing")
    add_output(ask)
    ask.set_defaults(run=_ask)


def _add_judge(commands: Any) -> None:
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
    judge.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="(default OPENAI_API_KEY)")
    judge.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests in flight (default 8)")
    judge.add_argument("--per-minute", type=float, metavar="N", help="at most so many requests a minute")
    judge.add_argument("--attempts", type=int, default=6, metavar="N", help="tries for an answer (default 6)")
    judge.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for a request (default 120)")
    judge.add_argument("--max-tokens", type=int, default=64, metavar="N", help="of a verdict (default 64)")
    judge.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples (default 1000, 0: none)")
    judge.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add_output(judge)
    judge.set_defaults(run=_judge)


def _judge(arguments: argparse.Namespace) -> int:
    import os

    from faba_bench.chat.client import Client
    from faba_bench.judge import Judge, judge, model_digest

    for name in ("concurrency", "attempts", "max_tokens"):
        if getattr(arguments, name) < 1:
            raise BenchError(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(arguments, name)}")
    if arguments.per_minute is not None and not arguments.per_minute > 0:
        raise BenchError(f"--per-minute must be above 0, not {arguments.per_minute}")
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

    for name in ("concurrency", "attempts", "max_tokens", "max_side"):
        if getattr(arguments, name) < 1:
            raise BenchError(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(arguments, name)}")
    if arguments.per_minute is not None and not arguments.per_minute > 0:
        raise BenchError(f"--per-minute must be above 0, not {arguments.per_minute}")
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


def _table(arguments: argparse.Namespace) -> int:
    from faba_bench.matrix import matrix, render

    found = matrix(arguments.results, mode=arguments.mode, metric=arguments.metric)
    emit(arguments, found, lambda: render(found, arguments.format))
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from faba_bench.folds import fold_files, score_folds
    from faba_bench.scoring import score
    from faba_bench.tables import summary

    trained_on = [_known(name) for name in arguments.trained_on or ()]
    options: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("seed", "bootstrap", "allow_missing", "cluster", "label_scores")
    }
    if arguments.fold_dirs:
        if arguments.task in ("au_intensity", "va"):
            raise BenchError(f"--fold-dirs averages folds of the tasks au and emotion, not of {arguments.task}")
        if arguments.annotations or arguments.answers:
            raise BenchError("--fold-dirs replaces --annotations and --answers: give one or the other")
        if arguments.group:
            raise BenchError("--group measures one set of annotations, not --fold-dirs: score each fold with it")
        files = fold_files(arguments.task, arguments.fold_dirs)
        result = score_folds(arguments.task, arguments.protocol, arguments.fold_dirs, **options)
    elif arguments.annotations is None or arguments.answers is None:
        raise BenchError("score needs --annotations and --answers, or --fold-dirs")
    else:
        files = [Files(arguments.annotations, arguments.answers)]
        options["groups"] = arguments.group
        result = score(arguments.task, arguments.protocol, arguments.annotations, arguments.answers, **options)
    if arguments.model is not None:
        result["model"] = arguments.model
    if arguments.model_card is not None:
        result["model_card"] = arguments.model_card
    if arguments.trained_on is not None:
        result["trained_on"] = trained_on
    if result.get("kind") == "scale":
        return _show_scale(arguments, result)
    save(arguments, result)  # first, so that no later fault costs it
    _write(arguments, result, files)
    show(arguments, result, lambda: summary(result))
    return 0


def _known(name: str) -> str:
    """A protocol's name; another one would silently make a result of a set that was trained on look like another."""
    from faba_bench.protocol import load_protocol

    return load_protocol(name).name


def _show_scale(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    from faba_bench.scale import summary

    asked = [name for name in ("report", "plots", "markdown", "latex") if getattr(arguments, name)]
    if asked:
        raise BenchError(f"--{asked[0]} is for the tasks au and emotion; the result of {arguments.task} is --output")
    save(arguments, result)
    show(arguments, result, lambda: summary(result))
    return 0


def _write(arguments: argparse.Namespace, result: dict[str, Any], files: Sequence[Files]) -> None:
    """Every page and table that was asked for."""
    from faba_bench import tables
    from faba_bench.files.atomic import write_text

    for path, make in (
        (arguments.markdown, tables.markdown_document),
        (arguments.latex, tables.latex_document),
    ):
        if path:
            write_text(path, make(result))
    if arguments.report or arguments.plots:
        from faba_bench.report.bench import write_plots, write_report

        if arguments.plots:
            write_plots(result, arguments.plots)
        if arguments.report:
            write_report(
                result,
                arguments.report,
                files,
                image_folder=arguments.image_folder,
                landmarks=arguments.landmarks,
                title=arguments.title,
                protocol=arguments.protocol,
            )


def _compare(arguments: argparse.Namespace) -> int:
    from faba_bench.compare import compare_files, render, write_comparison

    comparison = compare_files(
        arguments.results,
        names=arguments.names,
        published=not arguments.no_published,
        samples=arguments.samples,
        seed=arguments.seed,
    )
    if arguments.report:
        write_comparison(comparison, arguments.report)
    emit(arguments, comparison, lambda: render(comparison, arguments.format))
    return 0


def _published(arguments: argparse.Namespace) -> int:
    from faba_bench.compare import field_figures
    from faba_bench.tables import text_table

    rows = field_figures()
    header = ["name", "protocol", "task", "metric", "value", "flags", "source"]
    shown = [[*(str(row[key]) for key in header[:5]), ", ".join(row["flags"]), row["source"]] for row in rows]
    emit(arguments, rows, lambda: text_table(header, shown))
    return 0


def _protocols(arguments: argparse.Namespace) -> int:
    from faba_bench.protocol import load_protocol, protocol_names

    found = [load_protocol(name) for name in protocol_names()]
    listing = [
        {"name": p.name, "version": p.version, "title": p.title, "tasks": list(p.tasks), "folds": p.folds}
        for p in found
    ]
    lines = [
        f"{p.name:12} v{p.version}  {'+'.join((*p.tasks, *p.scales)):15}  {p.title}"
        + (f", {p.folds} folds" if p.folds else "")
        for p in found
    ]
    emit(arguments, listing, "\n".join(lines))
    return 0


def _format_json(words: list[str]) -> list[str]:
    """``--format json`` as it was before ``--json``."""
    text = "\0".join(words).replace("--format\0json", "--format=json").split("\0")
    if "--format=json" in text:
        warn_old("'--format json'", "--json")
    return ["--json" if word == "--format=json" else word for word in text]


if __name__ == "__main__":
    sys.exit(main())
