"""The field's figures say where they are from."""

from __future__ import annotations

import json

import pytest
from faba_bench.cli import main
from faba_bench.compare import field_figures
from faba_bench.protocol import load_protocol


def test_every_figure_has_its_source_and_flags() -> None:
    figures = field_figures()
    names = {(row["name"], row["protocol"], row["task"], row["metric"]) for row in figures}
    assert len(names) == len(figures) == 69
    for row in figures:
        assert row["task"] in load_protocol(row["protocol"]).tasks
        assert all(row[key] for key in ("source", "date", "split", "conditions", "flags"))
        assert 0 <= row["value"] <= (200 if row["metric"] == "s_rege" else 100)
        assert any(flag == "quoted" or flag.startswith("read ") for flag in row["flags"])


def test_the_result_files_of_two_runs_agree_in_every_unit_and_the_means_are_those_of_the_units() -> None:
    """What docs/findings.md says of them."""
    units: dict[str, dict[str, float]] = {}
    means = {}
    for row in field_figures():
        if row["table"] == "result files" and row["metric"].startswith("f1_au"):
            units.setdefault(row["name"], {})[row["metric"].removeprefix("f1_au")] = row["value"]
        elif row["table"] == "result files" and row["task"] == "au" and row["metric"] == "s_re":
            means[row["name"]] = row["value"]
    scored = {str(number) for number in load_protocol("faba").au.scored}
    assert set(units) == set(means) and len(units) == 3
    for name, values in units.items():
        assert set(values) == scored and sum(values.values()) / 12 == pytest.approx(means[name], abs=0.006)
    emola, bare, landmark = units.values()
    assert emola == bare and emola != landmark


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published"]) == 0
    assert "Shikra" in capsys.readouterr().out
    assert main(["published", "--json"]) == 0
    assert {"name": "EmoLA, prior only", "value": 41.2}.items() <= json.loads(capsys.readouterr().out)[8].items()
