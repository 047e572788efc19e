"""The client of `faba_bench.chat`, whose errors are this package's."""

from __future__ import annotations

from typing import ClassVar

from faba_bench.chat.client import MAX_BODY, Fatal, Rejected, Retryable
from faba_bench.chat.client import Client as _Client

from llava_faba.errors import UserError

__all__ = ["MAX_BODY", "Client", "Fatal", "Rejected", "Retryable"]


class Client(_Client):
    """As there; a wrong key or address raises ``UserError``."""

    error: ClassVar[type[Exception]] = UserError
