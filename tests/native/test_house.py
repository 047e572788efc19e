# ruff: noqa: E402 - what is imported late needs transformers 5
"""A folder of transformers in the rest of the house: load_model, predict, chat. None of it needs LLaVA."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("dlib")

from native.folders import convert, make_source, prompt_of
from PIL import Image
from support import llava_faba_command

import llava_faba
from llava_faba.errors import CheckpointError, UserError
from llava_faba.inference.native import NativeChat


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("house")
    return convert(make_source(where, golden), where / "hf")


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import skimage.data

    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.fromarray(skimage.data.astronaut()).crop((60, 0, 460, 280)).save(path)  # NASA, public domain
    return path


def test_load_model_takes_either_home(folder: Path) -> None:
    loaded = llava_faba.load_model(folder, dtype="bfloat16", device="auto")
    tokenizer, model, processor, context = loaded
    assert model.dtype == torch.bfloat16 and not model.training and context == 1024
    assert processor.tokenizer is tokenizer and loaded.image_processor.prior_size == 136
    with pytest.raises(UserError, match="model_base"):
        llava_faba.load_model(folder, "base")


def test_predict_asks_as_transformers_is_asked(folder: Path, face: Path) -> None:
    loaded = llava_faba.load_model(folder)
    said = llava_faba.predict(loaded, face, "What emotions are conveyed by this face?", max_new_tokens=12)
    _, model, processor, _ = loaded
    prompt = prompt_of(processor, "What emotions are conveyed by this face?")
    inputs = processor(images=Image.open(face).convert("RGB"), text=prompt, return_tensors="pt")
    made = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    assert said.text == processor.decode(made, skip_special_tokens=True).strip() and said.text
    assert said.status == "found" and said.landmarks.shape == (68, 2)
    again = llava_faba.predict(str(folder), face, "What emotions are conveyed by this face?", max_new_tokens=12)
    assert again.text == said.text and (again.landmarks == said.landmarks).all()


def test_predict_aligns_and_tells_of_no_face(folder: Path, face: Path, tmp_path: Path) -> None:
    loaded = llava_faba.load_model(folder)
    aligned = llava_faba.predict(loaded, face, "Who?", align=True, max_new_tokens=4)
    plain = llava_faba.predict(loaded, face, "Who?", max_new_tokens=4)
    assert aligned.status == plain.status == "found" and (aligned.landmarks != plain.landmarks).any()
    nobody = llava_faba.predict(loaded, Image.new("RGB", (200, 300), "green"), "Who?", max_new_tokens=4)
    assert nobody.status == "not_found" and nobody.landmarks is None
    with pytest.raises(UserError, match="conv-mode"):
        llava_faba.predict(loaded, face, "Who?", conversation="vicuna_v1")
    with pytest.raises(UserError, match="<image>"):
        llava_faba.predict(loaded, face, "Who is in <image>?")


def test_a_conversation_knows_its_turns(folder: Path, face: Path) -> None:
    loaded = llava_faba.load_model(folder)
    picture, pieces = Image.open(face).convert("RGB"), []
    chat = NativeChat(loaded, picture)
    first = chat.ask("Which AUs?", max_new_tokens=8, on_text=pieces.append)
    assert "".join(pieces).strip() == first
    second = chat.ask("And the emotion?", max_new_tokens=8)
    _, model, processor, _ = loaded
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which AUs?"}]},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And the emotion?"},
    ]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    assert prompt.endswith(f"ASSISTANT: {first}</s>USER: And the emotion? ASSISTANT:")
    inputs = processor(images=picture, text=prompt, return_tensors="pt")
    made = model.generate(**inputs, do_sample=False, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
    assert second == processor.decode(made, skip_special_tokens=True).strip()


def test_the_chat_command(folder: Path, face: Path, tmp_path: Path) -> None:
    asked = ["chat", str(face), "--model-path", str(folder), "--max-new-tokens", "6", "--device", "cpu"]
    done = llava_faba_command(*asked, cwd=tmp_path, stdin="Which AUs?\nWhy?\n\n")
    assert done.returncode == 0, done.stderr
    assert "68 landmarks" in done.stdout and done.stdout.count("ASSISTANT:") == 2
    assert (tmp_path / "face.landmarks.png").is_file()
    wrong = llava_faba_command(*asked, "--conv-mode", "mpt", cwd=tmp_path)
    assert wrong.returncode == 2 and "--conv-mode" in wrong.stderr and "Traceback" not in wrong.stderr


def test_the_predict_command(folder: Path, face: Path) -> None:
    asked = ["predict", str(face), "--model-path", str(folder), "--max-new-tokens", "6", "--device", "cpu", "--json"]
    plain, aligned = (llava_faba_command(*asked, *more) for more in ([], ["--align"]))
    assert plain.returncode == aligned.returncode == 0, plain.stderr + aligned.stderr
    said, other = json.loads(plain.stdout), json.loads(aligned.stdout)
    assert said["status"] == "found" and len(said["landmarks"]) == 68 and said["landmarks"] != other["landmarks"]
    expected = llava_faba.predict(str(folder), face, "What AUs are conveyed by this face?", max_new_tokens=6)
    assert said["text"] == expected.text
    wrong = llava_faba_command(*asked, "--conv-mode", "vicuna_v1")
    assert wrong.returncode == 2 and "--conv-mode" in wrong.stderr and "Traceback" not in wrong.stderr


def test_broken_folders_are_named(folder: Path, golden: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="broken"):
        llava_faba.load_model(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="broken"):
        llava_faba.load_model(broken)
    done = llava_faba_command("checkpoint", "merge", "--model-path", str(folder), "--out", str(tmp_path / "merged"))
    assert done.returncode == 2 and "Traceback" not in done.stderr and not (tmp_path / "merged").exists()


def test_no_llava_is_needed(folder: Path, face: Path) -> None:
    code = (
        "import sys, llava_faba\n"
        f"said = llava_faba.predict({str(folder)!r}, {str(face)!r}, 'Who?', max_new_tokens=3)\n"
        "print(any(name.split('.')[0] in ('llava', 'torchvision') for name in sys.modules))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.split()[-1] == "False", done.stderr
    assert json.loads((folder / "config.json").read_text())["model_type"] == "emola"
