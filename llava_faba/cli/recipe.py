"""``llava-faba recipe list|plan|run``: from data to a table in one command (docs/recipes.md)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from faba_bench.console.output import add_output, emit, say

from llava_faba.recipe.executors import NAMES

if TYPE_CHECKING:
    from llava_faba.recipe.expansion import Graph


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "recipe",
        help="from data to the paper's table in one command",
        description="A recipe is a YAML file of steps; each is done once for what goes into it (docs/recipes.md).",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="the recipes that come with llava-faba")
    add_output(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser(
        "plan",
        help="what a recipe would do, and what it needs",
        description="Shows the steps, which of them are done, and disk, time and memory as far as they can be told.",
    )
    _add_common(one)
    add_output(one)
    one.set_defaults(run=_plan)

    one = verbs.add_parser(
        "run",
        help="run a recipe",
        description="Interrupted, whatever the reason, the same command resumes where it stopped. Steps whose inputs "
        "and settings have not changed are not done again.",
    )
    _add_common(one)
    one.add_argument("--redo", action="append", default=[], metavar="STEP", help="do this step again; may be repeated")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="steps at a time (default: 1)")
    one.add_argument(
        "--executor",
        choices=NAMES,
        default="processes",
        help="where steps run: processes here, SLURM's jobs, or submitit's own local ones (default: processes)",
    )
    one.add_argument(
        "--executor-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what submitit takes: slurm_partition, gpus_per_node, timeout_min ...; may be repeated",
    )
    one.set_defaults(run=_run)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a name of 'recipe list', or a YAML file")
    parser.add_argument("--root", metavar="DIR", help="folder for everything it makes (default: runs/RECIPE)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input (inputs.base=DIR) or a setting of a step (train.learning_rate=1e-4); may be repeated",
    )
    parser.add_argument("--seeds", metavar="S,S", help="fan out over these seeds")
    parser.add_argument("--folds", metavar="F,F", help="fan out over these folds")


def _graph(name: str, root: str | None, changes: Sequence[str], axes: Mapping[str, Sequence[str]]) -> Graph:
    from pathlib import Path

    from llava_faba.recipe.expansion import expand
    from llava_faba.recipe.reading import find

    recipe = find(name)
    return expand(recipe, Path(root or f"runs/{recipe.name}").absolute(), changes, axes)


def _axes(args: argparse.Namespace) -> Mapping[str, Sequence[str]]:
    given = {"seed": args.seeds, "fold": args.folds}
    return {axis: text.split(",") for axis, text in given.items() if text}


def _list(args: argparse.Namespace) -> int:
    from llava_faba.recipe.reading import library, read

    recipes = [read(path) for path in library().values()]
    table = [{"name": r.name, "title": r.title, "note": r.note, "inputs": list(r.inputs)} for r in recipes]
    emit(args, table, lambda: "\n".join(f"{r.name:<20} {r.title}" for r in recipes))
    return 0


def _plan(args: argparse.Namespace) -> int:
    from llava_faba.recipe.planning import as_text, plan

    graph = _graph(args.recipe, args.root, args.set, _axes(args))
    rows = plan(graph)
    emit(
        args, {"recipe": graph.recipe.name, "missing": list(graph.missing), "steps": rows}, lambda: as_text(graph, rows)
    )
    return 0


def _run(args: argparse.Namespace) -> int:
    from llava_faba.errors import UserError

    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: give 1 or more")
    options: dict[str, Any] = {}
    for entry in args.executor_set:
        key, equals, value = entry.partition("=")
        if not equals:
            raise UserError(f"--executor-set {entry}: write KEY=VALUE")
        options[key] = int(value) if value.isdecimal() else value
    return run_recipe(
        args.recipe,
        args.root,
        args.set,
        axes=_axes(args),
        redo=args.redo,
        jobs=args.jobs,
        executor=args.executor,
        executor_options=options,
    )


def run_recipe(
    name: str,
    root: str | None,
    changes: Sequence[str] = (),
    *,
    axes: Mapping[str, Sequence[str]] | None = None,
    redo: Sequence[str] = (),
    jobs: int = 1,
    executor: str = "processes",
    executor_options: Mapping[str, Any] | None = None,
) -> int:
    """Run a recipe, print what it shows at its end and where its results are; returns the exit code."""
    from llava_faba.recipe.executors import create
    from llava_faba.recipe.running import run

    graph = _graph(name, root, changes, axes or {})
    runner = create(executor, graph.root / ".recipe" / "submitit", executor_options or {})
    run(graph, runner, redo=redo, jobs=jobs)
    if graph.show is not None:
        for line in graph.show.read_text(encoding="utf-8").splitlines():
            say(line)
    for result in graph.results:
        say(f"\n{result}: {(graph.root / result).resolve()}", end="")
    say()
    return 0
