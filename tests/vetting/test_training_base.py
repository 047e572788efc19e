"""Training's way in: the base model, its tokenizer, the vision tower, and projectors to start from."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import edit_json, write_malicious_pickle

import llava_faba
from llava_faba.training.main import main

CODE = {"AutoTokenizer": ["tokenization_evil.Thing", None], "AutoConfig": "configuration_evil.Thing"}
Train = Callable[..., tuple[int, str]]


@pytest.fixture
def train(copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Train]:
    """Run LLaVA's ``train()`` in this process; returns the exit code and what the user reads."""
    from llava import conversation

    monkeypatch.setattr(conversation, "default_conversation", conversation.default_conversation)
    monkeypatch.chdir(copied)

    def run(base: str = "base", *flags: str) -> tuple[int, str]:
        command = shlex.split(
            f"train_emola.py --model_name_or_path {base} --version v1 --data_path data/train.json --image_folder data "
            "--output_dir out --vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
            "--mm_use_im_patch_token False --image_aspect_ratio pad --lora_enable True --lora_r 8 --report_to none "
            "--max_steps 1 --facial_prior_expert precomputed"
        )
        monkeypatch.setattr(sys, "argv", [*command, *flags])
        code = main()
        return code, capsys.readouterr().err

    yield run
    llava_faba.unregister()


def test_what_names_code_is_left_out_and_training_runs(copied, mark, train):
    """A path with "mpt" in it, for which LLaVA trusts remote code; every file of base and tower names some."""
    shutil.move(copied / "base", copied / "prompted")
    edit_json(copied / "prompted" / "config.json", auto_map={**CODE, "AutoModelForCausalLM": "modeling_evil.Thing"})
    edit_json(copied / "prompted" / "tokenizer_config.json", auto_map=CODE, chat_template="{{ 1 }}")
    edit_json(copied / "clip-tiny" / "config.json", auto_map={"AutoModel": "modeling_evil.Thing"})
    edit_json(copied / "clip-tiny" / "preprocessor_config.json", auto_map={"AutoImageProcessor": "modeling_evil.Thing"})
    shutil.move(copied / "prompted", copied / "base")
    code, error = train()
    assert code == 0, error
    assert not mark.exists()
    saved = json.loads((copied / "out" / "config.json").read_text())
    assert saved["mm_vision_tower"] == "./clip-tiny" and "llava-faba-" not in json.dumps(saved)
    adapter = json.loads((copied / "out" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "base"
    assert llava_faba.load_model(copied / "out", copied / "base")[1] is not None


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("base/config.json", {"hidden_size": 10**9}, "hidden_size must be"),
        ("base/config.json", {"model_type": "evil"}, "model_type 'evil'"),
        ("base/tokenizer_config.json", {"tokenizer_class": "Thing"}, "tokenizer_class 'Thing'"),
        ("clip-tiny/config.json", {"model_type": "timm_wrapper"}, "model_type 'timm_wrapper'"),
        ("clip-tiny/preprocessor_config.json", {"image_processor_type": "Thing"}, "image_processor_type must be"),
    ],
)
def test_what_is_not_read_is_refused(copied, mark, train, name, values, told):
    edit_json(copied / name, **values)
    code, error = train()
    assert code == 2 and told in error and not mark.exists()


@pytest.mark.parametrize("name", ["base/pytorch_model.bin", "clip-tiny/pytorch_model.bin"])
def test_a_malicious_pickle_is_refused(copied, tmp_path, train, name):
    write_malicious_pickle(copied / name, tmp_path / "ran")
    code, error = train()
    assert code == 2 and "could run code" in error and not (tmp_path / "ran").exists()


def test_projectors_to_start_from_are_read_as_tensors(copied, tmp_path, train):
    write_malicious_pickle(copied / "mm_projector.bin", tmp_path / "ran")
    code, error = train("base", "--pretrain_mm_mlp_adapter", "mm_projector.bin")
    assert code == 2 and "could run code" in error and not (tmp_path / "ran").exists()
    code, error = train("base", "--pretrain_facial_prior_projector", "mm_projector.bin")
    assert code == 2 and "could run code" in error and not (tmp_path / "ran").exists()
