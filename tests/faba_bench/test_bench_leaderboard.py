"""The scoreboard: from result files alone, the same bytes each time, and nothing of a name becomes markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import pytest
from faba_bench.cli import main
from faba_bench.errors import ResultError
from faba_bench.report.leaderboard import write_leaderboard


def result(right: int, n: int = 40, **extra: Any) -> dict[str, Any]:
    annotations = [{"label": "Fear", "gpt4": "He looks afraid.", "id": i, "subject": f"s{i}"} for i in range(n)]
    answers = [{"question_id": i, "text": "Fear." if i < right else "Anger."} for i in range(n)]
    return faba_bench.score("emotion", "faba", annotations, answers, bootstrap=50) | extra


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    faba_bench.write_result(result(20, model="weak"), folder / "a.json")
    faba_bench.write_result(result(36, model="<b>strong</b>", model_card="https://example.org/card"), folder / "b.json")
    faba_bench.write_result(result(19, model="evil", model_card="javascript:alert(1)"), folder / "c.json")
    faba_bench.write_result(result(10, n=20, model="weak"), folder / "other-set.json")
    return folder


def test_boards_are_ordered_and_significance_is_told(results: Path, tmp_path: Path) -> None:
    found = write_leaderboard(results, tmp_path / "site", samples=200)
    assert [board["n"] for board in found["boards"]] == [40, 20]
    rows = found["boards"][0]["rows"]
    assert [row["model"] for row in rows] == ["<b>strong</b>", "weak", "evil"]
    assert rows[1]["modes"]["strict"]["difference"]["s_re"]["value"] == pytest.approx(-40.0)
    page = (tmp_path / "site" / "index.html").read_text()
    assert "&lt;b&gt;strong&lt;/b&gt;" in page and "<b>strong" not in page
    assert 'href="https://example.org/card"' in page and "javascript:" not in page
    assert "-40.00 [" in page and "]*" in page
    assert json.loads((tmp_path / "site" / "leaderboard.json").read_text()) == json.loads(json.dumps(found))


def test_equal_files_give_equal_bytes_by_the_command(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        assert main(["leaderboard", str(results), "--out", str(tmp_path / name), "--samples", "20"]) == 0
    assert "emotion faba, 40 samples: 3 results" in capsys.readouterr().out
    pages = [(tmp_path / name / "index.html").read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1] and str(tmp_path).encode() not in pages[0]


def test_two_results_of_one_model_and_no_results_are_errors(results: Path, tmp_path: Path) -> None:
    faba_bench.write_result(result(3, model="weak"), results / "z.json")
    with pytest.raises(ResultError, match="a second result of 'weak'"):
        write_leaderboard(results, tmp_path / "site", samples=5)
    with pytest.raises(ResultError, match="no result files"):
        write_leaderboard(tmp_path / "none", tmp_path / "site")
