"""Damaged, incomplete and contradictory checkpoints: an error that names what is wrong, in both loaders."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import ADAPTER, edit_config, edit_json

import llava_faba
from llava_faba.errors import CheckpointError
from llava_faba.vetting.weights import sound_shapes

State = dict[str, torch.Tensor]
Change = Callable[[State], State]


def edit(path: Path, change: Change) -> None:
    torch.save(change(torch.load(path, weights_only=True)), path)


def without(part: str) -> Change:
    return lambda state: {name: value for name, value in state.items() if part not in name}


def renamed(old: str, new: str) -> Change:
    return lambda state: {name.replace(old, new): value for name, value in state.items()}


def with_number(part: str, number: float) -> Change:
    def change(state: State) -> State:
        name = next(name for name in state if part in name)
        state[name] = state[name].clone()
        state[name].view(-1)[-1] = number
        return state

    return change


def each(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda state: {name: change(value) for name, value in state.items()}


def with_extra(name: str) -> Change:
    return lambda state: {**state, name: torch.ones(2, 2)}


def cut(state: State) -> State:
    return {
        name: value[:4] if "lora_A" in name else value[:, :4] if "lora_B" in name else value
        for name, value in state.items()
    }


def flip_in_zip(path: Path, part: str = "data/0") -> None:
    """One bit of a member's bytes, without the checksum."""
    with zipfile.ZipFile(path) as archive:
        member = next(one for one in archive.infolist() if one.filename.endswith(part))
    data = bytearray(path.read_bytes())
    name_length, extra_length = struct.unpack("<HH", data[member.header_offset + 26 : member.header_offset + 30])
    data[member.header_offset + 30 + name_length + extra_length + 1] ^= 0x10
    path.write_bytes(data)


def as_safetensors(folder: Path, stem: str, change: Change = lambda state: state) -> None:
    state = torch.load(folder / f"{stem}.bin", weights_only=True)
    save_file({name: value.contiguous() for name, value in change(state).items()}, folder / f"{stem}.safetensors")


LORA, BESIDE, OWN = f"{ADAPTER}/adapter_model.bin", f"{ADAPTER}/non_lora_trainables.bin", "base/pytorch_model.bin"
TOWER, PROJECTOR = "clip-tiny/pytorch_model.bin", f"{ADAPTER}/landmark_feature_projector.bin"
CONFIG = f"{ADAPTER}/adapter_config.json"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights without numbers": (lambda f: edit(f / BESIDE, each(lambda value: value.to("meta"))), "not a plain"),
    "complex weights": (lambda f: edit(f / BESIDE, each(lambda value: value.to(torch.complex64))), "holds complex64"),
    "whole numbers": (lambda f: edit(f / LORA, each(lambda value: value.to(torch.int64))), "holds int64"),
    "beyond float32": (lambda f: edit(f / BESIDE, each(lambda value: value.double() * 1e300)), "also as float32"),
    "one weight twice": (
        lambda f: edit(
            f / BESIDE, lambda s: {**s, **{n.removeprefix("base_model.model."): 0 * v for n, v in s.items()}}
        ),
        "two of its tensors are the weight",
    ),
    "a trained tower that is not there": (
        lambda f: [edit_config(f / name, unfreeze_mm_vision_tower=True) for name in (ADAPTER, "base")],
        "unfreeze_mm_vision_tower",
    ),
    "another brightness": (
        lambda f: edit_json(f / "clip-tiny/preprocessor_config.json", rescale_factor=1.0),
        "rescale_factor must be",
    ),
    "no brightness": (
        lambda f: edit_json(f / "clip-tiny/preprocessor_config.json", do_rescale=False),
        "do_rescale must be",
    ),
    "lora without one tensor": (
        lambda f: edit(f / LORA, without("layers.1.mlp.up_proj.lora_B")),
        "1 missing: .*up_proj",
    ),
    "lora without a layer": (lambda f: edit(f / LORA, without("layers.1.")), "14 missing"),
    "lora renamed": (lambda f: edit(f / LORA, renamed("lora_A", "lora_a")), "14 missing.*14 not this adapter's"),
    "lora under another prefix": (lambda f: edit(f / LORA, renamed("base_model.model.", "")), "28 missing"),
    "lora with PEFT's inner names": (lambda f: edit(f / LORA, renamed("lora_A.", "lora_A.default.")), "14 missing"),
    "lora empty": (lambda f: edit(f / LORA, lambda state: {}), "holds no tensors"),
    "lora with too much": (
        lambda f: edit(f / LORA, with_extra("base_model.model.model.x.weight")),
        "1 not this adapter's",
    ),
    "lora of another rank": (lambda f: edit(f / LORA, cut), "of another shape"),
    "rank of another lora": (lambda f: edit_json(f / CONFIG, r=4), "of another shape"),
    "targets without tensors": (lambda f: edit_json(f / CONFIG, target_modules=["q_proj", "lm_head"]), "lm_head"),
    "fewer targets than tensors": (lambda f: edit_json(f / CONFIG, target_modules=["q_proj"]), "not this adapter's"),
    "no targets": (lambda f: edit_json(f / CONFIG, target_modules=[]), "target_modules missing or empty"),
    "targets of another model": (lambda f: edit_json(f / CONFIG, target_modules=["c_attn"]), "name no layer"),
    "saved modules that are not there": (
        lambda f: edit_json(f / CONFIG, modules_to_save=["lm_head"]),
        "modules_to_save",
    ),
    "lora with NaN": (lambda f: edit(f / LORA, with_number("k_proj", float("nan"))), "k_proj.*NaN or infinity"),
    "lora with infinity": (lambda f: edit(f / LORA, with_number("k_proj", float("-inf"))), "NaN or infinity"),
    "lora flipped": (lambda f: flip_in_zip(f / LORA), "damaged \\(wrong checksum\\)"),
    "empty safetensors beside a good bin": (
        lambda f: as_safetensors(f / ADAPTER, "adapter_model", lambda state: {}),
        "adapter_model.safetensors: holds no tensors",
    ),
    "no bytes beside a good bin": (
        lambda f: (f / ADAPTER / "adapter_model.safetensors").touch(),
        "adapter_model.safetensors: not a readable",
    ),
    "nothing beside the lora": (lambda f: (f / BESIDE).unlink(), "non_lora_trainables.bin is missing"),
    "beside: half an image projector": (
        lambda f: edit(f / BESIDE, without("mm_projector.2")),
        "mm_projector.2.bias is miss",
    ),
    "beside: no image projector": (
        lambda f: edit(f / BESIDE, without("mm_projector")),
        "mm_projector.0.bias is missing",
    ),
    "beside: renamed": (
        lambda f: edit(f / BESIDE, renamed("mm_projector.0", "mm_projector.1")),
        "is no part of this model",
    ),
    "beside: too much": (lambda f: edit(f / BESIDE, with_extra("base_model.model.model.z")), "model.z is no part"),
    "beside: NaN": (lambda f: edit(f / BESIDE, with_number("mm_projector", float("nan"))), "NaN or infinity"),
    "beside: flipped": (lambda f: flip_in_zip(f / BESIDE), "wrong checksum"),
    "prior projector: NaN": (lambda f: edit(f / PROJECTOR, with_number("2.bias", float("inf"))), "NaN or infinity"),
    "prior projector: strangers": (
        lambda f: edit(f / PROJECTOR, with_extra("model.norm.weight")),
        "no part of the prior",
    ),
    "base: one missing": (lambda f: edit(f / OWN, without("layers.0.mlp.up_proj")), "1 weights are missing"),
    "base: renamed": (lambda f: edit(f / OWN, renamed("layers.1.", "layers.2.")), "weights are missing"),
    "base: too much": (lambda f: edit(f / OWN, with_extra("model.layers.7.x")), "layers.7.x is no part"),
    "base: NaN": (lambda f: edit(f / OWN, with_number("embed_tokens", float("nan"))), "embed_tokens.*NaN"),
    "base: flipped": (lambda f: flip_in_zip(f / OWN), "wrong checksum"),
    "base: cut off": (lambda f: (f / OWN).write_bytes((f / OWN).read_bytes()[:-2000]), "not a readable PyTorch"),
    "base: empty safetensors": (
        lambda f: save_file({}, f / "base" / "model.safetensors"),
        "model.safetensors: holds no",
    ),
    "base: no bytes": (lambda f: (f / OWN).write_bytes(b""), "not a readable PyTorch"),
    "base: a folder": (lambda f: ((f / OWN).unlink(), (f / OWN).mkdir()), "a folder, not a regular file"),
    "base: gone": (lambda f: (f / OWN).unlink(), "no weights: none of"),
    "base: another's layers": (
        lambda f: edit_config(f / "base", num_attention_heads=8, num_key_value_heads=8),
        "num_attention_heads",
    ),
    "adapter: another base's heads": (
        lambda f: edit_config(f / ADAPTER, num_attention_heads=8, num_key_value_heads=8),
        "num_attention_heads",
    ),
    "adapter: another base's norm": (lambda f: edit_config(f / ADAPTER, rms_norm_eps=1e-3), "rms_norm_eps"),
    "adapter: another base's rotary": (lambda f: edit_config(f / ADAPTER, rope_theta=5e5), "rope"),
    "adapter: another activation": (lambda f: edit_config(f / ADAPTER, hidden_act="gelu"), "hidden_act"),
    "adapter: more words": (lambda f: edit_config(f / ADAPTER, vocab_size=400), "vocab_size"),
    "tower: one missing": (lambda f: edit(f / TOWER, without("layers.0.mlp.fc1.bias")), "fc1.bias is missing"),
    "tower: NaN": (lambda f: edit(f / TOWER, with_number("patch_embedding", float("nan"))), "NaN"),
    "tower: another size": (lambda f: edit_json(f / "clip-tiny" / "config.json", image_size=112), "position_embedding"),
    "tower: another's features": (lambda f: edit_config(f / ADAPTER, mm_hidden_size=48), "mm_projector.0.weight is"),
    "tower: a layer that is not there": (lambda f: edit_config(f / ADAPTER, mm_vision_select_layer=-9), "has 3 layers"),
    "pictures: another size": (
        lambda f: edit_json(f / "clip-tiny" / "preprocessor_config.json", crop_size={"height": 64, "width": 64}),
        "crop_size",
    ),
    "pictures: no standard deviation": (
        lambda f: edit_json(f / "clip-tiny" / "preprocessor_config.json", image_std=[0, 0, 0]),
        "image_std",
    ),
    "pictures: gone": (
        lambda f: (f / "clip-tiny" / "preprocessor_config.json").unlink(),
        "preprocessor_config.json is mis",
    ),
    "pictures: cut off": (
        lambda f: (f / "clip-tiny" / "preprocessor_config.json").write_text('{"crop_size": {"hei'),
        "preprocessor_config.json: not readable as JSON",
    ),
    "tokenizer: cut off": (
        lambda f: (f / "base" / "tokenizer.model").write_bytes((f / "base" / "tokenizer.model").read_bytes()[:300]),
        "tokenizer.model: not a readable SentencePiece",
    ),
    "tokenizer: no bytes": (lambda f: (f / "base" / "tokenizer.model").write_bytes(b""), "tokenizer.model"),
    "tokenizer: gone": (lambda f: (f / "base" / "tokenizer.model").unlink(), "tokenizer.model is missing"),
    "tokenizer: too many words": (
        lambda f: (f / "base" / "added_tokens.json").write_text('{"<a>": 380, "<b>": 381}'),
        "382 tokens",
    ),
    "tokenizer: settings cut off": (
        lambda f: (f / "base" / "tokenizer_config.json").write_text('{"a": '),
        "tokenizer_config.json: not readable",
    ),
    "projector of a thousand layers": (
        lambda f: edit_config(f / ADAPTER, mm_projector_type="mlp1000x_gelu"),
        "at most 16",
    ),
    "projector of no layers": (lambda f: edit_config(f / ADAPTER, mm_projector_type="mlp0x_gelu"), "mm_projector_type"),
    "prior without end": (lambda f: edit_config(f / ADAPTER, landmark_feature_hidden_size=10**12), "from 1 to 65536"),
    "prior of half a number": (
        lambda f: edit_config(f / ADAPTER, landmark_feature_hidden_size=211.5),
        "a whole number",
    ),
    "statistics with NaN": (
        lambda f: edit_config(
            f / ADAPTER,
            facial_prior_normalization="standardize",
            facial_prior_statistics={"mean": [float("nan")] * 212, "scale": [1.0] * 212},
        ),
        "facial_prior_statistics",
    ),
    "statistics with a scale of zero": (
        lambda f: edit_config(
            f / ADAPTER,
            facial_prior_normalization="standardize",
            facial_prior_statistics={"mean": [0.0] * 212, "scale": [0.0] * 212},
        ),
        "scale",
    ),
    "statistics of another size": (
        lambda f: edit_config(
            f / ADAPTER,
            facial_prior_normalization="standardize",
            facial_prior_statistics={"mean": [0.0] * 200, "scale": [1.0] * 200},
        ),
        "no 'mean' of 212 numbers",
    ),
    "statistics that nothing uses": (
        lambda f: edit_config(f / ADAPTER, facial_prior_statistics={"mean": [0.0] * 212, "scale": [1.0] * 212}),
        "facial_prior_normalization is 'none' or missing",
    ),
    "a config that does not say how large": (lambda f: edit_config(f / "base", remove=("hidden_size",)), "hidden_size"),
    "a negative size": (lambda f: edit_config(f / "base", hidden_size=-64), "hidden_size must be"),
    "true for a number": (lambda f: edit_config(f / "base", num_hidden_layers=True), "num_hidden_layers must be"),
    "scaling by NaN": (lambda f: edit_json(f / CONFIG, lora_alpha=float("nan")), "lora_alpha must be"),
    "a path with a NUL": (
        lambda f: edit_config(f / ADAPTER, mm_vision_tower="./clip\0tiny"),
        "mm_vision_tower must be",
    ),
    "a path without end": (
        lambda f: edit_config(f / ADAPTER, mm_vision_tower="/" + "a" * 3000),
        "mm_vision_tower must be",
    ),
    "a deep config": (lambda f: (f / ADAPTER / "config.json").write_text("[" * 100_000), "nested too deeply"),
    "a number of 5,000 digits": (
        lambda f: (f / ADAPTER / "config.json").write_text('{"hidden_size": ' + "9" * 5000 + "}"),
        "config.json: not readable",
    ),
    "a key twice": (
        lambda f: (f / ADAPTER / "config.json").write_text('{"hidden_size": 64, "hidden_size": 32}'),
        "given twice",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_says_what_is_wrong(copied, load, damage):
    change, told = DAMAGES[damage]
    change(copied)
    with pytest.raises(CheckpointError, match=told):
        load(copied / ADAPTER, copied / "base")


def sharded(folder: Path) -> dict[str, str]:
    """The base in two safetensors shards."""
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = list(state)
    parts = {"one.safetensors": names[: len(names) // 2], "two.safetensors": names[len(names) // 2 :]}
    for file, part in parts.items():
        save_file({name: state[name].contiguous() for name in part}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_load(copied, load):
    sharded(copied / "base")
    assert load(copied / ADAPTER, copied / "base")[1] is not None


def duplicate(folder: Path, weight_map: dict[str, str]) -> None:
    name = next(name for name, file in weight_map.items() if file == "one.safetensors")
    state = load_file(folder / "two.safetensors")
    save_file({**state, name: torch.zeros(2)}, folder / "two.safetensors", metadata={"format": "pt"})


SHARDS: dict[str, tuple[Callable[[Path, dict[str, str]], object], str]] = {
    "one tensor twice": (duplicate, "is in it, but not by the index"),
    "one shard cut off": (
        lambda f, m: (f / "one.safetensors").write_bytes((f / "one.safetensors").read_bytes()[:-8]),
        "one.safetensors: not a readable",
    ),
    "one shard gone": (lambda f, m: (f / "one.safetensors").unlink(), "one.safetensors: no such file"),
    "shards exchanged": (
        lambda f, m: (
            (f / "one.safetensors").rename(f / "x"),
            (f / "two.safetensors").rename(f / "one.safetensors"),
            (f / "x").rename(f / "two.safetensors"),
        ),
        "not the shard that the index describes",
    ),
    "an index without a tensor": (
        lambda f, m: write_index(f, {name: file for name, file in m.items() if name != "lm_head.weight"}),
        "lm_head.weight' is in it, but not by the index",
    ),
    "an index of nothing": (lambda f, m: write_index(f, {}), "weight_map must be"),
    "an index of lists": (lambda f, m: write_index(f, {name: ["one.safetensors"] for name in m}), "names no file"),
    "a shard outside": (lambda f, m: write_index(f, dict.fromkeys(m, "../other.safetensors")), "leads out of"),
    "a shard by an absolute path": (lambda f, m: write_index(f, dict.fromkeys(m, "/etc/passwd")), "an absolute path"),
    "a shard with a NUL": (lambda f, m: write_index(f, dict.fromkeys(m, "one\0.safetensors")), "NUL"),
    "a shard that is a link": (
        lambda f, m: (
            shutil.move(f / "one.safetensors", f.parent / "outside"),
            (f / "one.safetensors").symlink_to(f.parent / "outside"),
        ),
        "leads out of",
    ),
    "a shard that is a device": (lambda f, m: write_index(f, dict.fromkeys(m, "..")), "leads out of"),
}


@pytest.mark.parametrize("damage", SHARDS)
def test_damaged_shards_say_what_is_wrong(copied, load, damage):
    change, told = SHARDS[damage]
    change(copied / "base", sharded(copied / "base"))
    with pytest.raises(CheckpointError, match=told):
        load(copied / ADAPTER, copied / "base")


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json", "adapter_model.bin", "non_lora_trainables.bin"])
def test_a_link_out_of_the_folder_is_not_followed(copied, load, name):
    path = copied / ADAPTER / name
    shutil.move(path, copied / "elsewhere")
    path.symlink_to(copied / "elsewhere")
    with pytest.raises(CheckpointError, match="leads out of"):
        load(copied / ADAPTER, copied / "base")


def test_a_snapshot_in_the_hubs_cache_is_made_of_links(copied, load):
    """``snapshots/REVISION`` links to ``blobs`` beside it."""
    snapshot = copied / "models--someone--llava" / "snapshots" / "0"
    shutil.copytree(copied / "base", snapshot)
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate(list(snapshot.iterdir())):
        shutil.move(path, blobs / str(number))
        path.symlink_to(f"../../blobs/{number}")
    assert load(copied / ADAPTER, snapshot)[1] is not None


def test_a_tensor_that_says_to_be_larger_than_it_is(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="but the file holds less"):
        sound_shapes(tmp_path / "a.bin")


def test_the_adapter_config_of_a_newer_peft_loads(copied, load, data):
    """../shared/field/peft-newer: what is new in it is at its default."""
    edit_json(copied / ADAPTER / "adapter_config.json", **json.loads((data / "peft-newer.json").read_text()))
    assert load(copied / ADAPTER, copied / "base")[1] is not None


NEW = ("use_dora", "use_qalora", "layer_replication", "trainable_token_indices", "eva_config", "something_of_2030")


@pytest.mark.parametrize("key", NEW)
def test_what_a_newer_peft_has_set_is_named(copied, load, key):
    edit_json(copied / ADAPTER / "adapter_config.json", **{key: True if key.startswith("use") else {"a": 1}})
    with pytest.raises(CheckpointError, match=rf"adapter_config.json.*{key}|lora_magnitude_vector"):
        load(copied / ADAPTER, copied / "base")


@pytest.mark.parametrize("value", [None, False, {}, []])
def test_a_key_of_the_future_at_nothing_is_let_pass(copied, value):
    edit_json(copied / ADAPTER / "adapter_config.json", something_of_2030=value)
    assert llava_faba.load_model(copied / ADAPTER)[1] is not None
