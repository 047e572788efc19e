"""Markdown tables of names from outside: text stays text."""

from __future__ import annotations

import pytest
from faba_bench.tables import markdown_table, markdown_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a|b\\c", "a\\|b\\\\c"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("![x](//h)", "\\!\\[x\\](//h)"),
        ("two\nlines", "two lines"),
        ("\x1b[2J", "\\\\x1b\\[2J"),
        ("A & B", "A &amp; B"),
        ("snake_case", "snake_case"),
        ("S_re 93.75!", "S_re 93.75!"),
    ],
)
def test_text_stays_text(text: str, shown: str) -> None:
    assert markdown_text(text) == shown


def test_a_cell_stays_one_cell() -> None:
    lines = markdown_table(["model", "x"], [["a | <b>\n| c |", "1"]]).splitlines()
    assert len(lines) == 3
    assert lines[2] == "| a \\| &lt;b&gt; \\| c \\| | 1 |"
