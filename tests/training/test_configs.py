"""DeepSpeed configs by their bare names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_faba.errors import UserError
from llava_faba.training.configs import with_installed_config


@pytest.mark.parametrize("form", ["two words", "one word"])
def test_a_bare_name_is_the_installed_config(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    flag = ["--deepspeed", "zero2_cpu.json"] if form == "two words" else ["--deepspeed=zero2_cpu.json"]
    found = with_installed_config(["train", *flag, "--bf16", "True"])
    path = Path(found[2] if form == "two words" else found[1].partition("=")[2])
    assert json.loads(path.read_text())["zero_optimization"]["stage"] == 2
    assert found[0] == "train" and found[-2:] == ["--bf16", "True"]


def test_a_file_that_is_there_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zero2_cpu.json").write_text("{}")
    assert with_installed_config(["--deepspeed", "zero2_cpu.json"]) == ["--deepspeed", "zero2_cpu.json"]


def test_a_config_that_is_nowhere_names_those_that_are(tmp_path):
    with pytest.raises(UserError, match=r"--deepspeed zero4\.json: no such file.*zero2\.json"):
        with_installed_config(["--deepspeed", "zero4.json"])


def test_other_arguments_stay():
    assert with_installed_config(["a", "--deepspeed", '{"x": 1}', "--deepspeed"]) == [
        "a",
        "--deepspeed",
        '{"x": 1}',
        "--deepspeed",
    ]
