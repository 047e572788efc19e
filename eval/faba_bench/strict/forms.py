"""Which reader of structure a text is for: JSON, YAML or a table."""

from __future__ import annotations

from faba_bench.strict.jsonlike import read_json_like
from faba_bench.strict.structure import Labels, Structure
from faba_bench.strict.tables import read_table
from faba_bench.strict.yamllike import read_yaml_like


def structure_of(text: str, labels: Labels) -> Structure | None:
    """What the structure of a text says, None when it has none or the structure names no label."""
    found = read_json_like(text, labels) if "{" in text or "[" in text else None
    if found is None:
        found = read_yaml_like(text, labels)
    if found is None and _may_be_table(text):
        found = read_table(text, labels)
    return found


def _may_be_table(text: str) -> bool:
    if any(sign in text for sign in ("|", "\t", "<", "│")):
        return True
    if "," in text and ("\n" in text or ";" in text):
        return True
    return "\n" in text and (";" in text or "  " in text)
