"""The field's figures say where they are from."""

from __future__ import annotations

import json

import pytest
from faba_bench.cli import main
from faba_bench.compare import field_figures
from faba_bench.protocol import load_protocol


def test_every_figure_has_its_source_and_flags() -> None:
    figures = field_figures()
    assert len({(row["name"], row["task"], row["metric"]) for row in figures}) == len(figures) == 14
    for row in figures:
        assert row["task"] in load_protocol(row["protocol"]).tasks
        assert all(row[key] for key in ("source", "date", "split", "conditions", "flags"))
        assert 0 < row["value"] <= (200 if row["metric"] == "s_rege" else 100)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published"]) == 0
    assert "Shikra" in capsys.readouterr().out
    assert main(["published", "--json"]) == 0
    assert {"name": "EmoLA, prior only", "value": 41.2}.items() <= json.loads(capsys.readouterr().out)[8].items()
