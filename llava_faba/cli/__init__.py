"""The ``llava-faba`` command line: one module per command, each importing its workflow only when it runs.

A command module has ``add_parser(subparsers)``; its parser sets ``run``, a function from the parsed arguments to
an exit code (0 fine, 1 the command found problems, 2 wrong usage or a :class:`llava_faba.errors.UserError`).
"""

from llava_faba.cli.main import main

__all__ = ["main"]
