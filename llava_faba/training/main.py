"""The training command: register EmoLA, then run LLaVA's own ``train()``."""

from __future__ import annotations

import argparse
import errno
import sys

from faba_bench.console.output import tell
from faba_bench.errors import BenchError
from faba_bench.files.oserrors import sentence

from llava_faba.errors import UserError

EXIT_STOPPED = 75
"""EX_TEMPFAIL: the run was told to end and has saved; the same command resumes."""


def main() -> int:
    """Train with the flags in ``sys.argv``; returns the exit code."""
    try:
        _check_expert(sys.argv[1:])
        from llava_faba.registration import register
        from llava_faba.training.configs import with_installed_config
        from llava_faba.upstream import import_llava

        sys.argv = with_installed_config(sys.argv)
        register()
        import_llava("llava.train.train").train()
    except (UserError, BenchError) as error:
        tell(f"train_emola: {error}")
        return 2
    except OSError as error:
        if error.filename is None and error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):  # of a connection, or a library's: its traceback says where
            raise
        tell(f"train_emola: {sentence(error)}")
        return 2
    except SystemExit as ended:
        if ended.code != EXIT_STOPPED:
            raise
        return EXIT_STOPPED
    return 0


def _check_expert(argv: list[str]) -> None:
    """The expert is named and known: said before torch is imported and DeepSpeed has compiled and connected."""
    from llava_faba.experts import expert_names, part_classes

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--facial_prior_expert")
    name = parser.parse_known_args(argv)[0].facial_prior_expert
    if name is None and not {"-h", "--help"} & set(argv):
        raise UserError(
            "--facial_prior_expert is required: the expert that made the priors is part of the model. Choose one of "
            f"{', '.join(expert_names())}, or 'none' to train plain LLaVA on the same data."
        )
    if name not in (None, "none"):
        part_classes(name)
