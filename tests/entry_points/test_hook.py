"""The plugin hook: whatever is imported first, EmoLA is registered once, and a plugin's error is not hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import run_python

# Three threads that need EmoLA first at the same time; what one of them raises is raised.
THREADS = """
import threading, llava_faba
raised = []
def start(name):
    try:
        getattr(llava_faba, name)() if name == "register" else getattr(llava_faba, name)
    except BaseException as error:
        raised.append(error)
names = ("register", "load_model", "register")
threads = [threading.Thread(target=start, args=(name,), daemon=True) for name in names]
[thread.start() for thread in threads], [thread.join(200) for thread in threads]
assert not raised and not any(thread.is_alive() for thread in threads), raised
"""
FIRST = [
    "import llava",
    "import llava.train.train",
    "from llava.model.builder import load_pretrained_model",
    "import llava_faba; llava_faba.register()",
    "import llava_faba; llava_faba.load_model",
    "import llava_faba.model.config",
    "import llava_faba.model.projector",
    "import llava_faba.model.emola",
    "import llava_faba.inference.answer",
    "import llava_faba.inference.answering",
    THREADS,
]

# Each statement in a process of its own, forked before llava is imported, so that torch is imported only once.
PROGRAM = """
import json, os, sys, traceback
import accelerate, deepspeed, peft, torch, transformers, transformers.trainer

def state():
    from llava_faba.registration import is_registered, unregister
    import llava
    from llava.model import builder
    from llava_faba.registration.seams import SEAMS
    registered = is_registered()
    unregister()
    return [registered, hasattr(builder.load_pretrained_model, "__llava_faba_seam__")]

for statement in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            exec(statement, {})
            answer = state()
        except BaseException:
            answer = traceback.format_exc()
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        print("STATE", json.dumps([statement, json.loads(file.read())]))
    os.wait()
"""


def test_whatever_comes_first_emola_is_registered_once(patched):
    result = run_python("-c", PROGRAM, json.dumps(FIRST), path=patched)
    assert result.returncode == 0, result.stderr[-3000:]
    states = dict(json.loads(line[6:]) for line in result.stdout.splitlines() if line.startswith("STATE "))
    # Registered, and after one unregister() nothing of it is left: no seam was wrapped twice.
    assert states == {statement: [True, False] for statement in FIRST}


def declare_plugin(folder: Path, value: str) -> None:
    """An installed package, as importlib.metadata sees it, with one entry point of the group."""
    info = folder / "other_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[llava.plugins]\nother = {value}\n")


@pytest.mark.parametrize("failing", [False, True])
def test_other_plugins_are_called_and_their_errors_reach_the_user(patched: Path, tmp_path: Path, failing: bool) -> None:
    declare_plugin(tmp_path, "other_plugin:start")
    body = "raise OSError('no licence')" if failing else "print('other plugin started with', builder.__name__)"
    (tmp_path / "other_plugin.py").write_text(f"def start():\n    from llava.model import builder\n    {body}\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import llava; print('imported')"
    result = run_python("-c", program, path=patched)
    if failing:
        assert result.returncode == 1 and "OSError: no licence" in result.stderr
    else:
        assert "other plugin started with llava.model.builder\nimported" in result.stdout
