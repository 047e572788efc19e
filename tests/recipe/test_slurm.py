"""Recipes on SLURM, without SLURM: stand-ins of its four commands that submitit calls, and everything else real."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.executors import create
from llava_faba.recipe.running import run

CHAIN = """
  a: {kind: write, text: A}
  b: {kind: write, text: B, sources: ["${steps.a}/made"]}
"""
COMMANDS = {
    # A queue of one node: a job starts at once, in a process group of its own.
    "sbatch": """
import os, pathlib, subprocess, sys
jobs = pathlib.Path(os.environ["FAKE_SLURM"]); number = 100 + len(list(jobs.glob("*.sh")))
script = jobs / f"{number}.sh"; script.write_text(pathlib.Path(sys.argv[-1]).read_text())
environment = {**os.environ, "SLURM_JOB_ID": str(number), "SLURM_JOB_NODELIST": "node1", "SLURM_NTASKS": "1",
               "SLURM_JOB_NUM_NODES": "1", "SLURM_NNODES": "1"}
child = subprocess.Popen(["bash", str(script)], env=environment, start_new_session=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
(jobs / f"{number}.pid").write_text(str(child.pid))
print(f"Submitted batch job {number}")
""",
    "srun": """
import os, subprocess, sys
words = sys.argv[1:]
out = subprocess.DEVNULL
while words[0].startswith("--"):
    option = words.pop(0)
    if option in ("--output", "--error"):
        name = words.pop(0).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
        out = open(name, "ab") if option == "--output" else out
environment = {**os.environ, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
sys.exit(subprocess.run(words, env=environment, stdout=out, stderr=out).returncode)
""",
    "sacct": """
import os, pathlib, sys
jobs = pathlib.Path(os.environ["FAKE_SLURM"])
print("JobID|State|NodeList")
for file in jobs.glob("*.pid"):
    running = pathlib.Path("/proc", file.read_text()).exists()
    print(f"{file.stem}|{'RUNNING' if running else 'COMPLETED'}|node1")
""",
    "scancel": """
import os, pathlib, signal, sys
number = next(word for word in sys.argv[1:] if word[0].isdigit())
pid = int((pathlib.Path(os.environ["FAKE_SLURM"]) / f"{number}.pid").read_text())
os.killpg(pid, signal.SIGTERM)
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jobs that were handed over, ``NUMBER.sh`` each."""
    programs, jobs = tmp_path / "slurm", tmp_path / "jobs"
    programs.mkdir()
    jobs.mkdir()
    for name, text in COMMANDS.items():
        (programs / name).write_text(f"#!{sys.executable}\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    return jobs


def handed_over(bench, *changes: str) -> None:
    options = {"slurm_partition": "gpu", "gpus_per_node": 8, "timeout_min": 600}
    run(bench.graph(*changes), create("slurm", bench.root / ".recipe" / "submitit", options))


def test_each_step_is_a_job_with_what_was_asked_for_and_done_once(bench, slurm):
    bench.write(CHAIN)
    handed_over(bench)
    assert bench.made("b") == "BA"
    scripts = [path.read_text() for path in sorted(slurm.glob("*.sh"))]
    assert len(scripts) == 2
    for script in scripts:
        assert re.search(r"^#SBATCH --partition=gpu$", script, re.M)
        assert re.search(r"^#SBATCH --gpus-per-node=8$", script, re.M)
        assert re.search(r"^#SBATCH --time=600$", script, re.M)
    handed_over(bench)
    assert len(list(slurm.glob("*.sh"))) == 2
    assert [bench.times(step) for step in "ab"] == [1, 1]


def test_a_job_that_fails_names_its_log(bench, slurm):
    bench.write(CHAIN)
    with pytest.raises(RecipeError, match=r"(?s)step b failed with exit code 3; the end of .*b.log:.*on fire"):
        handed_over(bench, "b.program=print('on fire'); raise SystemExit(3)")
    result = json.loads((bench.root / ".recipe" / "jobs" / "b.result.json").read_text())
    assert result["code"] == 3


def test_without_slurm_it_is_a_sentence(bench, monkeypatch):
    bench.write(CHAIN)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RecipeError, match="submitit does not take this"):
        handed_over(bench)
