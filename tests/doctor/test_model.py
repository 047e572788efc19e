"""``llava-faba doctor --model-path``: the checkpoint's files, its expert, and memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import ADAPTER, edit_config

from llava_faba.cli.main import main
from llava_faba.doctor import model as checks
from llava_faba.doctor.finding import Finding


def look(folder: Path, base: Path | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in checks.model(str(folder), None if base is None else str(base))}


def test_a_model_that_can_be_asked(face_model):
    import llava_faba

    found = look(face_model)
    assert [finding.level for finding in found.values()] == ["ok", "ok", "ok"]
    parameters = llava_faba.load_model(face_model)[1].parameters()
    count = sum(parameter.numel() for parameter in parameters)
    # The tower's last layer is loaded but not used by LLaVA; position ids may or may not be saved.
    assert found["model"].details["parameters"] == pytest.approx(count, rel=0.02)
    assert found["memory"].details["needed"]["float32"] == 4 * found["model"].details["parameters"]
    assert "'dlib-68' is there" in found["model's expert"].text


def test_a_lora_folder_counts_its_base(golden):
    found = look(golden / ADAPTER)
    assert "EmoLA, LoRA weights" in found["model"].text
    base = look(golden / "base")
    assert base["model"].text.startswith("LLaVA: ") and "model's expert" not in base
    assert found["model"].details["parameters"] > base["model"].details["parameters"] > 10_000


def test_an_expert_without_weights_is_an_error_for_the_model_that_needs_it(golden, monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = look(golden / ADAPTER)["model's expert"]
    assert found.level == "error" and "emola-106" in found.text and "LLAVA_FABA_2D106DET" in (found.remedy or "")


def test_precomputed_priors_are_a_note(copied):
    edit_config(copied / ADAPTER, facial_prior_expert="precomputed")
    assert look(copied / ADAPTER)["model's expert"].level == "note"


def damage_projector(folder: Path) -> None:
    for name in ("landmark_feature_projector.bin", "non_lora_trainables.bin"):
        (folder / ADAPTER / name).unlink()


def damage_base(folder: Path) -> None:
    (folder / "base" / "pytorch_model.bin").write_bytes(b"not a model")


def damage_tower(folder: Path) -> None:
    edit_config(folder / ADAPTER, mm_vision_tower="/no/such/tower")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_projector, "no facial prior projector"),
        (damage_base, "base/pytorch_model.bin"),
        (damage_tower, "the vision tower '/no/such/tower'"),
    ],
    ids=["projector", "base", "tower"],
)
def test_a_damaged_checkpoint_is_an_error_that_names_the_file(copied, damage, told):
    damage(copied)
    found = look(copied / ADAPTER)["model"]
    assert found.level == "error" and told in found.text


def test_a_folder_that_is_not_there_downloads_nothing(tmp_path):
    assert "no such folder" in look(tmp_path / "nowhere")["model"].text
    assert "not in the hub's local cache" in look(Path("somebody/llava-v1"))["model"].text


@pytest.mark.parametrize(("free", "level"), [(3, "note"), (5, "ok"), (1, "error")])
def test_weights_are_held_against_the_memory(tmp_path, monkeypatch, free, level):
    """A real file of 4 GiB in float32, all of it a hole."""
    write_hollow_model(tmp_path, 1 << 30)
    monkeypatch.setattr(checks, "available_memory", lambda: free << 30)
    found = look(tmp_path)["memory"]
    assert found.level == level
    assert found.text == f"2.0 GiB in float16, 4.0 GiB in float32 for the weights; free: {free}.0 GiB RAM"


def test_a_model_too_large_for_its_container_fails_the_command(tmp_path, capsys, monkeypatch):
    write_hollow_model(tmp_path, 1 << 30)
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    (tmp_path / "memory.current").write_text("0\n")
    monkeypatch.setattr(checks, "_CGROUPS", tmp_path)
    assert main(["doctor", "--json", "--model-path", str(tmp_path)]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["memory"]["level"] == "error" and "smaller model" in found["memory"]["remedy"]


def write_hollow_model(folder: Path, count: int) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [count // 1024, 1024], "data_offsets": [0, 4 * count]}}
    ).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)


@pytest.mark.parametrize("layout", [("memory.max", "memory.current"), None])
def test_a_containers_limit_counts(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(checks, "_CGROUPS", tmp_path)
    machine = checks.available_memory()
    assert machine > 1 << 20
    limit, usage = layout or ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    (tmp_path / "memory").mkdir()
    (tmp_path / usage).write_text("1048576\n")
    (tmp_path / limit).write_text("3145728\n")
    assert checks.available_memory() == 2 << 20
    (tmp_path / limit).write_text("max\n")
    assert checks.available_memory() > 2 << 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpus_count(face_model: Any) -> None:
    assert "GPU 0" in look(face_model)["memory"].details["free"]
