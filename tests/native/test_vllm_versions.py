"""An EmoLA folder in a vLLM that the plugin is not written for. Its version alone is asked: none is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("vLLM's releases need transformers 5", allow_module_level=True)

PROGRAM = """
import sys
from llava_faba.vllm_plugin import register
register()
register()
from transformers import AutoConfig
print(AutoConfig.from_pretrained(sys.argv[1]).model_type)
try:
    AutoConfig.from_pretrained(sys.argv[2])
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("version", ["0.31.2", "0.34.0"])
def test_another_release_is_refused_for_emola_alone(tmp_path: Path, version: str) -> None:
    (tmp_path / "vllm.py").write_text(f"__version__ = {version!r}\n")
    folders = []
    for kind in ("llama", "emola"):
        folders.append(tmp_path / kind)
        folders[-1].mkdir()
        (folders[-1] / "config.json").write_text(json.dumps({"model_type": kind}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, refused = done.stdout.splitlines()
    assert loaded == "llama"
    assert (
        refused.startswith(f"EmoLA needs vLLM >=0.32,<0.34, this is {version}. ") and "--engine transformers" in refused
    )
