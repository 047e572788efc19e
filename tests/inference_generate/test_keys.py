"""Keys: every thing that an answer depends on makes another key, and nothing else does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import ADAPTER_NAME

from llava_faba.errors import RecordError
from llava_faba.inference.generate import _keys
from llava_faba.inference.keys import answer_key
from llava_faba.inference.settings import GenerateSettings
from llava_faba.model.fingerprint import fingerprint, model_folders
from llava_faba.records.questions import check_questions


@pytest.fixture
def model(bench: Any, tmp_path: Path) -> Path:
    """A copy of the model, its base and its tower, found beside it."""
    shutil.copytree(bench.model.parent, tmp_path / "m")
    adapter = tmp_path / "m" / ADAPTER_NAME
    edit(adapter / "config.json", mm_vision_tower="tower")
    edit(adapter / "adapter_config.json", base_model_name_or_path="base")
    return adapter


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def print_of(model: Path) -> str:
    return fingerprint(model_folders(str(model), None))


def test_base_and_tower_belong_to_the_model(model):
    assert [folder.name for folder in model_folders(str(model), None)] == [ADAPTER_NAME, "base", "tower"]


@pytest.mark.parametrize(
    "file",
    [
        f"{ADAPTER_NAME}/adapter_model.safetensors",
        f"{ADAPTER_NAME}/non_lora_trainables.bin",
        "base/model.safetensors",
        "tower/model.safetensors",
    ],
)
def test_one_byte_in_the_middle_of_any_weights_is_another_model(model, file):
    before = print_of(model)
    path = model.parent / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert print_of(model) != before


def test_a_config_is_part_of_the_model(model):
    before = print_of(model)
    edit(model / "config.json", facial_prior_normalization="pose")
    assert print_of(model) != before


def test_what_training_left_behind_is_not(model):
    before = print_of(model)
    for name in ("trainer_state.json", "training_args.bin", "README.md", "optimizer.pt"):
        (model / name).write_text("x")
    assert print_of(model) == before


def test_the_same_model_elsewhere_is_the_same(model, tmp_path):
    before = print_of(model)
    (model.parent).rename(tmp_path / "moved")
    assert print_of(tmp_path / "moved" / ADAPTER_NAME) == before


def keys(bench: Any, folder: Path | None = None, questions: Any = None, **settings: Any) -> dict[str, str]:
    values = GenerateSettings(**settings)
    return _keys(print_of(bench.model), questions or bench.questions, folder or bench.images, values)


def test_settings_that_change_texts_change_keys(bench):
    known = keys(bench)
    assert len(set(known.values())) == len(bench.questions)
    for settings in ({"dtype": "bfloat16"}, {"max_new_tokens": 7}, {"conversation": "plain"}):
        assert not set(known.values()) & set(keys(bench, **settings).values()), settings
    assert keys(bench, batch_size=3, workers=5, device="cuda") == known


def test_an_answer_by_the_towers_prior_is_not_taken_over(bench):
    """Before decision 63 LLaVA's engine computed priors from what the tower sees, and its answers had this key."""
    settings = GenerateSettings(max_new_tokens=8, device="cpu", dtype="float32")
    question = bench.questions[0]
    parts = [question["text"], print_of(bench.model), *settings.key_parts()]
    before = answer_key(bench.images / question["image"], parts)
    assert _keys(print_of(bench.model), [question], bench.images, settings) != {question["question_id"]: before}


def test_image_and_question_change_their_own_key_only(bench, tmp_path):
    known = keys(bench)
    shutil.copytree(bench.images, tmp_path / "images")
    shutil.copy(bench.images / bench.questions[1]["image"], tmp_path / "images" / bench.questions[0]["image"])
    changed = keys(bench, tmp_path / "images")
    assert [name for name in known if known[name] != changed[name]] == ["q00"]
    other = [{**bench.questions[0], "text": "Why?"}, *bench.questions[1:]]
    changed = keys(bench, questions=other)
    assert [name for name in known if known[name] != changed[name]] == ["q00"]


def test_another_stored_prior_is_another_key(bench, tmp_path):
    from llava_faba.experts.dlib68 import Dlib68Expert
    from llava_faba.priors.extract import extract

    class Moved(Dlib68Expert):
        def extract(self, pictures):
            result = super().extract(pictures)
            result.features[0] += 0.1
            return result

    names = [question["image"] for question in bench.questions[:2]]
    extract(names, bench.images, tmp_path / "one", expert="dlib-68")
    extract(names, bench.images, tmp_path / "two", expert=Moved())
    one = keys(bench, store=str(tmp_path / "one"))
    two = keys(bench, store=str(tmp_path / "two"))
    assert one["q00"] != two["q00"] and one["q01"] == two["q01"]
    assert one["q01"] != keys(bench)["q01"] and one["q02"] == keys(bench)["q02"]


def test_an_image_that_cannot_be_read_has_a_key_all_the_same(tmp_path):
    assert answer_key(tmp_path / "absent.jpg", []) == answer_key(tmp_path, [])


@pytest.mark.parametrize(
    ("questions", "told"),
    [
        ([{"image": "a", "text": "b"}], "question 1 is not an object with a 'question_id'"),
        (["a"], "question 1 is not an object"),
        ([{"question_id": 1, "text": "b"}], r"question 1 \(id 1\): 'image' is missing"),
        ([{"question_id": 1, "image": "a", "text": ""}], "'text' is missing"),
        (
            [{"question_id": 1, "image": "a", "text": "b"}, {"question_id": "1", "image": "a", "text": "b"}],
            "used twice",
        ),
    ],
)
def test_questions_that_are_none(questions, told):
    with pytest.raises(RecordError, match=told):
        check_questions(questions)
