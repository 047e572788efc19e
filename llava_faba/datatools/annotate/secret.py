"""The API key: `faba_bench.chat.secret`, whose errors are this package's here."""

from __future__ import annotations

from faba_bench.chat import secret
from faba_bench.chat.secret import Scrubber, scrub_logs

from llava_faba.errors import UserError

__all__ = ["Scrubber", "clean_key", "scrub_logs"]


def clean_key(text: str, source: str = "the API key") -> str:
    """As there; raises ``UserError``."""
    return secret.clean_key(text, source, UserError)
