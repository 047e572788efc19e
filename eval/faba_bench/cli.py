"""Command line: ``faba-bench score | compare | protocols``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench import asking_cli
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
    asking_cli.add_ask(commands)
    asking_cli.add_judge(commands)
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
