"""What surrounds one call of LLaVA's ``train()``."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator

from transformers import set_seed

from llava_faba.compat.engine import replaced
from llava_faba.model.dispatch import training_base
from llava_faba.model.handing_over import only_vetted_folders
from llava_faba.training.arguments import NO_PRIOR
from llava_faba.training.cpu_processes import prepare_cpu
from llava_faba.training.flag_checks import check_flags
from llava_faba.training.full_disk import saying_full_disk
from llava_faba.training.identity import remembering_arguments
from llava_faba.training.peers import groups_waiting, naming_lost_processes
from llava_faba.training.run_lock import releasing_output
from llava_faba.training.stopping import stoppable


def wrap_train(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``llava.train.train.train``.

    Asked for an expert, it builds EmoLA; with ``none`` it trains plain LLaVA on the same data from the same seed.
    Without the flag it is upstream's ``train()``, but for what DeepSpeed needs to run on a CPU.
    """

    @functools.wraps(original)
    def train(attn_implementation: str | None = None) -> None:
        check_flags(sys.argv[1:])
        request = _parse_request(sys.argv[1:])
        with stoppable(request.ddp_timeout), releasing_output(), remembering_arguments():
            prepare_cpu(request.deepspeed, request.ddp_timeout)
            implementation = request.attn_implementation or _available(attn_implementation)
            waiting = groups_waiting(request.ddp_timeout)
            with naming_lost_processes(request.output_dir), waiting, saying_full_disk(request.output_dir):
                _train(original, request, implementation)

    return train


def _train(original: Callable[..., None], request: argparse.Namespace, attn_implementation: str | None) -> None:
    if request.facial_prior_expert is None:
        with only_vetted_folders():
            original(attn_implementation=attn_implementation)
        return
    # LoRA weights are drawn before the Trainer seeds anything; without this no two runs agree.
    set_seed(request.seed)
    wants_prior = request.facial_prior_expert != NO_PRIOR
    with (
        training_base(as_emola=wants_prior),
        _tensorboard_unless_told(request.report_to),
        only_vetted_folders(),
    ):
        original(attn_implementation=attn_implementation)


def _parse_request(argv: list[str]) -> argparse.Namespace:
    """The few flags that matter before LLaVA parses all of them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--facial_prior_expert")
    parser.add_argument("--seed", type=int, default=42)  # the default of transformers.TrainingArguments
    parser.add_argument("--deepspeed")
    parser.add_argument("--output_dir")
    parser.add_argument("--ddp_timeout", type=int)
    parser.add_argument("--attn_implementation")
    parser.add_argument("--report_to", nargs="+")
    return parser.parse_known_args(argv)[0]


def _available(attn_implementation: str | None) -> str | None:
    """What ``train_mem.py`` asks for whatever is installed; None, transformers' choice, without flash attention.

    That choice is torch's own attention (sdpa): it computes the same, at another cost of time and memory. A user's
    own ``--attn_implementation`` does not come here: transformers says what is missing.
    """
    from transformers.utils import is_flash_attn_2_available

    if attn_implementation != "flash_attention_2" or is_flash_attn_2_available():
        return attn_implementation
    warnings.warn("flash attention 2 is not available here: training with torch's own attention (sdpa).", stacklevel=3)
    return None


@contextlib.contextmanager
def _tensorboard_unless_told(report_to: list[str] | None) -> Iterator[None]:
    """Releases of transformers differ in where they report to by default: to everything installed, or nowhere."""
    told = report_to is not None or importlib.util.find_spec("tensorboard") is None
    with replaced(sys, "argv", sys.argv if told else [*sys.argv, "--report_to", "tensorboard"]):
        yield
