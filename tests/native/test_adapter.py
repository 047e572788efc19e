# ruff: noqa: E402 - what is imported late needs transformers 5
"""``to-transformers --adapter``: the golden LoRA as a PEFT adapter on its converted base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("peft")

from native.folders import load, make_source, prompt_of
from PIL import Image
from support import ADAPTER

from llava_faba.cli.main import main


def to_adapter(source: Path, out: Path, base: Path) -> int:
    return main(
        ["checkpoint", "to-transformers", "--model-path", str(source), "--out", str(out), "--adapter", str(base)]
    )


@pytest.fixture(scope="module")
def folders(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(adapter, base)"""
    where = tmp_path_factory.mktemp("adapter")
    assert to_adapter(golden / ADAPTER, where / "adapter", where / "base") == 0
    return where / "adapter", where / "base"


def asked(golden: Path, processor: Any) -> Any:
    image, prior = Image.open(golden / "data/img/0.png").convert("RGB"), np.load(golden / "data/lm/0.npy")
    return processor(images=image, text=prompt_of(processor), facial_priors=prior, return_tensors="pt")


def test_base_and_adapter_give_the_golden_logits(folders: tuple[Path, Path], golden: Path) -> None:
    from peft import PeftModel

    adapter, base = folders
    expected = np.load(golden / "expected.npz")["logits_0"]
    model, processor = load(base)
    inputs = asked(golden, processor)
    with torch.no_grad():
        bare = model(**inputs).logits[0].numpy()
        assert np.abs(bare[:, : expected.shape[1]] - expected).max() > 1e-3
        tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
        found = tuned(**inputs).logits[0].numpy()
        merged = tuned.merge_and_unload()(**inputs).logits[0].numpy()
    assert np.abs(found[:, : expected.shape[1]] - expected).max() < 1e-5
    assert np.abs(merged[:, : expected.shape[1]] - expected).max() < 1e-5


def test_the_auto_classes_take_the_adapters_folder(folders: tuple[Path, Path], golden: Path) -> None:
    from peft import AutoPeftModel, PeftConfig  # noqa: F401 - the base is found by the adapter's config

    adapter, base = folders
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    processor = transformers.AutoProcessor.from_pretrained(adapter)
    model = transformers.AutoModelForImageTextToText.from_pretrained(adapter).eval()
    expected = np.load(golden / "expected.npz")["logits_0"]
    with torch.no_grad():
        found = model(**asked(golden, processor)).logits[0].numpy()
    assert np.abs(found[:, : expected.shape[1]] - expected).max() < 1e-5


def test_a_base_is_shared_and_another_one_refused(folders: tuple[Path, Path], golden: Path, tmp_path: Path) -> None:
    base = folders[1]
    before = (base / "model.safetensors").read_bytes()
    assert to_adapter(golden / ADAPTER, tmp_path / "second", base) == 0
    assert (base / "model.safetensors").read_bytes() == before
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(base, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["model.language_model.layers.1.mlp.up_proj.weight"][3, 3] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert to_adapter(golden / ADAPTER, tmp_path / "third", other) == 2
    assert not (tmp_path / "third").exists()


def test_without_lora_there_is_no_adapter(golden: Path, tmp_path: Path, capsys: Any) -> None:
    source = make_source(tmp_path, golden, image=56, patch=14)
    assert to_adapter(source, tmp_path / "adapter", tmp_path / "base") == 2
    assert "no LoRA" in capsys.readouterr().err and not (tmp_path / "base").exists()
