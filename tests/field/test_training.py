"""Training trains on what it was given: cases of the field, as a user meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import edit_config

from llava_faba.inference.generate import GenerateSettings, generate_answers
from tests.training.conftest import train  # noqa: F401 - a fixture

FIELD = Path(__file__).parent.parent / "data" / "field"
Train = Callable[..., int]
ONE_STEP = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def test_the_template_of_training_is_stored_and_used(copied: Path, train: Train) -> None:  # noqa: F811
    """LLaVA#129: trained with --version plain, and 0 of 8 answers were those of training's validation."""
    shutil.copy(FIELD / "train-max-length" / "eval.json", copied / "data" / "eval.json")
    evaluation = ("--faba_eval_annotations", "data/eval.json", "--faba_eval_max_new_tokens", "12")
    assert train("out", *ONE_STEP, "--version", "plain", *evaluation) == 0
    assert config_of(copied / "out")["conversation_template"] == "plain"
    assert config_of(copied / "out" / "best-rege")["conversation_template"] == "plain"
    validated = [json.loads(line) for line in (copied / "out/faba_eval/step-1.jsonl").read_text().splitlines()]
    edit_config(copied / "out", mm_vision_tower=str(copied / "clip-tiny"))
    questions = [{key: one[key] for key in ("question_id", "image")} for one in validated]
    texts = {one["question_id"]: one["text"] for one in validated}
    for question in questions:
        question["text"] = "What AUs are conveyed by this face?"
    settings = GenerateSettings(max_new_tokens=12)
    generate_answers(str(copied / "out"), questions, copied / "data", copied / "a.jsonl", settings)
    answered = [json.loads(line) for line in (copied / "a.jsonl").read_text().splitlines()]
    assert [one["text"] for one in answered] == [texts[one["question_id"]] for one in answered]


def test_a_template_that_is_none_is_an_error(train: Train, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    """LLaVA takes vicuna_v1 for a name that it does not know."""
    assert train("out", *ONE_STEP, "--version", "lava_v1") == 2
    assert "--version 'lava_v1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param(
            ("--model_max_length", "62"),
            ("8 records have problems", "record 0 (0): 85 tokens", "gone, 0 of 20 tokens are left"),
            id="all",
        ),
        pytest.param(
            ("--data_path", "data/onelong.json", "--model_max_length", "92"),
            ("1 records have problems", "record 3 (3): ", "0 of 20 tokens are left"),
            id="one",
        ),
    ],
)
def test_answers_behind_the_limit_of_what_the_model_sees(
    copied: Path,
    train: Train,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    told: tuple[str, ...],
) -> None:
    """LLaVA#816: loss 0.0 to the end and exit code 0."""
    shutil.copy(FIELD / "train-max-length" / "onelong.json", copied / "data" / "onelong.json")
    assert train("out", *ONE_STEP, *flags) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in told)
    assert not list(copied.glob("out/*.bin"))


@pytest.mark.newest
def test_going_on_with_another_setting_is_refused_by_its_name(
    copied: Path,
    train: Train,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    """DiffSynth#1406: "Going on", and other losses. Each of these passed unnoticed."""
    flags = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "steps", "--save_steps", "1")
    assert train("out", *flags) == 0
    capsys.readouterr()

    def refused(*more: str) -> str:
        assert train("out", *flags, *more) == 2
        error = capsys.readouterr().err
        assert "was saved by another run: " in error
        return error.split("another run: ")[1]

    assert "conversation template was v1, is plain" in refused("--version", "plain")
    assert "image_aspect_ratio was pad, is square" in refused("--image_aspect_ratio", "square")
    assert "dataloader_drop_last was False, is True" in refused("--dataloader_drop_last", "True")
    assert "adam_beta2 was 0.999, is 0.99" in refused("--adam_beta2", "0.99")
    assert "attn_implementation was None, is eager" in refused("--attn_implementation", "eager")
    other = shutil.copytree(copied / "data", copied / "other")
    (other / "img" / "1.png").write_bytes((other / "img" / "2.png").read_bytes())  # another picture of that name
    assert refused("--image_folder", "other").startswith("pictures was 8 (")
    shutil.copy(copied / "data" / "img" / "1.png", other / "img" / "1.png")
    shutil.copy(copied / "data" / "lm" / "2.npy", other / "lm" / "1.npy")
    assert refused("--image_folder", "other").startswith("priors was sha256 ")
    shutil.copy(copied / "data" / "lm" / "1.npy", other / "lm" / "1.npy")
    base = shutil.copytree(copied / "base", copied / "elsewhere" / "base")
    edit_config(base, rms_norm_eps=2e-6)
    assert "content of the base was sha256 " in refused("--model_name_or_path", "elsewhere/base")
    shutil.copy(copied / "base" / "config.json", base / "config.json")
    shutil.copytree(copied / "clip-tiny", copied / "elsewhere" / "clip-tiny")
    # The same under other names, and what cannot change the weights.
    free = ("--save_steps", "5", "--logging_steps", "3", "--dataloader_num_workers", "1", "--run_name", "x")
    names = ("--image_folder", "other", "--model_name_or_path", "elsewhere/base", "--vision_tower")
    assert train("out", *flags, *free, *names, "./elsewhere/clip-tiny") == 0
    assert "Going on from out/checkpoint-1" in capsys.readouterr().out
