"""Asking a model: its own conversation template, answers that were cut, texts that were edited, errors as they are."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from support import ADAPTER, edit_config
from tiny import make_emola, make_faces, make_questions

from llava_faba.cli.main import main
from llava_faba.errors import RecordError, UserError
from llava_faba.inference.conversations import choose_template
from llava_faba.inference.generate import GenerateSettings, generate_answers
from llava_faba.inference.prediction import DEFAULT_CONVERSATION
from llava_faba.inference.verify import verify_answers
from llava_faba.model.fingerprint import fingerprint, model_folders
from llava_faba.records.questions import check_questions


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[dict[str, Any]]]:
    """A tiny model, a folder of faces, and questions about them."""
    root = tmp_path_factory.mktemp("asked")
    model = make_emola(root / "model")
    return model, root / "faces", make_questions(root / "q.jsonl", make_faces(root / "faces", 4))


def _copy(model: Path, to: Path, **config: Any) -> Path:
    folder = Path(shutil.copytree(model, to / model.name))
    edit_config(folder, **config)
    return folder


def _texts(model: Path, asked: Any, out: Path, **settings: Any) -> list[str]:
    settings = {"max_new_tokens": 8, **settings}
    generate_answers(str(model), asked[2], asked[1], out, GenerateSettings(**settings))
    return [json.loads(line)["text"] for line in out.read_text().splitlines()]


def test_the_checkpoints_own_template_is_used(asked: Any, tmp_path: Path) -> None:
    """LLaVA#129: trained with --version plain, asked with the default: 0 of 8 answers as in training's validation."""
    for name in ("plain", "v1"):
        model = _copy(asked[0], tmp_path / name, conversation_template=name)
        by_itself = _texts(model, asked, tmp_path / f"{name}.jsonl")
        assert by_itself == _texts(asked[0], asked, tmp_path / f"{name}-named.jsonl", conversation=name)
        assert by_itself != _texts(asked[0], asked, tmp_path / f"{name}-default.jsonl")


class TestChoice:
    def test_without_the_key_todays_default_with_a_note(self) -> None:
        chosen = choose_template({}, None)
        assert chosen.name == DEFAULT_CONVERSATION and "does not name" in chosen.note and not chosen.is_other

    def test_another_one_is_a_warning_that_says_both(self) -> None:
        chosen = choose_template({"conversation_template": "plain"}, "llava_v1")
        assert (
            chosen.name == "llava_v1" and chosen.is_other and "'plain'" in chosen.note and "'llava_v1'" in chosen.note
        )

    @pytest.mark.parametrize(("stored", "asked"), [("plain", None), (None, "plain"), ("plain", "v0_plain")])
    def test_plain_says_that_no_question_is_asked(self, stored: str | None, asked: str | None) -> None:
        chosen = choose_template({} if stored is None else {"conversation_template": stored}, asked)
        assert "the picture alone" in chosen.note and not chosen.is_other

    def test_the_same_one_by_another_name_is_none(self) -> None:
        assert choose_template({"conversation_template": "v1"}, "vicuna_v1").note == ""
        assert choose_template({"conversation_template": "v1"}, None).note == ""

    @pytest.mark.parametrize("name", ["v_1", "", 5, ["v1"], {"a": 1}])
    def test_an_unknown_one_in_the_checkpoint(self, name: object) -> None:
        with pytest.raises(UserError, match=r"config\.json \(conversation_template\)"):
            choose_template({"conversation_template": name}, None)


@pytest.mark.parametrize("name", ["plain", "v1", "llava_llama_2", "mpt"])
def test_a_model_is_asked_with_what_its_training_text_has_before_an_answer(
    asked: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """'plain' leaves questions out of training, and put them into what the model was asked."""
    from llava import conversation
    from llava.train import train as upstream

    import llava_faba
    from llava_faba.inference.answer import prompt_ids

    tokenizer, model, _, _ = llava_faba.load_model(asked[0])
    tokenizer.pad_token = tokenizer.unk_token  # as LLaVA's train() does
    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates[name])
    turns = [{"from": "human", "value": "<image>\nWhich lips?"}, {"from": "gpt", "value": "AU4."}]
    ids = upstream.preprocess([turns], tokenizer, has_image=True)["input_ids"][0].tolist()
    asks = prompt_ids("Which lips?", tokenizer, model.config, name)
    assert ids[: len(asks)] == asks


def test_predict_and_chat_use_it_and_warn_of_another(asked: Any, tmp_path: Path) -> None:
    import llava_faba
    from llava_faba.images import open_image
    from llava_faba.inference.chat import Chat

    model = _copy(asked[0], tmp_path, conversation_template="plain")
    loaded = llava_faba.load_model(model)
    picture = open_image(asked[1] / "face00.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = llava_faba.predict(loaded, picture, "Which lips?", max_new_tokens=8).text
        assert Chat(loaded, picture).ask("Which lips?", max_new_tokens=8) == text
    with pytest.warns(UserWarning, match=r"'plain', and is asked with 'llava_v1'"):
        other = llava_faba.predict(loaded, picture, "Which lips?", conversation="llava_v1", max_new_tokens=8).text
    assert other != text
    with pytest.raises(UserError, match="'<image>'"):
        llava_faba.predict(loaded, picture, "Which lips?\n<image>")
    with pytest.raises(UserError, match="'<image>'"):
        Chat(loaded, picture).ask("<image> and?")
    chat = Chat(loaded, picture)
    chat.ask("Which lips?", max_new_tokens=2)
    with pytest.raises(UserError, match="has no turns"):
        chat.ask("And?")


def test_cut_answers_are_counted_and_marked(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLaVA#734: all cut, "0 failed", no mark."""
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(question) + "\n" for question in asked[2]))
    command = ["bench", "generate", "--model-path", str(asked[0]), "--question-file", str(tmp_path / "q.jsonl")]
    command += ["--image-folder", str(asked[1]), "--answers-file", str(tmp_path / "a.jsonl"), "--max-new-tokens", "3"]
    assert main(command) == 0
    assert "4 of 4 answers were cut at --max-new-tokens 3" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["metadata"]["finish_reason"] for line in lines] == ["length"] * 4
    assert main(command) == 0  # and again where all were answered before
    assert "4 of 4 answers were cut" in capsys.readouterr().out


def _edit_line(path: Path, **values: Any) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] |= values
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    "values",
    [
        {"text": "AU4."},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ({"text": ""}, {"text": None}, {"prompt": "Something?"})
        ),
    ],
)
def test_verify_compares_texts_with_tokens(asked: Any, tmp_path: Path, values: dict[str, Any]) -> None:
    """Edited by hand, and --verify all said "equal"."""
    _texts(asked[0], asked, tmp_path / "a.jsonl")
    settings = GenerateSettings(max_new_tokens=8)
    arguments = (str(asked[0]), asked[2], asked[1], tmp_path / "a.jsonl", settings)
    assert verify_answers(*arguments).different == []
    _edit_line(tmp_path / "a.jsonl", **values)
    for count in (1, None):  # all texts are compared, whatever the number that is asked again
        found = verify_answers(*arguments, count=count).different
        assert [difference.question_id for difference in found] == ["q01"] and "is not" in found[0].alone


@pytest.mark.parametrize(
    "tokens", [None, *(pytest.param(one, marks=pytest.mark.slow) for one in ("1 2", [1.5], [-1], [True]))]
)
def test_verify_of_tokens_that_are_none(asked: Any, tmp_path: Path, tokens: object) -> None:
    _texts(asked[0], asked, tmp_path / "a.jsonl")
    _edit_line(tmp_path / "a.jsonl", metadata={"token_ids": tokens})
    with pytest.raises(UserError, match="holds no token ids"):
        verify_answers(str(asked[0]), asked[2], asked[1], tmp_path / "a.jsonl", GenerateSettings(max_new_tokens=8))


@pytest.mark.parametrize("text", ["What AUs?\n<image>", "<image>\nWhat?", "Is <image> a face?"])
def test_the_images_place_inside_a_question(text: str) -> None:
    """A bare IndexError."""
    with pytest.raises(RecordError, match=r"question 1 \(id a\): '<image>' in its text"):
        check_questions([{"question_id": "a", "image": "a.jpg", "text": text}])


@pytest.mark.parametrize("error", [TypeError("unexpected keyword"), ZeroDivisionError("by zero"), KeyError("q_proj")])
def test_a_workers_error_reaches_the_user_as_what_it_is(
    asked: Any, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peft#2275: "killed for memory?" for a TypeError of a library."""
    from llava_faba.inference import workers

    class Queue(list[Any]):
        put = list.append

    def failing(*_: Any) -> None:
        raise error

    results = Queue()
    monkeypatch.setattr(workers, "_answer", failing)
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    workers._work(0, 1, None, None, results)  # type: ignore[arg-type]
    (failure,) = results
    monkeypatch.setattr(Queue, "get", lambda self, timeout: self.pop(), raising=False)
    with pytest.raises(UserError, match=type(error).__name__) as caught:
        workers._next(Queue([failure]), [], tmp_path / "errors.log")
    assert "memory" not in str(caught.value) and str(tmp_path / "errors.log") in str(caught.value)
    assert "Traceback" in (tmp_path / "errors.log").read_text()


def test_only_a_kill_is_called_one() -> None:
    from llava_faba.inference.workers import _how

    assert "memory" in _how(-9) and "memory" not in _how(1) and "SIGSEGV" in _how(-11) and "memory" not in _how(-11)


def test_a_projectors_only_checkpoint_is_known_by_its_base_too(copied: Path) -> None:
    from llava_faba.model.checkpoints import inspect_checkpoint

    folder, base = copied / "projectors", copied / "base"
    folder.mkdir()
    import torch

    adapter = copied / ADAPTER
    state = torch.load(adapter / "non_lora_trainables.bin", weights_only=True)
    torch.save({name: value for name, value in state.items() if "mm_projector" in name}, folder / "mm_projector.bin")
    projector = {name: value for name, value in state.items() if "landmark_feature_projector" in name}
    torch.save(projector, folder / "landmark_feature_projector.bin")
    config = json.loads((adapter / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": str(base)}))
    assert inspect_checkpoint(folder).is_projectors_only
    folders = model_folders(str(folder), None)
    assert base in folders
    before = fingerprint(folders)
    edit_config(base, initializer_range=0.03)
    assert fingerprint(model_folders(str(folder), None)) != before
