# ruff: noqa: E402 - what is imported late needs transformers 5
"""Folders of somebody else for the native home: nothing runs, nothing is drawn at random, sizes have limits."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)

from faba_bench.files import FileProblem
from support import ADAPTER

import llava_faba
from llava_faba.cli.main import main
from llava_faba.conversion.to_transformers import ORIGINALS
from llava_faba.errors import CheckpointError, UserError

NUMBERS = [0.0] * 212


@pytest.fixture(scope="module")
def converted(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("native") / "hf"
    assert main(["checkpoint", "to-transformers", "--model-path", str(golden / ADAPTER), "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "theirs"))


def load(folder: Path) -> Any:
    import llava_faba.native  # noqa: F401

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    return model, transformers.AutoProcessor.from_pretrained(folder)


def edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text())
    for key, value in values.items():
        *parents, last = key.split("__")
        inner = content
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("processor_config.json", {"image_processor__image_mean": [0.5, 0.5, 0.5]}),
        ("processor_config.json", {"image_processor__image_std": [0.26, 0.26, 0.27]}),
        ("config.json", {"image_mean": [0.0, 0.0, 0.0]}),
    ],
)
def test_colours_that_the_model_does_not_know_are_refused(file, values, folder):
    """The answers would be about other pictures, without a word."""
    load(folder)
    edit(folder / file, **values)
    with pytest.raises(CheckpointError, match=r"processor_config\.json: image_(mean|std) is .*config\.json says"):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"landmark_feature_hidden_size": 10**11},
        {"landmark_feature_hidden_size": "212"},
        {"landmark_feature_hidden_size": True},
        {"facial_prior_projector_type": "mlp99x_gelu"},
        {"facial_prior_projector_type": None},
        {"facial_prior_normalization": "x"},
        {"facial_prior_statistics": {"mean": NUMBERS, "scale": NUMBERS}, "facial_prior_normalization": "standardize"},
        {"facial_prior_statistics": {"mean": [float("nan")] * 212, "scale": [1.0] * 212}},
        {"facial_prior_statistics": {"mean": NUMBERS, "scale": [1.0] * 212}},  # and no normalization
        {"facial_prior_expert_settings": {"weights": [[["x"]]]}},
        {"image_grid_pinpoints": [[10**6, 10**6]]},
        {"image_grid_pinpoints": "__import__('os')"},
    ],
    ids=str,
)
def test_a_config_that_cannot_be_is_refused(values, folder):
    edit(folder / "config.json", **values)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"image_processor__image_std": [0.0, 0.0, 0.0]},
        {"image_processor__image_mean": [0.0, float("inf"), 0.0]},
        {"image_processor__size": {"shortest_edge": 10**6}},
        {"image_processor__crop_size": {"height": 10**6, "width": 10**6}},
        {"image_processor__image_grid_pinpoints": [[10**6, 10**6]]},
    ],
    ids=str,
)
def test_pictures_that_cannot_be_are_refused(values, folder):
    edit(folder / "processor_config.json", **values)
    with pytest.raises(CheckpointError, match=r"processor_config\.json"):
        load(folder)


def without(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {name: value for name, value in tensors.items() if part not in name}


def renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("prior_projector", "priorprojector"): value for name, value in tensors.items()}


def with_nan(tensors: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name in tensors if "prior_projector" in name)
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    return tensors


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("prior_projector"), "missing"),
        (without("layers.1.self_attn.q_proj"), "missing"),
        (renamed, "no part of this model"),
        (with_nan, "NaN"),
    ],
)
def test_weights_that_are_not_whole_are_refused(change, told, folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=told):
        load(folder)


def test_fewer_layers_than_there_are_weights_are_refused(folder):
    edit(folder / "config.json", text_config__num_hidden_layers=1)
    with pytest.raises(CheckpointError, match="no part of this model"):
        load(folder)


def test_python_beside_the_model_is_not_run(folder, monkeypatch):
    mark = folder.parent / "ran"
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass X:\n    pass\n")
    named = {"AutoConfig": "evil.X", "AutoModelForImageTextToText": "evil.X", "AutoProcessor": "evil.X"}
    kernel = {"attn_implementation": "someone/kernel", "_attn_implementation": "someone/kernel"}
    edit(folder / "config.json", auto_map=named, text_config__attn_implementation="someone/kernel", **kernel)
    edit(folder / "processor_config.json", auto_map=named)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.X", "evil.X"]})
    monkeypatch.syspath_prepend(str(folder))
    model, processor = load(folder)
    assert type(model).__module__.startswith("llava_faba.native") and "someone" not in model.config._attn_implementation
    assert type(processor).__module__.startswith("llava_faba.native") and not mark.exists()


def test_a_chat_template_cannot_reach_python(folder):
    (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    _, processor = load(folder)
    with pytest.raises(Exception, match="unsafe"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "?"}]}])


def by_commands(folder: Path) -> None:
    """What predict, bench, analyze and app call."""
    llava_faba.load_model(folder)


def relinked(folder: Path, name: str, target: object) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(str(target))


@pytest.mark.parametrize("way", [load, by_commands])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("target", ["outside", "/dev/zero", "pipe", "nothing"])
def test_files_that_lead_elsewhere_are_refused(way, name, target, folder, converted):
    """transformers follows links wherever they lead, and passes over what is no file."""
    if target == "pipe":
        (folder / name).unlink()
        os.mkfifo(folder / name)
    else:
        relinked(folder, name, converted / name if target == "outside" else target)
    if way is load and name == "config.json" and target != "outside":
        pytest.skip("transformers finds no config, and says so")
    with pytest.raises((CheckpointError, UserError), match=re.escape(name)):
        way(folder)


@pytest.mark.parametrize("where", ["../hf/model.safetensors", "/etc/passwd", "sub/../../hf/model.safetensors", 7, ""])
@pytest.mark.parametrize("alone", [True, False])
def test_an_index_names_shards_of_its_folder(where, alone, folder):
    from safetensors.torch import load_file

    names = load_file(folder / "model.safetensors")
    if alone:
        (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, where)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"peft_type": "LORA", "base_model_name_or_path": "../hf", "r": 4, "target_modules": ["q_proj"]},
        {"peft_type": "PROMPT_TUNING", "tokenizer_kwargs": {"trust_remote_code": True}, "num_virtual_tokens": 2},
        {"peft_type": "LORA", "megatron_config": {"a": 1}, "megatron_core": "evil"},
    ],
    ids=lambda values: "-".join(values),
)
def test_an_adapter_beside_a_model_is_not_followed(values, folder):
    """transformers loads the model that it names instead, and gives PEFT the whole file."""
    (folder / "adapter_config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json beside a whole model"):
        by_commands(folder)
    models = pytest.importorskip("llava_faba.native_training.models")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json beside a whole model"):
        models.load(str(folder), "float32")  # train


@pytest.mark.parametrize("content", ["[1, null, []]", "1e999", '{"a":' + "[" * 90_000 + "]" * 90_000 + "}", "\xe9", ""])
@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json"],
)
def test_json_of_another_form_is_a_sentence(name, content, folder):
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises((CheckpointError, FileProblem), match=re.escape(name)):
        by_commands(folder)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ messages[0]['content'] }}",
        "",
    ],
)
def test_a_template_is_one_that_the_converter_writes(template, folder):
    by_commands(folder)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(CheckpointError, match="chat template is none"):
        by_commands(folder)


def test_another_system_text_is_fine(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("'A chat", r"'It\'s a chat", 1))
    by_commands(folder)


@pytest.mark.parametrize("name", ["generation_config.json", "model.safetensors", "originals/tokenizer.model"])
def test_the_way_back_copies_no_file_from_elsewhere(name, folder, converted, capsys):
    name = name.replace("originals", ORIGINALS)
    secret = folder.parent / "secret"
    shutil.copyfile(converted / name, secret)
    relinked(folder, name, secret)
    out = folder.parent / "back"
    assert main(["checkpoint", "from-transformers", "--model-path", str(folder), "--out", str(out)]) == 2
    assert Path(name).name in capsys.readouterr().err and not out.exists()
