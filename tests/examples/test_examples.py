"""The examples run as they stand, and say what their pages say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from tiny import make_emola, make_faces

EXAMPLES = ROOT / "examples"


def run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_scoring_reads_json_prose_and_no_thoughts():
    blocked = "import sys; sys.modules['torch'] = None; import runpy; runpy.run_path(sys.argv[1])"
    printed = run("-c", blocked, EXAMPLES / "score_any_model.py")
    assert "record 1: read [6, 12]" in printed
    assert "record 2: read [4]" in printed, "neither the thought's AU12 nor the denied AU25"
    assert "record 3: read [1]" in printed


def test_reading_faces(tmp_path):
    (name,) = make_faces(tmp_path, 1)
    printed = run(EXAMPLES / "read_faces.py", make_emola(tmp_path / "model"), tmp_path / name)
    assert printed.count(f"{tmp_path / name}: prior found;") == 2


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The third party's package, built and installed into a folder of its own."""
    pytest.importorskip("ai_edge_litert")
    folder = tmp_path_factory.mktemp("third-party")
    source = folder / "source"
    source.mkdir()
    for file in (EXAMPLES / "third_party_expert").iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", folder / "site", source)
    return folder / "site"


def test_an_expert_of_somebody_else_is_found_and_extracts(installed, tmp_path):
    names = make_faces(tmp_path / "faces", 2)
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    words = ["-m", "llava_faba", "priors"]
    store = tmp_path / "store"
    run(*words, "extract", tmp_path / "faces", "--expert", "au-shapes-12", "--out", store, PYTHONPATH=path)
    info = json.loads(run(*words, "info", store, "--json", PYTHONPATH=path))
    assert info["size"] == 12 and info["expert"] == "au-shapes-12"
    one = json.loads(run(*words, "get", store, names[0], "--json", PYTHONPATH=path))
    values = one.get("prior", one.get("feature"))
    assert len(values) == 12 and 0 <= min(values) <= max(values) <= 1
