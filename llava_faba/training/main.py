"""The training command: register EmoLA, then run LLaVA's own ``train()``."""

from __future__ import annotations

import sys

from llava_faba.errors import UserError


def main() -> int:
    """Train with the flags in ``sys.argv``; returns the exit code."""
    try:
        if not any(argument.split("=")[0] == "--facial_prior_expert" for argument in sys.argv[1:]):
            _require_expert()
        from llava_faba.registration import register
        from llava_faba.training.configs import with_installed_config
        from llava_faba.upstream import import_llava

        sys.argv = with_installed_config(sys.argv)
        register()
        import_llava("llava.train.train").train()
    except UserError as error:
        print(f"train_emola: {error}", file=sys.stderr)
        return 2
    return 0


def _require_expert() -> None:
    from llava_faba.experts import expert_names

    if {"-h", "--help"} & set(sys.argv[1:]):
        return
    raise UserError(
        "--facial_prior_expert is required: the expert that made the priors is part of the model. Choose one of "
        f"{', '.join(expert_names())}, or 'none' to train plain LLaVA on the same data."
    )
