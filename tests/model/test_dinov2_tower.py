"""A DINOv2 as vision tower, and a LLaMA whose tokens are byte-level BPE: LLaVA's builder and ours take both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import inspect_checkpoint

PROMPT = "What AUs are conveyed by this face? AU12 - Lip corner puller."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``llava``: a small random LLaVA with BPE tokens; ``tower``: the DINOv2 that it names."""
    from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import CLIPImageProcessor, Dinov2Config, Dinov2Model

    import llava_faba

    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    tower = Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(tower).save_pretrained(folder / "tower")
    CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=56).save_pretrained(folder / "tower")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [PROMPT], trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    (folder / "llava").mkdir()
    tokenizer.save(str(folder / "llava" / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[1], "eos_token": special[2]}
    settings |= {"unk_token": special[0], "pad_token": special[0], "clean_up_tokenization_spaces": False}
    (folder / "llava" / "tokenizer_config.json").write_text(json.dumps(settings))

    config = LlavaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    for key, value in {
        "mm_vision_tower": str(folder / "tower"), "mm_hidden_size": 32, "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False, "image_aspect_ratio": "pad", "use_mm_proj": True,
    }.items():  # fmt: skip
        setattr(config, key, value)
    llava_faba.register()
    try:
        model = LlavaLlamaForCausalLM(config)
        state = {key: value for key, value in model.state_dict().items() if "vision_tower" not in key}
        model.save_pretrained(folder / "llava", state_dict=state)
    finally:
        llava_faba.unregister()
    return folder


@pytest.fixture
def broken(folder, tmp_path) -> Path:
    for part in ("llava", "tower"):
        shutil.copytree(folder / part, tmp_path / part)
    config = tmp_path / "llava" / "config.json"
    config.write_text(config.read_text().replace(str(folder / "tower"), str(tmp_path / "tower")))
    return tmp_path


def loaded(path: Path):
    from llava_faba.model.loading import load_model

    return load_model(str(path), device="cpu")


def test_its_patches_are_the_hidden_states_of_the_layer_that_was_asked_for(folder):
    from transformers import Dinov2Model

    found = loaded(folder / "llava")
    tower = found.model.get_vision_tower()
    pixels = torch.randn(2, 3, 56, 56)
    original = Dinov2Model.from_pretrained(folder / "tower").eval()
    with torch.no_grad():
        expected = original(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        assert torch.equal(tower(pixels), expected)
    assert tower.num_patches == 16 and tower.hidden_size == 32
    assert found.model.config.mm_vision_tower == str(folder / "tower")
    tokens = found.tokenizer(PROMPT).input_ids
    assert found.tokenizer.decode(tokens) == PROMPT and len(tokens) < len(PROMPT) / 2


def test_version_v1_teaches_the_answer_and_nothing_else(folder):
    """LLaVA counts the tokens of LLaMA's SentencePiece; here its count comes out right without a begin token."""
    from llava import conversation
    from llava.train.train import preprocess_v1
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "llava", use_fast=False, model_max_length=512)
    tokenizer.pad_token = tokenizer.unk_token
    before = conversation.default_conversation
    conversation.default_conversation = conversation.conv_templates["v1"]
    try:
        turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "AU12 - Lip corner puller."}]
        made = preprocess_v1([turns], tokenizer, has_image=True)
    finally:
        conversation.default_conversation = before
    taught = made["labels"][0][made["labels"][0] != -100]
    assert tokenizer.decode(taught) == " AU12 - Lip corner puller.</s>"


def test_a_clip_tower_stays_of_llavas_own_class(monkeypatch):
    from llava.model.multimodal_encoder import builder

    from llava_faba.model.vision_tower import tower_of_its_family

    seen = []
    tower_of_its_family(lambda name, **options: seen.append((name, options)))("openai/clip", args=1, delay_load=True)
    assert seen == [("openai/clip", {"args": 1, "delay_load": True})]
    assert builder.CLIPVisionTower.__name__ == "CLIPVisionTower"


def test_damaged_towers_and_tokenizers_are_refused(broken):
    from safetensors.torch import load_file, save_file

    tower = broken / "tower" / "model.safetensors"
    whole = load_file(tower)
    save_file({k: v for k, v in whole.items() if k != "encoder.layer.1.layer_scale2.lambda1"}, tower)
    with pytest.raises(CheckpointError, match=r"layer_scale2\.lambda1 is missing"):
        loaded(broken / "llava")
    save_file(whole, tower)
    config = json.loads((broken / "tower" / "config.json").read_text())
    (broken / "tower" / "config.json").write_text(json.dumps({**config, "image_size": 84}))
    with pytest.raises(CheckpointError, match=r"crop_size 56 is not|position_embeddings"):
        loaded(broken / "llava")
    (broken / "tower" / "config.json").write_text(json.dumps(config))
    (broken / "llava" / "tokenizer.json").rename(broken / "llava" / "tokenizer.gone")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        loaded(broken / "llava")
    (broken / "llava" / "tokenizer.gone").rename(broken / "llava" / "tokenizer.json")
    (broken / "llava" / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is there as well"):
        loaded(broken / "llava")


def test_more_tokens_than_the_model_has_rows_are_refused(broken):
    path = broken / "llava" / "tokenizer.json"
    values = json.loads(path.read_text())
    values["added_tokens"].append({**values["added_tokens"][0], "id": 4000, "content": "<new>"})
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="4001 tokens but its model"):
        loaded(broken / "llava")


def test_the_home_of_transformers_refuses_it(folder):
    from llava_faba.conversion.source import _tower

    with pytest.raises(CheckpointError, match="is a dinov2"):
        _tower(inspect_checkpoint(folder / "llava"), None)
    assert inspect_checkpoint(folder / "tower").is_tower
