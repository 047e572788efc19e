"""What a server sent, as one answer: text in whatever shape, why it ended, the tokens that it took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faba_bench.files import FileProblem
from faba_bench.files.jsonfiles import parse_json

_FINISHES = {
    "stop": "stop eos eos_token end_turn end stop_sequence complete completed finished finish_reason_stop",
    "length": "length max_tokens max_output_tokens max_completion_tokens token_limit model_length max_length "
    "model_context_window_exceeded finish_reason_max_tokens incomplete",
    "content_filter": "content_filter content_filtered contentfilter safety refusal recitation prohibited_content "
    "blocklist spii guardrail_intervened sensitive image_safety finish_reason_safety",
    "error": "error cancelled canceled abort aborted failed network_error insufficient_system_resource "
    "malformed_function_call",
    "tool_calls": "tool_calls tool_call tool_use function_call",
}
_FINISH = {name: known for known, names in _FINISHES.items() for name in names.split()}
_THOUGHT_PARTS = ("thinking", "reasoning", "redacted_thinking", "reasoning_content", "thought")
_COUNTS = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_MOST_TOKENS = 100_000_000


@dataclass(frozen=True)
class Reply:
    """The answer's text, why it ended ("stop", "length", ...), the tokens it took, and the whole body.

    ``text`` is empty where the model has answered with nothing for good: all of its tokens went into thoughts, or a
    filter took the answer. Asking again would be paid for again.
    """

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    body: str


class NoAnswer(Exception):
    """The body holds no answer; ``usage``: the tokens that it took nevertheless; ``empty``: it is a completion."""

    def __init__(self, message: str, usage: Mapping[str, int] | None = None, *, empty: bool = False) -> None:
        super().__init__(message)
        self.usage, self.empty = usage or {}, empty


def finish_reason(given: object) -> str:
    """One name for what servers call differently (``eos``, ``MAX_TOKENS``, ``SAFETY``); an unknown one stays."""
    name = str(given or "").strip().lower().replace("-", "_")
    return _FINISH.get(name, name)


def parse_reply(body: str) -> Reply:
    """The first choice of a chat completion. Raises ``NoAnswer``.

    ``content`` may be a text, a list of parts or one part; parts with thoughts are no answer. Lone surrogates become
    U+FFFD. A stream of server-sent events, which some gateways send unasked, is put together.
    """
    data = _loaded(body)
    if not isinstance(data, dict):
        raise NoAnswer("the answer is no chat completion")
    usage = _usage(data.get("usage"))
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        if isinstance(choice, dict) and isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}
        elif data.get("error"):
            raise NoAnswer(f"the server reports an error: {_error_text(data['error'])}", usage)
        else:
            raise NoAnswer("the answer is no chat completion", usage)
    assert isinstance(choice, dict)
    finish = finish_reason(choice.get("finish_reason") or choice.get("finish_details") or choice.get("stop_reason"))
    text = well_formed(_text(message.get("content"))).strip()
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str) and refusal.strip():
        return Reply(well_formed(refusal).strip(), "content_filter", usage, body)
    if not text and not (finish in ("length", "content_filter", "tool_calls") or _thought(message)):
        raise NoAnswer("the answer is empty", usage, empty=True)
    return Reply(text, finish, usage, body)


def well_formed(text: str) -> str:
    """``text`` with U+FFFD for half characters, which no file can hold; pairs of halves become what they spell."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _loaded(body: str) -> Any:
    if body.lstrip().startswith(("data:", "event:", ":")):
        return _joined(body)
    try:
        return parse_json(body, "the answer", allow_nan=True)
    except FileProblem as error:
        raise NoAnswer("the answer is no JSON" if not body.strip() else f"the answer is no JSON ({error})") from None


def _joined(body: str) -> dict[str, Any]:
    """The message of a stream of server-sent events."""
    texts, finish, usage, seen, ended = [], None, None, False, False
    for line in body.splitlines():
        if not line.startswith("data:"):
            continue
        event = line[len("data:") :].strip()
        if event == "[DONE]":
            ended = True
            break
        try:
            data = parse_json(event, "an event", allow_nan=True)
        except FileProblem as error:
            raise NoAnswer(f"the answer is a stream that cannot be read ({error})") from None
        if not isinstance(data, dict):
            continue
        usage = data.get("usage") or usage
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            seen = True
            delta = choice.get("delta") or choice.get("message")
            texts.append(_text(delta.get("content")) if isinstance(delta, dict) else "")
            finish = choice.get("finish_reason") or finish
    if not seen or not (ended or finish):
        raise NoAnswer("the answer is a stream that breaks off", _usage(usage))
    return {"choices": [{"message": {"content": "".join(texts)}, "finish_reason": finish}], "usage": usage}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return "" if str(content.get("type", "text")) in _THOUGHT_PARTS else _part(content)
    if isinstance(content, list):
        return "".join(_text(part) for part in content if isinstance(part, str | dict))
    return ""


def _part(part: Mapping[str, Any]) -> str:
    for name in ("text", "output_text", "value", "content"):
        inner = part.get(name)
        if isinstance(inner, str):
            return inner
        if isinstance(inner, dict | list):
            return _text(inner)
    return ""


def _thought(message: Mapping[str, Any]) -> bool:
    """Did the model think, in a field of its own or in parts of its own?"""
    if any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details")):
        return True
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") in _THOUGHT_PARTS for part in content
    )


def _error_text(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return str(message if isinstance(message, str) else json.dumps(error, default=str))[:200]


def _usage(given: object) -> dict[str, int]:
    """Token counts that can be priced: whole, not negative, and of a size that exists; others are not there."""
    if not isinstance(given, dict):
        return {}
    counts = {}
    for name, other in _COUNTS.items():
        for value in (given.get(name), given.get(other)):
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
                counts[name] = value
                break
    return counts


def is_counted(usage: Mapping[str, int]) -> bool:
    """Did the server say what the answer took?"""
    return all(name in usage for name in _COUNTS)


def error_message(body: str) -> tuple[str, str]:
    """What an error body complains about: message and the parameter that it names (empty where it names none)."""
    try:
        data = parse_json(body, "the error", allow_nan=True)
    except FileProblem:
        return body, ""
    found: Iterable[object] = [data]
    if isinstance(data, dict):
        found = [data.get("error"), data.get("detail"), data]
    for error in found:
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            parameter = error.get("param")
            return error["message"], parameter if isinstance(parameter, str) else ""
        if isinstance(error, str) and error:
            return error, ""
    return body, ""
