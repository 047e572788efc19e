"""What a run would write is loaded before it starts, as names and shapes: what would not load is not trained."""

from __future__ import annotations

import pytest
import torch
from support import edit_json

import llava_faba

LORA = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")
WHOLE = ("--lora_enable", "False", "--max_steps", "1", "--save_strategy", "no")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--mm_use_im_patch_token", "True"), "vocab_size 381, not 380"),
        (("--mm_use_im_start_end", "True"), "vocab_size 382, not 380"),
        (("--version", "v0"), "vocab_size"),
    ],
    ids=["patch token, upstream's default", "start and end", "padding token, upstream's default"],
)
def test_new_tokens_with_lora_are_refused_before_training(train, copied, capsys, flags, told):
    """Their embeddings are in no file that such a run writes."""
    if flags[0] == "--version":
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            edit_json(copied / "base" / name, remove=("pad_token",))
    assert train("out", *LORA, *flags) == 2
    error = capsys.readouterr().err
    assert "could not be loaded again, so nothing was trained" in error and told in error
    assert "adds tokens to the vocabulary" in error
    assert not list(copied.glob("out/*.bin"))


def test_new_tokens_without_lora_are_saved_and_loaded(train, copied):
    flags = ("--mm_use_im_start_end", "True", "--mm_use_im_patch_token", "True", "--learning_rate", "0")
    assert train("whole-llava", *WHOLE, *flags) == 0
    once, again = (llava_faba.load_model(copied / "whole-llava")[1] for _ in range(2))
    table = once.get_input_embeddings().weight
    assert len(table) == 383 and torch.equal(table, again.get_input_embeddings().weight)
    # upstream starts new tokens from the mean of the others
    assert torch.allclose(table[-2:], table[:-2].mean(dim=0).expand(2, -1), atol=1e-4)


def test_a_projector_stage_with_new_tokens_is_refused(train, copied, capsys):
    stage = ("--tune_facial_prior_projector", "True", "--tune_mm_mlp_adapter", "True", "--max_steps", "1")
    assert train("out", *stage, "--save_strategy", "no", "--mm_use_im_start_end", "True") == 2
    assert "vocab_size 382, not 380" in capsys.readouterr().err


def test_an_image_projector_of_another_type_than_the_config_says(train, copied, capsys, monkeypatch):
    """The kind, past the check of flags: what the module is decides, not what the flag was."""
    from llava_faba.training import flag_checks

    monkeypatch.setattr(flag_checks, "_base_model", lambda values: None)
    assert train("out", *LORA, "--mm_projector_type", "mlp3x_gelu") == 2
    error = capsys.readouterr().err
    assert "could not be loaded again" in error and "model.mm_projector.4.weight is missing" in error


@pytest.mark.parametrize("kind", ["lora", "whole", "stage"])
def test_what_is_planned_is_what_is_written(train, copied, monkeypatch, kind):
    """The plan's tensors are those of the files, by name and shape."""
    from llava_faba.model.checkpoints import inspect_checkpoint
    from llava_faba.training import loadable

    plans = []
    original = loadable.plan
    monkeypatch.setattr(loadable, "plan", lambda *args: plans.append(original(*args)) or plans[-1])
    flags = {"lora": LORA, "whole": WHOLE, "stage": ("--tune_facial_prior_projector", "True", *WHOLE)}[kind]
    assert train("out", *flags) == 0
    written = inspect_checkpoint("out")
    written.check_weights()
    found = {path.stem: written.tensors(path) for path in written.weights_files()}
    planned = plans[0].planned
    assert found.keys() == planned.keys()
    for stem, tensors in found.items():
        wanted = {name: shape for name, shape in planned[stem].items() if "vision_tower" not in name}
        assert {name: shape for name, shape in tensors.items() if "vision_tower" not in name} == wanted
    left_out = {"use_cache", "architectures", "torch_dtype", "dtype", "transformers_version"}  # set while saving
    configs = [{k: v for k, v in one.items() if k not in left_out} for one in (written.config, plans[0].config)]
    assert configs[0] == configs[1]
