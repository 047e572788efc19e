"""``llava-faba patch``: small changes of LLaVA's own source files, and taking them back."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Patches of LLaVA's source tree (docs/upstream.md): with plugin-hook, LLaVA's own commands know EmoLA without a wrapper;
the others mend what keeps LLaVA from running here. Every line must be as a patch has it, or nothing is written.
Reinstalling LLaVA takes all patches away.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("patch", help="patches of LLaVA's source tree", description=DESCRIPTION)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--check", action="store_true", help="say which are applied; exits with 1 when one does not fit"
    )
    action.add_argument("--apply", action="store_true", help="apply all, or those named, or, if one does not fit, none")
    action.add_argument("--revert", action="store_true", help="take back all, or those named: the files are as before")
    parser.add_argument(
        "--tree", type=Path, metavar="DIR", help="folder that holds llava/; default: the installed LLaVA"
    )
    parser.add_argument("names", nargs="*", metavar="PATCH", help="default: all that are meant for the tree")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba import patching

    if args.apply or args.revert:
        done = (patching.apply if args.apply else patching.revert)(args.tree, args.names)
        for name in done:
            print(f"{name}: {'applied' if args.apply else 'taken back'}")
        if not done:
            print("nothing to do: already applied" if args.apply else "nothing to do: not applied")
        return 0
    return _check(args)


def _check(args: argparse.Namespace) -> int:
    from llava_faba import patching
    from llava_faba.patching.tree import find_code_base, find_root
    from llava_faba.upstream import CODE_BASES

    root = find_root(args.tree)
    print(f"{root / 'llava'}: {CODE_BASES[find_code_base(root)]}")
    found = [patch for patch in patching.status(root) if not args.names or patch.name in args.names]
    for patch in found:
        print(f"  {patch.name:<16}{patch.state:<14}{patch.detail}")
    return 1 if any(patch.state == "does not fit" for patch in found) else 0
