"""Flags that LLaVA's train() takes and does not follow: refused before anything is loaded, not named by --help."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import ADAPTER, edit_config

from llava_faba.training.flag_checks import HIDDEN

LORA = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")


@pytest.fixture
def refused(train, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Train with some flags; returns the error that the user reads. No model is loaded."""
    from transformers import PreTrainedModel

    def load(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(load))

    def run(*flags: str) -> str:
        assert train("out", *LORA, *flags) == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--image_aspect_ratio", "anyres"), "one crop of a picture"),
        (("--image_aspect_ratio", "Pad"), "choose pad or square"),
        (("--lora_bias", "lora_only"), "LLaMA's linear layers have no biases"),
        (("--lora_bias", "all"), "LLaMA's linear layers have no biases"),
        (("--mm_projector_type", "linear"), "was trained with mlp2x_gelu: pass --mm_projector_type mlp2x_gelu"),
        (("--mm_vision_select_layer", "-1"), "pass --mm_vision_select_layer -2"),
        (("--mm_vision_select_feature", "cls_patch"), "pass --mm_vision_select_feature patch"),
        (("--mm_patch_merge_type", "spatial_unpad"), "nothing to merge"),
        (("--resume_from_checkpoint", "elsewhere/checkpoint-3"), "from no other"),
        (("--remove_unused_columns", "True"), "take the pictures out"),
        (("--label_smoothing_factor", "0.1"), "does not smooth labels"),
        (("--neftune_noise_alpha", "5"), "piece by piece"),
        (("--auto_find_batch_size", "True"), "would no longer be known"),
        (("--lora_weight_path", "adapter"), "LLaVA reads it nowhere"),
        (("--load_best_model_at_end", "True"), "OUTPUT/best-rege"),
        (("--model_name_or_path", ADAPTER), "Merge them first: llava-faba checkpoint merge"),
        (("--model_name_or_path", "clip-tiny"), "holds a vision tower"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_would_not_be_followed_is_refused(refused, flags, told):
    assert told in refused(*flags)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *((flag, value) for flag in ("--learning_rate", "--mm_projector_lr") for value in ("nan", "-1", "inf")),
        *(("--weight_decay", value) for value in ("nan", "-0.1")),
        *(("--lora_r", value) for value in ("0", "-3")),
        *(("--lora_dropout", value) for value in ("1.0", "2.0", "nan")),
        *(("--seed", value) for value in ("-1", str(2**40))),
        ("--lora_alpha", "0"),
        ("--num_train_epochs", "0"),
        ("--num_train_epochs", "nan"),
        ("--per_device_train_batch_size", "0"),
        ("--gradient_accumulation_steps", "0"),
        ("--save_steps", "0"),
        ("--model_max_length", "0"),
        ("--warmup_ratio", "5"),
        ("--adam_beta1", "1.5"),
        ("--adam_epsilon", "0"),
        ("--max_grad_norm", "nan"),
    ],
)
def test_numbers_that_no_training_has(refused, flag, value):
    """Tracebacks from PEFT, NumPy and torch; with a decay of NaN a loss of 0.0, with a dropout of 1 nothing learned,
    and exit code 0."""
    told = refused("--max_steps", "-1", "--save_strategy", "steps", flag, value)
    assert f"{flag} {float(value):g}" in told.replace(".0:", ":") or f"{flag} {value}" in told, told
    assert "is wanted" in told and "Traceback" not in told


@pytest.mark.parametrize("folder", ["base", "clip-tiny", "data", "link"])
def test_an_output_that_is_an_input(train, copied, capsys, folder):
    """The base's config.json was written over, without a word."""
    (copied / "link").symlink_to("base")
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert train(folder, *LORA) == 2
    assert "which the run would write over" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


def test_a_loss_that_is_no_number_ends_the_run(train, copied, monkeypatch, capsys):
    """transformers logs it as 0.0, goes on, and saves NaN."""
    import torch
    from llava.train.llava_trainer import LLaVATrainer

    original = LLaVATrainer.training_step
    monkeypatch.setattr(LLaVATrainer, "training_step", lambda *a, **k: original(*a, **k) * torch.tensor(float("nan")))
    assert train("out", *LORA) == 2
    assert "the loss of step 1 is NaN or infinite" in capsys.readouterr().err
    assert not list((copied / "out").glob("adapter_model.*"))


@pytest.mark.parametrize("spelling", ["--evaluation_strategy", "--eval_strategy"])
def test_evaluation_by_transformers(refused, spelling):
    """The names before and since transformers 4.41; the one that the installed release does not know is told too."""
    assert "--faba_eval_annotations" in refused(spelling, "steps")


def test_a_missing_vision_tower_is_one_sentence(refused, copied, monkeypatch, capsys):
    import sys

    from llava_faba.training.main import main

    refused("--image_aspect_ratio", "anyres")
    argv = sys.argv
    place = argv.index("--vision_tower")
    monkeypatch.setattr(sys, "argv", [*argv[:place], *argv[place + 2 : -2]])
    assert main() == 2 and "--vision_tower is required" in capsys.readouterr().err


def test_fp16_on_a_cpu_is_one_sentence(refused):
    error = refused("--fp16", "True")
    assert error.startswith("train_emola: ") and "leave --fp16 out" in error and "Traceback" not in error


def test_overwriting_a_run_that_would_be_gone_on_with(refused, copied):
    (copied / "out" / "checkpoint-1").mkdir(parents=True)
    assert "instead of overwriting" in refused("--overwrite_output_dir", "True")


def test_a_prior_projector_type_unlike_the_bases(refused, copied):
    shutil.copytree(copied / "base", copied / "emola")
    edit_config(copied / "emola", landmark_feature_hidden_size=212)
    error = refused("--model_name_or_path", "emola", "--facial_prior_projector_type", "linear")
    assert "pass --facial_prior_projector_type mlp2x_gelu" in error


def test_the_flags_of_llavas_own_scripts_are_taken(train, copied):
    flags = ("--evaluation_strategy", "no", "--lora_bias", "none", "--mm_patch_merge_type", "flat", "--tf32", "False")
    assert train("out", *LORA, *flags, "--overwrite_output_dir", "True") == 0


def test_help_does_not_name_what_has_no_use(registered):
    from llava.train import train as upstream
    from transformers import HfArgumentParser, TrainingArguments

    parser = HfArgumentParser((upstream.ModelArguments, upstream.DataArguments, upstream.TrainingArguments))
    shown = parser.format_help()
    known = {action.dest for action in parser._actions}
    assert not [name for name in HIDDEN if f"--{name} " in shown or f"--no_{name} " in shown]
    assert len(known & HIDDEN.keys()) > 15 and "--image_aspect_ratio" in shown
    assert "upstream does not save" in " ".join(shown.split())  # what upstream gets wrong, beside the flag
    # transformers' own classes keep their help
    own = {action.dest: action.help for action in HfArgumentParser(TrainingArguments)._actions}
    assert "==SUPPRESS==" not in [own.get(name) for name in HIDDEN]
