"""The matrix of training and test sets, and the noise band of fold assignment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faba_bench.cli import main
from faba_bench.errors import ResultError
from faba_bench.matrix import matrix, render

SETS = ("bp4d", "disfa", "gft")


def scored(folder: Path, protocol: str, model: str, trained: list[str], text: str = "AU1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"label": "1" if i % 2 else "2", "subject": f"s{i}", "id": i} for i in range(24)]
    (folder / f"{protocol}.a.json").write_text(json.dumps(records))
    lines = [{"question_id": i, "text": text} for i in range(24)]
    (folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    target = folder / f"{model}-{protocol}.json"
    command = ["score", "--task", "au", "--protocol", protocol, "--annotations", str(folder / f"{protocol}.a.json")]
    command += ["--answers", str(folder / "b.jsonl"), "--bootstrap", "20", "--output", str(target), "--model", model]
    assert main([*command, "--trained-on", *trained]) == 0
    return target


def test_the_matrix_knows_within_cross_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [scored(tmp_path, protocol, "one", ["bp4d"]) for protocol in SETS]
    paths += [scored(tmp_path, protocol, "two", ["bp4d", "gft"], "AU2") for protocol in SETS]
    found = matrix(paths)
    kinds = [{name: cell["kind"] for name, cell in row["cells"].items()} for row in found["rows"]]
    assert kinds[0] == {"au bp4d": "within", "au disfa": "cross", "au gft": "cross"}
    assert kinds[1] == {"au bp4d": "within", "au disfa": "left out", "au gft": "within"}
    capsys.readouterr()
    assert main(["table", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert "left out" in printed and "bp4d, gft" in printed and "arXiv 2604.02162" in printed
    assert "| model | trained on |" in render(found, "markdown")
    assert r"\toprule" in render(found, "latex")


def test_cells_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    first = scored(tmp_path / "a", "disfa", "one", [])
    with pytest.raises(ResultError, match="are both of 'one'"):
        matrix([first, scored(tmp_path / "b", "disfa", "one", [])])
    other = json.loads(first.read_text())
    other["model"] = "three"
    for mode in other["modes"].values():
        mode["samples"][0]["target"] = [4]
    (tmp_path / "c.json").write_text(json.dumps(other))
    with pytest.raises(ResultError, match="other samples or other labels"):
        matrix([first, tmp_path / "c.json"])


def test_the_noise_band_stands_beside_results_of_bp4d_and_disfa_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for protocol in SETS:
        path = scored(tmp_path / protocol, protocol, "one", [])
        printed = capsys.readouterr().out
        assert ("by +-6.5 points" in printed) is (protocol != "gft")
        assert main(["compare", str(path), "--samples", "5"]) == 0
        assert ("by +-6.5 points" in capsys.readouterr().out) is (protocol != "gft")


def test_a_set_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        scored(tmp_path, "disfa", "one", ["bp4"])
