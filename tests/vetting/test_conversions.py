"""``merge`` and ``checkpoint``: whole folders or nothing, and nothing of a stranger's that no table lists."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import ADAPTER, edit_json

import llava_faba
from llava_faba.cli.main import main

COMMANDS = {
    "merge": ["merge", "--model-path", ADAPTER, "--save-model-path", "out"],
    "import": ["checkpoint", "import", "--model-path", ADAPTER, "--out", "out"],
    "export": ["checkpoint", "export", "--model-path", ADAPTER, "--out", "out"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_the_folder_that_no_table_lists_is_copied(copied, monkeypatch, capsys, name):
    monkeypatch.chdir(copied)
    folder = copied / ADAPTER
    for file in ("modeling.py", "tokenizer.pkl", "x.jinja", "notes.txt", "trainer_state.json", "sub"):
        (folder / file).write_text("{}") if file != "sub" else (folder / file).mkdir()
    (folder / "README.md").write_text("# read me")
    edit_json(folder / "config.json", auto_map={"AutoConfig": "modeling.X"}, unknown=1)
    assert main(COMMANDS[name]) == 0
    out = {path.name for path in Path("out").rglob("*")}
    assert not out & {"modeling.py", "tokenizer.pkl", "x.jinja", "trainer_state.json", "notes.txt", "sub"}
    assert ("README.md" in out) == (name != "merge")
    text = Path("out", "config.json").read_text()
    assert "auto_map" not in text and "unknown" not in text and "llava-faba-" not in text
    assert llava_faba.load_model("out", None if name == "merge" else "base")[1] is not None


@pytest.mark.parametrize("name", ["README.md", "config.json", "adapter_model.bin"])
def test_links_that_lead_out_are_not_copied(copied, monkeypatch, capsys, name):
    monkeypatch.chdir(copied)
    secret = copied / "secret"
    if (copied / ADAPTER / name).exists():
        shutil.move(copied / ADAPTER / name, secret)
    else:
        secret.write_text("my key")
    (copied / ADAPTER / name).symlink_to(secret)
    assert main(COMMANDS["import"]) == 2 and "leads out of" in capsys.readouterr().err
    assert not Path("out").exists() and not list(copied.glob(".out*"))


def test_a_weight_map_never_writes_outside(copied, monkeypatch, capsys):
    """An index with ``..`` made ``checkpoint import`` overwrite a file outside ``--out``."""
    monkeypatch.chdir(copied)
    assert main(["merge", "--model-path", ADAPTER, "--save-model-path", "whole", "--dtype", "float32"]) == 0
    whole = copied / "whole"
    state = (
        torch.load(whole / "pytorch_model.bin", weights_only=True) if (whole / "pytorch_model.bin").exists() else None
    )
    if state is None:
        from safetensors.torch import load_file

        state = load_file(whole / "model.safetensors")
    for path in (*whole.glob("*.safetensors"), *whole.glob("*.bin")):
        path.unlink()
    (copied / "victim").mkdir()
    save_file({name: value.contiguous() for name, value in state.items()}, copied / "victim" / "v.safetensors")
    before = (copied / "victim" / "v.safetensors").read_bytes()
    for place in ("../victim/v.safetensors", str(copied / "victim" / "v.safetensors"), "a/../../victim/v.safetensors"):
        index = whole / "model.safetensors.index.json"
        index.write_text("{}")
        edit_json(index, weight_map=dict.fromkeys(state, place))
        for command in ("import", "export"):
            code = main(["checkpoint", command, "--model-path", "whole", "--out", "out"])
            assert (code == 2 and "lead" in (error := capsys.readouterr().err)) or "absolute" in error
            assert not Path("out").exists()
    assert (copied / "victim" / "v.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_it_leaves_nothing_and_runs_again(copied, name, number):
    """Killed as soon as a draft is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llava_faba", *COMMANDS[name]],
        cwd=copied,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while process.poll() is None and not list(copied.glob(".out*")) and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(number)
    process.wait(timeout=60)
    until = time.monotonic() + 10
    while list(copied.glob(".out*")) and time.monotonic() < until:
        time.sleep(0.05)
    assert not list(copied.glob(".out*"))
    shutil.rmtree(copied / "out", ignore_errors=True)  # it was quicker than the signal
    result = subprocess.run(
        [sys.executable, "-m", "llava_faba", *COMMANDS[name]], cwd=copied, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0 and (copied / "out" / "config.json").is_file(), result.stderr[-2000:]
