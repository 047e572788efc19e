"""Checking a JSON value against a JSON schema, as far as our own schemas go.

Known words: type, const, enum, required, properties, additionalProperties (a schema), items, minItems, maxItems,
minimum, maximum and $ref into ``$defs``. A schema that uses another one is a mistake of ours and a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faba_bench.files.jsonfiles import kind_of
from faba_bench.files.terminal import printable

_KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_NOTES = {"$schema", "$defs", "title", "description"}
_WORDS = {
    "type", "const", "enum", "required", "properties", "additionalProperties", "items", "minItems", "maxItems",
    "minimum", "maximum", "$ref",
}  # fmt: skip


def first_fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first place where `value` is not as `schema` says, in words, or None."""
    return next(_faults(value, schema, schema, ""), None)


def _faults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    unknown = schema.keys() - _WORDS - _NOTES
    if unknown:
        raise ValueError(f"this reader does not know the schema's {sorted(unknown)}")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    where = place or "the file"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is {_shown(value)}, not of the kind {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where} is {_shown(value)}, not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {_shown(value)}, none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high:
            yield f"{where} is {_shown(value)}, not from {low} to {high}"
    if isinstance(value, dict):
        yield from _in_object(value, schema, root, place)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{where} has {len(value)} items"
        for index, item in enumerate(value if "items" in schema else ()):
            yield from _faults(item, schema["items"], root, f"{place}[{index}]")


def _in_object(value: Mapping[str, Any], schema: Mapping[str, Any], root: Any, place: str) -> Iterator[str]:
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{_joined(place, key)} is missing"
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        inner = known.get(key, others)
        if inner is not None:
            yield from _faults(item, inner, root, _joined(place, key))


def _joined(place: str, key: str) -> str:
    shown = printable(key)[:80]
    return f"{place}.{shown}" if place else shown


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _shown(value: Any) -> str:
    return kind_of(value) if isinstance(value, dict | list) or value is None else printable(repr(value))[:60]
