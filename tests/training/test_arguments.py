"""The flags of training: help for each, and wrong values refused before anything is loaded."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from support import ROOT, run_python
from transformers import HfArgumentParser

import llava_faba
from llava_faba.errors import UserError
from llava_faba.experts import expert_names
from llava_faba.training.main import main

OURS = {
    "facial_prior_expert",
    "facial_prior_size",
    "facial_prior_projector_type",
    "facial_prior_normalization",
    "pretrain_facial_prior_projector",
    "freeze_facial_prior_projector",
    "facial_prior_store",
    "skip_bad_records",
    "facial_prior_projector_lr",
    "vision_tower_dtype",
    "attn_implementation",
    "tune_facial_prior_projector",
    "faba_eval_annotations",
    "faba_eval_task",
    "faba_eval_protocol",
    "faba_eval_steps",
    "faba_eval_image_folder",
    "faba_eval_store",
    "faba_eval_max_new_tokens",
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``train_emola.py FLAGS`` in this process; EmoLA is taken back afterwards."""

    def run(*flags: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train_emola.py", *flags])
        return main()

    yield run
    llava_faba.unregister()


@pytest.fixture
def parse(registered: None, tmp_path: Any) -> Callable[..., Any]:
    from llava.train import train

    parser = HfArgumentParser((train.ModelArguments, train.DataArguments, train.TrainingArguments))
    return lambda *flags: parser.parse_args_into_dataclasses(["--output_dir", str(tmp_path), *flags])


def test_every_flag_has_a_help_text_ours_and_upstreams(registered):
    from llava.train import train

    parser = HfArgumentParser((train.ModelArguments, train.DataArguments, train.TrainingArguments))
    assert {action.dest for action in parser._actions} >= OURS
    silent = [action.dest for action in parser._actions if not action.help]
    # transformers itself leaves these without a word.
    assert not set(silent) - transformers_own_silence(), silent


def transformers_own_silence() -> set[str]:
    from transformers import TrainingArguments

    return {action.dest for action in HfArgumentParser(TrainingArguments)._actions if not action.help}


def test_help_prints_every_flag_of_ours(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command("--help")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"--{flag}" in printed for flag in OURS) and "--mm_projector_lr" in printed


def test_without_an_expert_the_choices_are_listed():
    """The script itself, as a user starts it; nothing heavy is imported to say so."""
    result = run_python(str(ROOT / "scripts" / "train_emola.py"), "--data_path", "x.json")
    assert result.returncode == 2
    assert "--facial_prior_expert is required" in result.stderr and "'none'" in result.stderr
    assert all(name in result.stderr for name in expert_names())
    assert "Traceback" not in result.stderr


def test_an_unknown_expert_is_told_before_anything_heavy_is_imported(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_emola.py", "--facial_prior_expert", "dlib68"])
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now fails
    assert main() == 2
    assert "Did you mean 'dlib-68'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--facial_prior_expert", "dlib68"), "Did you mean 'dlib-68'"),
        (("--facial_prior_expert=dlib-86",), "Did you mean 'dlib-68'"),
        (("--facial_prior_expert", "dlib-68", "--facial_prior_size", "212"), "'dlib-68' gives 136 numbers"),
        (("--facial_prior_expert", "precomputed", "--facial_prior_normalization", "whiten"), "none, standardize, pose"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_loaded(command, capsys, tmp_path, flags, told):
    assert command(*flags, "--model_name_or_path", "no-such-model", "--output_dir", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_emola: ") and told in error


def test_an_unknown_vision_tower_type_is_refused(parse):
    with pytest.raises(UserError, match="'int8': choose float32"):
        parse("--vision_tower_dtype", "int8")


@pytest.mark.parametrize(
    ("expert", "size", "normalization"),
    [
        ("precomputed", 212, "standardize"),
        ("dlib-68", 136, "pose"),
        ("insightface-106", 212, "pose"),
        ("face-alignment-3d", 204, "standardize"),
    ],
)
def test_an_expert_decides_size_and_default_normalization(parse, expert, size, normalization):
    model = parse("--facial_prior_expert", expert)[0]
    assert model.facial_prior_size == size
    assert model.facial_prior_config() == {
        "facial_prior_expert": expert,
        "facial_prior_normalization": normalization,
    }


def test_precomputed_takes_any_size(parse):
    model = parse("--facial_prior_expert", "precomputed", "--facial_prior_size", "10")[0]
    assert model.facial_prior_size == 10


def test_none_asks_for_no_prior(parse):
    assert parse("--facial_prior_expert", "none", "--facial_prior_size", "10")[0].facial_prior_size is None


def test_the_paths_of_pickled_arguments_are_upstreams(registered):
    """The Trainer pickles its arguments; they must be found where LLaVA has them."""
    from llava.train import train

    for cls in (train.ModelArguments, train.DataArguments, train.TrainingArguments):
        assert (cls.__module__, cls.__qualname__) == ("llava.train.train", cls.__name__)


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ([], "pose+standardize"),
        (["--facial_prior_normalization", "standardize"], "standardize"),
        (["--facial_prior_normalization", "standardize+standardize"], "standardize"),
        (["--facial_prior_normalization", "none"], "none"),
    ],
)
def test_several_experts_are_recorded_with_their_sizes_and_methods(parse, given: list[str], method: str) -> None:
    arguments = parse("--version", "v1", "--facial_prior_expert", "mediapipe-478+blendshapes-52", *given)[0]
    assert arguments.facial_prior_size == 1008
    assert arguments.facial_prior_config() == {
        "facial_prior_expert": "mediapipe-478+blendshapes-52",
        "facial_prior_normalization": method,
        "facial_prior_sizes": [956, 52],
    }


@pytest.mark.parametrize(
    ("expert", "given", "words"),
    [
        ("mediapipe-478+blendshapes-52", ["--facial_prior_normalization", "pose"], "blendshapes-52' gives 52 numbers"),
        ("mediapipe-478+blendshapes-52", ["--facial_prior_normalization", "pose+none+none"], "3 methods for 2 experts"),
        ("mediapipe-478+blendshapes-52", ["--facial_prior_size", "956"], "gives 1008 numbers"),
        ("dlib-68", ["--facial_prior_normalization", "pose+standardize"], "2 methods for 1 experts"),
        ("dlib-68+dlib-68", [], "with itself"),
    ],
)
def test_several_experts_that_do_not_go_together_are_refused(parse, expert: str, given: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse("--version", "v1", "--facial_prior_expert", expert, *given)


def test_a_template_is_trained_as_it_is_asked(registered: None) -> None:
    """The text that LLaVA's trainer writes begins with the prompt that the same template makes of a question, for
    every version that is taken; ``llava_v0`` learned '### Human: ' and was asked '###Human: ' without a word."""
    from llava import conversation
    from llava.train import train

    from llava_faba.training.template import check_version

    seen: list[str] = []

    class Tokenizer:
        """Keeps the text that is to be tokenized."""

        bos_token_id, model_max_length, pad_token_id, legacy = 1, 2048, 0, True

        def __call__(self, text: Any, **_: Any) -> Any:
            seen.extend([text] if isinstance(text, str) else text)
            raise _Enough

    arguments = types.SimpleNamespace(is_multimodal=True, mm_use_im_start_end=False)
    before = conversation.default_conversation
    refused = set()
    try:
        for name, template in conversation.conv_templates.items():
            turns = [{"from": "human", "value": "<image>\nWhich AUs?"}, {"from": "gpt", "value": "AU4."}]
            conversation.default_conversation = train.conversation_lib.default_conversation = template
            seen.clear()
            with pytest.raises(_Enough):
                train.preprocess(train.preprocess_multimodal([turns], arguments), Tokenizer(), has_image=False)
            asked = template.copy()
            asked.messages = [[asked.roles[0], "<image>\nWhich AUs?"], [asked.roles[1], None]]
            is_plain = template.sep_style == conversation.SeparatorStyle.PLAIN
            same = is_plain or seen[0].startswith(asked.get_prompt())
            try:
                check_version(name)
            except UserError as error:
                assert "otherwise than a question is asked" in str(error)
                refused.add(name)
            assert same or name in refused or name == "v0", (name, seen[0], asked.get_prompt())
    finally:
        conversation.default_conversation = train.conversation_lib.default_conversation = before
    assert refused == {"default", "llava_v0", "v0_mmtag", "v1_mmtag"}  # of v0 LLaVA's trainer makes vicuna_v1


class _Enough(Exception):
    pass
