"""What a server sent: `faba_bench.chat.replies`."""

from __future__ import annotations

from faba_bench.chat.replies import (
    NoAnswer,
    Reply,
    error_message,
    finish_reason,
    is_counted,
    parse_reply,
    well_formed,
)

__all__ = ["NoAnswer", "Reply", "error_message", "finish_reason", "is_counted", "parse_reply", "well_formed"]
