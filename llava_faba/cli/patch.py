"""``llava-faba patch``: small changes of LLaVA's own source files, and taking them back."""

from __future__ import annotations

import argparse
from pathlib import Path

from faba_bench.console.output import emit, say
from faba_bench.console.parser import warn_old

from llava_faba.cli import options

DESCRIPTION = """
Patches of LLaVA's source tree (docs/upstream.md): with plugin-hook, LLaVA's own commands know EmoLA without a wrapper;
the others fix what keeps LLaVA from running here. Every line must be as a patch has it, or nothing is written.
Reinstalling LLaVA takes all patches away.
"""
_VERBS = ("check", "apply", "revert")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("patch", help="patches of LLaVA's source tree", description=DESCRIPTION)
    parser.rewrite(_old_verbs)
    parser.old += [(f"--{verb}", verb) for verb in _VERBS]
    commands = parser.add_subparsers(dest="patch_command", metavar="VERB", required=True)
    check = commands.add_parser("check", help="say which are applied; exits with 1 when one does not fit")
    apply = commands.add_parser("apply", help="apply all, or those named, or, if one does not fit, none")
    revert = commands.add_parser("revert", help="take back all, or those named: the files are as before")
    for command in (check, apply, revert):
        command.add_argument("names", nargs="*", metavar="PATCH", help="default: all that are meant for the tree")
        command.add_argument(
            "--tree", type=Path, metavar="DIR", help="folder that holds llava/; default: the installed LLaVA"
        )
    options.add_output(check)
    check.set_defaults(run=run_check)
    apply.set_defaults(run=run_apply)
    revert.set_defaults(run=run_revert)


def _old_verbs(words: list[str]) -> list[str]:
    """``--check``, ``--apply`` and ``--revert``, wherever they stood, as the verb in front."""
    old = [word for word in words if word.removeprefix("--") in _VERBS and word.startswith("--")]
    if len(set(old)) != 1:
        return words  # none; or several, which argparse refuses
    verb = old[0].removeprefix("--")
    warn_old(f"'patch {old[0]}'", f"'patch {verb}'")
    return [verb, *(word for word in words if word != old[0])]


def run_apply(args: argparse.Namespace) -> int:
    from llava_faba import patching

    return _tell(patching.apply(args.tree, args.names), "applied", "nothing to do: already applied")


def run_revert(args: argparse.Namespace) -> int:
    from llava_faba import patching

    return _tell(patching.revert(args.tree, args.names), "taken back", "nothing to do: not applied")


def _tell(names: list[str], what: str, nothing: str) -> int:
    for name in names:
        say(f"{name}: {what}")
    if not names:
        say(nothing)
    return 0


def run_check(args: argparse.Namespace) -> int:
    from llava_faba import patching
    from llava_faba.patching.catalogue import patches_for
    from llava_faba.patching.tree import find_code_base, find_root
    from llava_faba.upstream import CODE_BASES

    root = find_root(args.tree)
    wanted = {patch.name for patch in patches_for(find_code_base(root), args.names)}
    found = [patch for patch in patching.status(root) if patch.name in wanted]
    base = CODE_BASES[find_code_base(root)]
    result = {
        "tree": str(root / "llava"),
        "code_base": base,
        "patches": [{"name": patch.name, "state": patch.state, "detail": patch.detail} for patch in found],
    }
    lines = [f"{root / 'llava'}: {base}", *(f"  {patch.name:<16}{patch.state:<14}{patch.detail}" for patch in found)]
    emit(args, result, "\n".join(lines))
    return 1 if any(patch.state == "does not fit" for patch in found) else 0
