# ruff: noqa: E402 - what is imported late needs transformers 5
"""There and back, precisions, and what is refused: on tiny checkpoints of LLaVA's home made without LLaVA."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)

from native.folders import convert, load, make_source
from safetensors.torch import load_file, save_file
from support import ADAPTER

from llava_faba.cli.main import main
from llava_faba.conversion.source import open_source

SMALL = {"image": 56, "patch": 14}  # of the tower: nothing here looks for faces


def refused(capsys: Any, *command: str) -> str:
    assert main(list(command)) == 2
    return str(capsys.readouterr().err)


def tensors(folder: Path) -> dict[str, Any]:
    source = open_source(folder)
    return {name: source.read(name) for name in source.tensors}


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype and torch.equal(value, other[name]), name


@pytest.mark.parametrize("kind", ["mlp2x_gelu", "linear", "mlp3x_gelu"])
def test_there_and_back_every_tensor_is_the_same_to_the_bit(golden: Path, tmp_path: Path, kind: str) -> None:
    source = make_source(tmp_path, golden, **SMALL, facial_prior_projector_type=kind)
    native = convert(source, tmp_path / "hf")
    command = ["checkpoint", "from-transformers", "--model-path", str(native), "--out", str(tmp_path / "back")]
    assert main(command) == 0
    assert_equal(tensors(source), tensors(tmp_path / "back"))
    assert (tmp_path / "back" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    again = convert(tmp_path / "back", tmp_path / "hf2")
    assert_equal(load_file(native / "model.safetensors"), load_file(again / "model.safetensors"))
    config, before = (json.loads((one / "config.json").read_text()) for one in (again, native))
    for said in (config, before):
        del said["llava_config"]
    assert config == before


def test_a_lora_comes_back_merged(golden: Path, tmp_path: Path) -> None:
    native = convert(golden / ADAPTER, tmp_path / "hf")
    back = tmp_path / "back"
    assert main(["checkpoint", "from-transformers", "--model-path", str(native), "--out", str(back)]) == 0
    assert_equal(tensors(golden / ADAPTER), tensors(back))


def test_what_transformers_saved_comes_back_with_a_tokenizer(golden: Path, tmp_path: Path, capsys: Any) -> None:
    source = make_source(tmp_path, golden, **SMALL)
    model, processor = load(convert(source, tmp_path / "hf"))
    with torch.no_grad():
        model.model.prior_projector.linear_1.bias += 1  # it was trained there
    model.save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    command = ["checkpoint", "from-transformers", "--model-path", str(tmp_path / "trained")]
    assert "--tokenizer" in refused(capsys, *command, "--out", str(tmp_path / "back"))
    assert main([*command, "--out", str(tmp_path / "back"), "--tokenizer", str(tmp_path / "hf" / "llava")]) == 0
    before, after = tensors(source), tensors(tmp_path / "back")
    name = "model.landmark_feature_projector.0.bias"
    assert torch.equal(after.pop(name), before.pop(name) + 1)
    assert_equal(before, after)


@pytest.mark.parametrize("kind", ["merged", "lora"])
def test_other_precisions(golden: Path, tmp_path: Path, capsys: Any, kind: str) -> None:
    """bfloat16 sources stay as they are; --dtype rounds once, after LoRA was added in float32, and says how much."""
    source = golden / ADAPTER if kind == "lora" else make_source(tmp_path, golden, **SMALL)
    native = convert(source, tmp_path / "hf", "--dtype", "bfloat16")
    assert "rounding" in capsys.readouterr().out
    expected = {name: value.bfloat16() for name, value in tensors(source).items()}
    written = load_file(native / "model.safetensors")
    name = "layers.1.self_attn.q_proj.weight"
    assert torch.equal(written[f"model.language_model.{name}"], expected[f"model.{name}"])
    assert {value.dtype for value in written.values()} == {torch.bfloat16}
    assert load(native, dtype="auto")[0].dtype == torch.bfloat16
    model, _ = load(native)
    assert json.loads((native / "config.json").read_text())["dtype"] == "bfloat16" and model is not None


def test_a_bfloat16_source(golden: Path, tmp_path: Path, capsys: Any) -> None:
    source = make_source(tmp_path, golden, **SMALL, dtype=torch.bfloat16)
    native = convert(source, tmp_path / "hf")
    assert "rounding" not in capsys.readouterr().out
    assert {value.dtype for value in load_file(native / "model.safetensors").values()} == {torch.bfloat16}
    assert main(["checkpoint", "from-transformers", "--model-path", str(native), "--out", str(tmp_path / "b")]) == 0
    assert_equal(tensors(source), tensors(tmp_path / "b"))


def test_rows_that_no_token_stands_for_are_never_an_answer(golden: Path, tmp_path: Path) -> None:
    """Embeddings padded to a multiple of 64: LLaVA's loader cuts such rows, so none of them may win here."""
    source = make_source(tmp_path, golden, **SMALL, vocab_size=384)
    weights = load_file(source / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat((weights[name], torch.full((4, 64), 100.0)))
    save_file(weights, source / "model.safetensors")
    model, processor = load(convert(source, tmp_path / "hf"))
    ids = processor(text="USER: Hello. ASSISTANT:", return_tensors="pt")
    logits = model(**ids).logits
    assert logits.shape[-1] == 384 and (logits[..., 380:] == torch.finfo(torch.float32).min).all()
    assert int(model.generate(**ids, max_new_tokens=5, do_sample=False).max()) < 380
    assert (
        main(["checkpoint", "from-transformers", "--model-path", str(tmp_path / "hf"), "--out", f"{tmp_path}/b"]) == 0
    )
    assert_equal(tensors(source), tensors(tmp_path / "b"))
    model.resize_token_embeddings(390)  # somebody adds tokens of their own
    assert (model(**ids).logits[..., 381:] != torch.finfo(torch.float32).min).any()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ({"mm_projector_type": "mlp3x_gelu"}, "mm_projector_type is 'mlp3x_gelu'"),
        ({"mm_projector_type": "linear", "facial_prior_projector_type": "mlp2x_gelu"}, "mm_projector_type is 'linear'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"conversation_template": "mpt"}, "mpt"),
        ({"image_aspect_ratio": "anyres"}, "image_grid_pinpoints"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(
    golden: Path, tmp_path: Path, capsys: Any, config: dict[str, Any], named: str
) -> None:
    source = make_source(tmp_path, golden, **SMALL, **config)
    said = refused(capsys, "checkpoint", "to-transformers", "--model-path", str(source), "--out", str(tmp_path / "hf"))
    assert named in said and not (tmp_path / "hf").exists()


def test_nobody_learns_where_it_was_trained(golden: Path, tmp_path: Path) -> None:
    native = convert(make_source(tmp_path, golden, **SMALL), tmp_path / "hf")
    for path in native.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
    card = (native / "README.md").read_text()
    assert str(tmp_path) not in card and "license: other" in card and "dlib" in card


def test_a_hub_id_is_taken_from_the_cache(golden: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import huggingface_hub.constants

    cache = tmp_path / "cache"
    source = make_source(tmp_path, golden, **SMALL)
    snapshot = cache / "models--me--emola" / "snapshots" / "abc"
    shutil.copytree(source, snapshot)
    (cache / "models--me--emola" / "refs").mkdir()
    (cache / "models--me--emola" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    convert(Path("me/emola"), tmp_path / "hf")
    assert_equal(load_file(convert(source, tmp_path / "hf2") / "model.safetensors"), load_file("hf/model.safetensors"))
