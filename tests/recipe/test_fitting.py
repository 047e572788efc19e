"""``llava-faba doctor --plan RECIPE``: the plan's numbers beside what this machine has."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from llava_faba.cli.main import main
from llava_faba.recipe import fitting

RECIPE = """recipe: 1
inputs: {base: {kind: model, default: liuhaotian/llava-v1.5-7b}}
steps:
  train: {kind: train, records: RECORDS, image_folder: FOLDER, model: "${inputs.base}", flags: {lora_enable: true}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"x")
    (tmp_path / "records.json").write_text("[]")
    file = tmp_path / "some.yaml"
    text = RECIPE.replace("RECORDS", str(tmp_path / "records.json")).replace("FOLDER", str(tmp_path / "images"))
    file.write_text(text)
    return file


def asked(recipe: Path, capsys, *more: str) -> tuple[int, dict[str, dict]]:
    code = main(["doctor", "--plan", str(recipe), "--root", str(recipe.parent / "root"), "--json", *more])
    return code, {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_machine_without_the_memory_or_the_disk_is_an_error(recipe, capsys, monkeypatch):
    monkeypatch.setattr(fitting, "_memory_here", lambda: 64 * 10**9)
    code, found = asked(recipe, capsys)
    assert code == 0 and {row["level"] for row in found.values()} == {"ok"}
    assert found["memory"]["details"]["needed"] == pytest.approx(2 * 7_062_902_784)
    monkeypatch.setattr(fitting, "_memory_here", lambda: 8 * 10**9)
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    code, found = asked(recipe, capsys)
    assert code == 1 and found["memory"]["level"] == found["disk"]["level"] == "error"
    assert "train needs 14.1 GB" in found["memory"]["text"] and "this machine has 8.0 GB" in found["memory"]["text"]


def test_missing_inputs_and_unknown_needs_are_said(recipe, capsys):
    recipe.write_text(recipe.read_text().replace("default: liuhaotian/llava-v1.5-7b", "help: the base"))
    code, found = asked(recipe, capsys)
    assert code == 1 and "inputs.base is not given" in found["inputs"]["text"]
    assert found["not told"]["details"]["steps"] == ["train"]


def test_options_of_a_plan_without_one_are_refused(capsys):
    assert main(["doctor", "--set", "inputs.base=x"]) == 2
    assert "--plan" in capsys.readouterr().err
