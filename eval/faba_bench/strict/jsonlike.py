"""Answers in JSON, fenced or inside a text, and in what models take for it (Python's dicts, trailing commas)."""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from faba_bench.strict.structure import Labels, Structure
from faba_bench.strict.values import Value, json_value

_LONGEST = 20_000
_DEPTH = 12
_FENCE = re.compile(r"'''[ \t]*\w*[ \t]*\n?(.*?)'''", re.DOTALL)
_TRAILING = re.compile(r",\s*([}\]])")
_COMMENT = re.compile(r"(?m)(?<![:\"'\w])//[^\n\"]*$")
_WORDS = re.compile(r"[^\W_]+")

_PRESENT_KEYS = frozenset(
    "present active activated visible detected observed positive true yes found shown occurring identified on".split()
)
_ABSENT_KEYS = frozenset(
    "absent inactive missing undetected negative false no excluded off invisible rejected unobserved deactivated".split()
)
_STATE_KEYS = (
    "present", "active", "activated", "is_present", "is_active", "presence", "detected", "visible", "observed", "occurrence", "occurs",
    "status", "state", "activation", "value", "label_value", "answer", "result", "exists", "found",
    "intensity", "level", "strength", "score", "probability", "prob", "p", "pct", "weight", "likelihood", "percentage", "percent", "confidence",
)  # fmt: skip
_NAME_KEYS = (
    "au", "action_unit", "actionunit", "unit", "id", "code", "number", "label", "name", "emotion", "class", "category", "expression",
    "au_number", "au_id", "au_code", "aus", "type", "key", "title",
)  # fmt: skip
#: Fields that hold the answer, most telling first.
_ANSWER_KEYS = (
    "final_answer", "finalanswer", "final", "answer", "dominant_emotion", "primary_emotion", "main_emotion", "predicted_emotion", "top_emotion", "detected_emotion", "facial_emotion", "face_emotion", "emotion_label", "emotion_name", "emotional_state",
    "prediction", "predicted", "predicted_label", "predicted_class", "conclusion", "label", "emotion", "class", "expression", "facial_expression",
    "category", "result", "output", "response", "overall_emotion", "overall", "sentiment", "mood", "affect", "emotions", "primary", "dominant",
    "text", "content",
)  # fmt: skip
_REASONS = re.compile(
    r"(?i)reason|explan|rational|thought|think|analy|evidence|justif|note|comment|descri|detail|observation|second|alternative|"
    r"other_|runner|confus|less|caveat|context|cue|feature|valence|arousal|confidence|uncertain|image|person|face_|subject|intensity|basis|why"
)


_SIDES = frozenset(("left", "right", "l", "r", "both", "bilateral", "left_side", "right_side"))


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys in order, doubles included."""


def read_json_like(text: str, labels: Labels) -> Structure | None:
    """What the JSON value in a text says, None when there is no such value or it names no label."""
    for piece in _candidates(text):
        value = _parse(piece)
        if isinstance(value, Pairs | list) and not _is_plain_prose(value):
            structure = read_value(value, labels)
            if structure is not None:
                return structure
    return None


def read_value(value: Any, labels: Labels) -> Structure | None:
    """What a value of `Pairs`, lists and scalars says, None when it names no label."""
    structure = Structure()
    _walk(value, labels, structure, None, 0)
    structure.answers.sort(key=lambda answer: answer[:2])  # the outermost and most telling field goes first
    structure.texts = [text for _, _, text in structure.answers] + structure.texts
    return structure if structure.found or structure.texts else None


def _candidates(text: str) -> list[str]:
    bare = text.strip()
    found = [match.group(1).strip() for match in _FENCE.finditer(text)] if "'''" in text else []
    found = [piece for piece in found if piece[:1] in ("{", "[")]
    if bare[:1] in ("{", "["):
        found.append(bare)
    for opening, closing in (("{", "}"), ("[", "]")):
        start, end = bare.find(opening), bare.rfind(closing)
        if 0 <= start < end:
            found.append(bare[start : end + 1])
    if bare.startswith("{") and "}\n{" in bare:
        found.insert(0, "[" + ",".join(line for line in bare.split("\n") if line.strip()) + "]")
    return [piece for piece in found if len(piece) <= _LONGEST]


def _parse(piece: str) -> Any:
    if _depth(piece) > _DEPTH:
        return None
    for attempt in (piece, _TRAILING.sub(r"\1", _COMMENT.sub("", piece))):
        try:
            return json.loads(attempt, object_pairs_hook=Pairs)
        except (ValueError, RecursionError):
            continue
    try:
        return _paired(ast.literal_eval(piece))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _depth(piece: str) -> int:
    depth = deepest = 0
    for character in piece:
        if character in "{[(":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}])":
            depth -= 1
    return deepest


def _paired(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs((str(key), _paired(item)) for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return [_paired(item) for item in value]
    return value


def _is_plain_prose(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs) and not value


def _normal_key(key: object) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", str(key))
    return "_".join(_WORDS.findall(spaced.lower()))


def _polarity(key: str) -> bool | None:
    """Whether a key such as "absent_aus" heads a list of what is absent; None when it says neither."""
    parts = set(key.split("_"))
    if parts & _ABSENT_KEYS or (parts & {"not", "non", "un"} and parts & _PRESENT_KEYS):
        return False
    return True if parts & _PRESENT_KEYS else None


def _walk(value: Any, labels: Labels, into: Structure, present: bool | None, depth: int) -> None:
    if depth > _DEPTH:
        return
    if isinstance(value, Pairs):
        _object(value, labels, into, present, depth)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Pairs | list):
                _walk(item, labels, into, present, depth + 1)
            else:
                _leaf(item, labels, into, present)
    else:
        _leaf(value, labels, into, present)


def _leaf(item: Any, labels: Labels, into: Structure, present: bool | None) -> None:
    """An element of a list, or the value of an answer's field: labels, or a text that says them."""
    if isinstance(item, bool) or item is None:
        return
    text = str(item)
    named = labels.cell(text, bare=True)
    if named:
        into.list(named, present is not False)
        into.listed += named if present is not False else ()
    elif isinstance(item, str) and text.strip():
        if present is False:
            for _, _, found in labels.spans(text):
                into.list(found, False)
        else:
            into.texts.append(text)


def _object(
    pairs: Sequence[tuple[str, Any]], labels: Labels, into: Structure, present: bool | None, depth: int
) -> None:
    keys = {_normal_key(key): item for key, item in pairs}
    if _entry(keys, labels, into, present):
        return
    digits = bool(pairs) and all(str(key).strip().isdigit() for key, _ in pairs)
    labelled = [(key, item, labels.cell(str(key), bare=digits)) for key, item in pairs]
    if _parallel(pairs, labels, into):
        return
    chosen = next((key for key in _ANSWER_KEYS if key in keys and not labels.cell(key)), None)
    for key, item, named in labelled:
        if named:
            source = _source(str(key))
            value = _field_value(item, labels)
            if value is not None:
                into.add(named, value, source)
    if any(named for _, _, named in labelled) and not chosen:
        for key, item, named in labelled:
            if not named and isinstance(item, Pairs | list) and not _REASONS.search(_normal_key(key)):
                _walk(item, labels, into, present, depth + 1)
        return
    for key, item, named in labelled:
        name = _normal_key(key)
        if named:
            continue
        says = _polarity(name)
        if says is not None:
            into.found = into.found or isinstance(item, list)
            _walk(item, labels, into, says, depth + 1)
        elif isinstance(item, Pairs | list):
            if not _REASONS.search(name) or name in _ANSWER_KEYS:
                into.found = into.found or (isinstance(item, list) and not item and ("au" in name or "unit" in name))
                _walk(item, labels, into, present, depth + 1)
        elif name == chosen or (
            not _REASONS.search(name) and isinstance(item, str) and (name in _ANSWER_KEYS) is False
        ):
            if name == chosen:
                if isinstance(item, str | int | float) and not isinstance(item, bool):
                    into.answers.append((depth, _ANSWER_KEYS.index(name), str(item)))
            elif labels.cell(str(item), bare=False) or "au" in name.split("_") or "aus" in name.split("_"):
                _leaf(item, labels, into, present)


def _parallel(pairs: Sequence[tuple[str, Any]], labels: Labels, into: Structure) -> bool:
    """Two lists side by side: ``{"labels": ["anger", "fear"], "scores": [0.7, 0.3]}``."""
    lists = [item for _, item in pairs if isinstance(item, list) and not isinstance(item, Pairs) and len(item) > 1]
    names = [item for item in lists if all(isinstance(one, str) and labels.cell(one) for one in item)]
    if len(names) != 1:
        return False
    values = [
        item
        for item in lists
        if len(item) == len(names[0]) and all(isinstance(one, bool | int | float) for one in item)
    ]
    if len(values) != 1:
        return False
    for name, value in zip(names[0], values[0], strict=True):
        found = json_value(value)
        if found is not None:
            into.add(labels.cell(name) or (), found)
    return True


def _entry(keys: dict[str, Any], labels: Labels, into: Structure, present: bool | None) -> bool:
    """An object about one label: ``{"au": 4, "present": false}``."""
    for name in _NAME_KEYS:
        item = keys.get(name)
        if isinstance(item, str | int) and not isinstance(item, bool):
            named = labels.cell(str(item), bare=True)
            if not named:
                continue
            value = _state_of(keys, skip=name)
            if value is None:
                if any(key in _ANSWER_KEYS for key in keys) and name in (
                    "emotion",
                    "label",
                    "class",
                    "expression",
                    "category",
                ):
                    return False
                value = Value(present is not False)
            into.add(named, value)
            return True
    return False


def _state_of(keys: dict[str, Any], skip: str = "") -> Value | None:
    for name in _STATE_KEYS:
        if name != skip and name in keys and not isinstance(keys[name], Pairs | list):
            if name == "confidence" and skip in ("au", "action_unit", "unit"):
                continue
            value = json_value(keys[name])
            if value is not None:
                return value
    return None


def _field_value(item: Any, labels: Labels) -> Value | None:
    if isinstance(item, Pairs):
        keys = {_normal_key(key): value for key, value in item}
        found = _state_of(keys)
        if found is None and keys and all(key in _SIDES for key in keys):
            sides = [side for item in keys.values() if (side := json_value(item)) is not None]
            return max(sides, key=lambda side: (bool(side.state), side.number or 0), default=None)
        return found or Value(True)
    if isinstance(item, list):
        return Value(bool(item))
    value = json_value(item)
    if value is None and isinstance(item, str) and item.strip():
        from faba_bench.strict.explain import explained

        return Value(explained(item) >= 0)
    return value


def _source(key: str) -> str:
    match = re.search(r"_([cr])\b\s*$", key.strip(), re.IGNORECASE)
    return match.group(1).lower() if match else ""
