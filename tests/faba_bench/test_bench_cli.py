"""The console commands, and what importing costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import faba_bench
import pytest
from faba_bench.cli import main
from faba_bench.tables import latex_text, markdown_table


@pytest.fixture
def files(tmp_path: Path, au_annotations: Any, au_answers: Any) -> tuple[str, str]:
    (tmp_path / "eval.json").write_text(json.dumps(au_annotations))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in au_answers))
    return str(tmp_path / "eval.json"), str(tmp_path / "a.jsonl")


def run(files: tuple[str, str], *more: str) -> int:
    return main(
        [
            "score",
            "--task",
            "au",
            "--protocol",
            "faba",
            "--annotations",
            files[0],
            "--answers",
            files[1],
            *more,
        ]
    )


def test_score_writes_everything(tmp_path: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    out = [str(tmp_path / "o" / name) for name in ("r.json", "r.html", "r.md", "r.tex", "plots")]
    assert (
        run(
            files,
            "--json",
            out[0],
            "--report",
            out[1],
            "--markdown",
            out[2],
            "--latex",
            out[3],
            "--plots",
            out[4],
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "reference" in printed and "strict" in printed and "warning:" in printed
    result = faba_bench.load_result(out[0])
    assert result == faba_bench.score("au", "faba", Path(files[0]), Path(files[1]))
    assert "</html>" in Path(out[1]).read_text(encoding="utf-8")
    assert "| AU4 | 2 |" in Path(out[2]).read_text(encoding="utf-8")
    assert r"\bottomrule" in Path(out[3]).read_text(encoding="utf-8")
    assert main(["compare", out[0], "--samples", "5", "--report", str(tmp_path / "c.html")]) == 0
    assert "(published)" in capsys.readouterr().out


def test_errors_go_to_stderr_with_code_2(
    tmp_path: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[1]).write_text('{"question_id": "x", "text": "AU1"}\n{"question_id"\n')
    assert run(files) == 2
    error = capsys.readouterr().err
    assert "a.jsonl, line 2" in error and "missing: 'y', 'z'" in error
    assert main(["score", "--task", "au", "--protocol", "fabba", "--annotations", files[0], "--answers", files[1]]) == 2
    assert "did you mean 'faba'" in capsys.readouterr().err
    assert main(["score", "--task", "au", "--protocol", "faba"]) == 2
    assert "--fold-dirs" in capsys.readouterr().err


def test_folds(tmp_path: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        records = json.loads(Path(files[0]).read_text())
        moved = [{**record, "image": f"{name}/{record['image']}"} for record in records]
        (folder / "annotations.json").write_text(json.dumps(moved))
        (folder / "answers.jsonl").write_text(Path(files[1]).read_text())
        folders.append(str(folder))
    arguments = ["score", "--task", "au", "--protocol", "faba", "--fold-dirs", *folders, "--bootstrap", "10"]
    assert main([*arguments, "--json", str(tmp_path / "f.json")]) == 0
    assert "mean of 2 folds" in capsys.readouterr().out
    assert len(faba_bench.load_result(tmp_path / "f.json")["folds"]) == 2
    assert main([*arguments, "--answers", "x.jsonl"]) == 2


def test_a_report_by_a_protocol_of_ones_own(tmp_path: Path, files: tuple[str, str]) -> None:
    own = tmp_path / "mine.json"
    rules = {"vocabulary": [1, 4, 12, 25], "scored": [4, 12]}
    own.write_text(
        json.dumps({"schema_version": 1, "name": "mine", "version": 1, "title": "M", "tasks": {"au": rules}})
    )
    arguments = ["score", "--task", "au", "--protocol", str(own), "--annotations", files[0], "--answers", files[1]]
    assert main([*arguments, "--report", str(tmp_path / "r.html")]) == 0
    assert "protocol mine" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    assert "raf-db" in capsys.readouterr().out
    assert main(["protocols", "--json"]) == 0
    assert {"name": "disfa", "version": 1, "title": "DISFA", "tasks": ["au"], "folds": 3} in json.loads(
        capsys.readouterr().out
    )


def test_scoring_imports_no_heavy_package(files: tuple[str, str]) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import faba_bench; "
        "assert 'numpy' not in sys.modules; "
        "faba_bench.score('au', 'faba', sys.argv[2], sys.argv[3], bootstrap=5); "
        "names = {'torch', 'llava', 'llava_faba', 'matplotlib', 'PIL', 'nltk', 'rouge', 'pandas'}; "
        "heavy = names & set(sys.modules); "
        "assert not heavy, heavy"
    )
    root = str(Path(faba_bench.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, root, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = faba_bench.scores
    assert set(faba_bench.__all__) <= set(dir(faba_bench))


def test_special_characters_in_tables() -> None:
    assert latex_text("a_b & 5% \\") == r"a\_b \& 5\% \textbackslash{}"
    assert markdown_table(["a|b"], [["c"]]).splitlines()[0] == r"| a\|b |"


def test_a_seed_and_resamples_that_cannot_be(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--seed", "-1") == 2 and "seed must be 0 or more" in capsys.readouterr().err
    assert run(files, "--bootstrap", "-1") == 2 and "resamples must be 0 or more" in capsys.readouterr().err


def test_a_closed_pipe_and_a_poor_terminal_do_not_cost_the_result(tmp_path: Path, files: tuple[str, str]) -> None:
    annotations = [{key: record[key] for key in ("label", "id")} for record in json.loads(Path(files[0]).read_text())]
    Path(files[0]).write_text(json.dumps(annotations))  # without texts S_ge is a dash, which ASCII has not
    command = [sys.executable, "-m", "faba_bench", "score", "--task", "au", "--protocol", "gft", "--bootstrap", "0"]
    command += ["--annotations", files[0], "--answers", files[1], "--output", str(tmp_path / "r.json")]
    root = str(Path(faba_bench.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "ascii"}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert faba_bench.load_result(tmp_path / "r.json")["n"] == 3
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=False)
    assert done.returncode == 0 and "?" in done.stdout
