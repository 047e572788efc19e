# ruff: noqa: E402 - what is imported late needs transformers 5
"""A model that ``attach`` made in the house's commands: trained, asked, its answers kept apart, refused by vLLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("trl")
pytest.importorskip("dlib")
yaml = pytest.importorskip("yaml")

from native.architectures import make
from tiny import make_faces, make_questions

from llava_faba.cli.main import main
from llava_faba.records.questions import read_jsonl

TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% if message.role == 'assistant' %}<eos>{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain LLaVA of transformers (``plain``), and in ``out/merged`` the same with a trained prior."""
    where = tmp_path_factory.mktemp("attached")
    model, processor = make("llava")
    processor.chat_template = TEMPLATE
    model.save_pretrained(where / "plain")
    processor.save_pretrained(where / "plain")
    names = make_faces(where / "images", 6)
    make_questions(where / "questions.jsonl", names)
    records = [
        {
            "id": str(number),
            "image": name,
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is the emotion of this face?"},
                {"from": "gpt", "value": f"The emotion of face {number}."},
            ],
        }
        for number, name in enumerate(names)
    ]
    (where / "train.json").write_text(json.dumps(records))
    store = ["priors", "extract", str(where / "images"), "--expert=dlib-68", f"--out={where / 'priors'}"]
    assert main(store) == 0
    settings = {
        "train": 1,
        "model": "plain",
        "records": "train.json",
        "image_folder": "images",
        "priors": "priors",
        "out": "out",
        "dtype": "float32",
        "max_length": 512,
        "learning_rate": 1e-2,
        "attach": {"normalization": "standardize"},
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "trainer": {"per_device_train_batch_size": 2, "max_steps": 3, "use_cpu": True, "save_strategy": "no"},
    }
    (where / "train.yaml").write_text(yaml.safe_dump(settings))
    assert main(["train", str(where / "train.yaml")]) == 0
    return where


def generate(where: Path, out: Path, *more: str, model: Path | None = None) -> int:
    return main(
        [
            *("bench", "generate", f"--model-path={model or where / 'out/merged'}", f"--out={out}", "--no-progress"),
            *(f"--question-file={where / 'questions.jsonl'}", f"--image-folder={where / 'images'}"),
            *("--max-new-tokens=8", "--device=cpu", "--dtype=float32", *more),
        ]
    )


def test_bench_generate_and_predict_answer_alike(trained: Path, tmp_path: Path, capsys: Any) -> None:
    """Stored priors, computed ones, and one picture at a time: the same answers."""
    stored, computed = tmp_path / "stored.jsonl", tmp_path / "computed.jsonl"
    assert generate(trained, stored, f"--priors={trained / 'priors'}", "--verify=all") == 0
    assert generate(trained, computed) == 0
    lines = read_jsonl(stored)
    assert [line["text"] for line in lines] == [line["text"] for line in read_jsonl(computed)]
    capsys.readouterr()
    for question, line in zip(read_jsonl(trained / "questions.jsonl"), lines, strict=True):
        asked = ["predict", str(trained / "images" / question["image"]), f"--question={question['text']}", "--json"]
        more = [f"--model-path={trained / 'out/merged'}", "--max-new-tokens=8", "--device=cpu", "--dtype=float32"]
        assert main([*asked, *more]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["text"], found["status"]) == (line["text"], "found")


def test_answers_of_another_tokenizer_are_not_taken_for_these(trained: Path, tmp_path: Path, capsys: Any) -> None:
    """The processor lies in a folder inside the model's."""
    copy, out = Path(shutil.copytree(trained / "out/merged", tmp_path / "copy")), tmp_path / "answers.jsonl"
    assert generate(trained, out, model=copy) == 0
    inner = copy / "base_processor" / "chat_template.jinja"
    inner.write_text(inner.read_text() + " ")
    assert generate(trained, out, model=copy) == 2
    assert "another" in capsys.readouterr().err


def test_vllm_is_refused_before_anything_is_loaded(trained: Path, tmp_path: Path, capsys: Any) -> None:
    assert generate(trained, tmp_path / "answers.jsonl", "--engine=vllm") == 2
    assert "attached to another model is not served by vLLM" in capsys.readouterr().err
    assert main(["serve", str(trained / "out/merged")]) == 2
    assert "attached to another model is not served by vLLM" in capsys.readouterr().err


def test_a_projector_without_weights_is_refused(trained: Path, tmp_path: Path, capsys: Any) -> None:
    """transformers would draw them at random, and answer."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(trained / "out/merged", tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "prior_projector.linear_2" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    assert generate(trained, tmp_path / "answers.jsonl", model=copy) == 2
    assert "prior_projector.linear_2" in capsys.readouterr().err
