"""Nothing in a model folder names code that is run, whatever file it stands in and whoever reads the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ADAPTER, edit_json

import llava_faba
from llava_faba.cli.main import main
from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import inspect_checkpoint
from llava_faba.model.handing_over import hand_over
from llava_faba.vetting.kinds import read

CODE = {"AutoTokenizer": ["tokenization_evil.Thing", None], "AutoConfig": "configuration_evil.Thing"}
ATTACKS = {
    # PEFT's other methods, and modules that it imports by name
    "prompt tuning": (
        f"{ADAPTER}/adapter_config.json",
        {
            "peft_type": "PROMPT_TUNING",
            "prompt_tuning_init": "TEXT",
            "prompt_tuning_init_text": "x",
            "num_virtual_tokens": 2,
            "tokenizer_name_or_path": ".",
            "tokenizer_kwargs": {"trust_remote_code": True},
        },
    ),
    "p-tuning": (f"{ADAPTER}/adapter_config.json", {"peft_type": "P_TUNING", "num_virtual_tokens": 2}),
    "no method": (f"{ADAPTER}/adapter_config.json", {"peft_type": None}),
    "a list as method": (f"{ADAPTER}/adapter_config.json", {"peft_type": ["LORA"]}),
    "megatron": (f"{ADAPTER}/adapter_config.json", {"megatron_config": {"a": 1}, "megatron_core": "evil_module"}),
    "megatron alone": (f"{ADAPTER}/adapter_config.json", {"megatron_core": "evil_module"}),
    "auto mapping": (
        f"{ADAPTER}/adapter_config.json",
        {"auto_mapping": {"base_model_class": "Thing", "parent_library": "evil_module"}},
    ),
    "loftq": (f"{ADAPTER}/adapter_config.json", {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}),
    "a later invention": (f"{ADAPTER}/adapter_config.json", {"load_from": "evil_module"}),
    # transformers' ways
    "config": (f"{ADAPTER}/config.json", {"auto_map": CODE, "custom_pipelines": {"x": {"impl": "evil_module.Thing"}}}),
    "base config": ("base/config.json", {"auto_map": {**CODE, "AutoModelForCausalLM": "modeling_evil.Thing"}}),
    "attention": ("base/config.json", {"attn_implementation": "someone/kernel", "_attn_implementation": "evil"}),
    "quantizer": ("base/config.json", {"quantization_config": {"quant_method": "evil_module"}}),
    "type": ("base/config.json", {"torch_dtype": "classes"}),
    "model type": (f"{ADAPTER}/config.json", {"model_type": "evil_module"}),
    "tokenizer": ("base/tokenizer_config.json", {"auto_map": CODE}),
    "tokenizer class": ("base/tokenizer_config.json", {"tokenizer_class": "Thing", "auto_map": CODE}),
    "another tokenizer": ("base/tokenizer_config.json", {"tokenizer_class": "TransfoXLTokenizer"}),
    "template": ("base/tokenizer_config.json", {"chat_template": "{{ ''.__class__.__mro__ }}"}),
    "sampling": ("base/tokenizer_config.json", {"sp_model_kwargs": {"model_file": "/etc/passwd"}}),
    "special": ("base/special_tokens_map.json", {"auto_map": CODE}),
    "pictures": ("clip-tiny/preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "modeling_evil.Thing"}}),
    "picture class": ("clip-tiny/preprocessor_config.json", {"image_processor_type": "Thing"}),
    "tower config": ("clip-tiny/config.json", {"auto_map": {"AutoModel": "modeling_evil.Thing"}}),
    "tower type": ("clip-tiny/config.json", {"model_type": "timm_wrapper"}),
    "generation": ("base/generation_config.json", {"custom_generate": "evil_module", "cache_implementation": "evil"}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_file_of_a_folder_runs_code(copied, mark, load, attack):
    name, values = ATTACKS[attack]
    edit_json(copied / name, **values)
    try:
        model = load(copied / ADAPTER, copied / "base")[1]
    except CheckpointError as error:
        assert Path(name).name in str(error) or Path(name).parent.name in str(error)
    else:
        assert model.generate is not None
    assert not mark.exists()


@pytest.mark.parametrize("attack", ["prompt tuning", "megatron", "auto mapping", "base config", "tokenizer class"])
@pytest.mark.parametrize(
    "command",
    [
        ["merge", "--model-path", ADAPTER, "--save-model-path", "out"],
        ["checkpoint", "import", "--model-path", ADAPTER, "--out", "out"],
        ["checkpoint", "export", "--model-path", ADAPTER, "--out", "out"],
        ["doctor", "--model-path", ADAPTER],
        ["predict", "--model-path", ADAPTER, "--image", "data/img/0.png"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_runs_it(copied, mark, attack, command, monkeypatch, capsys):
    monkeypatch.chdir(copied)
    name, values = ATTACKS[attack]
    edit_json(copied / name, **values)
    assert main(command) in (0, 1, 2)
    assert not mark.exists() and "Traceback" not in capsys.readouterr().err
    assert not any((copied / "out").rglob("*.py"))


def test_what_is_handed_on_is_what_we_built(copied, mark):
    """No Python, no key that no table lists, and not one file of the folder itself but its weights."""
    for name, values in ATTACKS.values():
        if (
            "base/" in name
            and "dtype" not in str(values)
            and "class" not in str(values)
            and "kwargs" not in str(values)
        ):
            edit_json(copied / name, **values)
    base = inspect_checkpoint(copied / "base")
    private = hand_over(base)
    files = {path.name: path for path in private.iterdir()}
    assert not [name for name in files if name.endswith(".py")]
    assert {name for name, path in files.items() if path.is_symlink()} == {"pytorch_model.bin"}
    text = "".join(path.read_text() for name, path in files.items() if name.endswith(".json"))
    assert "evil" not in text and "auto_map" not in text
    assert read(files["config.json"])["hidden_size"] == 64


def test_names_in_what_was_loaded_are_those_of_the_folders(copied, load):
    tokenizer, model, _, _ = load(copied / ADAPTER, copied / "base")
    assert "llava-faba-" not in repr(model.config.to_dict()) + repr(model.get_vision_tower().vision_tower.config)
    assert Path(model.config._name_or_path) == copied / "base" and Path(tokenizer.name_or_path) == copied / "base"
    assert Path(model.config.mm_vision_tower) == copied / "clip-tiny"


def test_a_regular_expression_that_never_ends_is_not_tried(copied):
    edit_json(copied / ADAPTER / "adapter_config.json", target_modules="(.*.*)*x(a+)+$")
    with pytest.raises(CheckpointError, match="target_modules must be"):
        llava_faba.load_model(copied / ADAPTER)
    edit_json(copied / ADAPTER / "adapter_config.json", target_modules=["q_proj"], rank_pattern={"(a+)+$": 4})
    with pytest.raises(UserError, match="rank_pattern must be"):
        llava_faba.load_model(copied / ADAPTER)
