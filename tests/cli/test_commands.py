"""``llava-faba predict``, ``checkpoint merge`` and the way errors reach the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import ADAPTER, edit_config, llava_faba_command

from llava_faba.cli.main import COMMANDS, main

# Seconds of imports that nobody needs who asks a model (tests/benchmarks/bench_predict.py).
HEAVY = {"transformers.training_args", "torch._dynamo", "scipy", "sklearn", "pandas", "matplotlib", "skimage", "gradio"}


@pytest.fixture
def face(astronaut: Any, tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    astronaut.save(path)
    return path


def test_predict_prints_json_alone_on_standard_output(face_model, face, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    asked = ["predict", "--model-path", str(face_model), str(face), "--json", "--max-new-tokens", "5"]
    result = llava_faba_command(*asked)
    assert result.returncode == 0, result.stderr[-2000:]
    answer = json.loads(result.stdout)
    assert set(answer) == {"text", "status", "landmarks", "face", "named_values"} and answer["status"] == "found"
    assert len(answer["landmarks"]) == 68 and all(0 < value < 240 for point in answer["landmarks"] for value in point)
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if "import time:" in line}
    assert {"torch", "transformers.modeling_outputs"} < imported
    assert not imported & HEAVY


def test_predict_says_so_when_there_is_no_face(face_model, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (240, 240)).save(tmp_path / "dark.png")
    arguments = [
        "predict",
        "--model-path",
        str(face_model),
        str(tmp_path / "dark.png"),
        "--max-new-tokens",
        "3",
    ]
    assert main(arguments) == 0
    assert "[facial prior: not_found]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{tmp}/broken.png",), "broken.png: not a readable image"),
        (("{tmp}/absent.png",), "absent.png: this image does not exist"),
        (("{face}", "--conv-mode", "lava_v1"), "Did you mean 'llava_v1'"),
        (("{face}", "--model-path", "{tmp}/nothing"), "nothing: no such folder"),
        (("{face}", "--model-path", "{tmp}"), "config.json is missing"),
    ],
    ids=["broken image", "no image", "unknown template", "no model", "no config"],
)
def test_predict_names_what_is_wrong(face_model, face, tmp_path, capsys, arguments, told):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    filled = [argument.format(tmp=tmp_path, face=face) for argument in arguments]
    assert main(["predict", "--model-path", str(face_model), *filled]) == 2
    error = capsys.readouterr().err
    assert error.startswith("llava-faba predict: ") and told in error


def test_predict_with_an_expert_that_cannot_compute(copied, face, capsys):
    edit_config(copied / ADAPTER, facial_prior_expert="precomputed")
    assert main(["predict", "--model-path", str(copied / ADAPTER), str(face)]) == 2
    assert "cannot make its own" in capsys.readouterr().err


def test_merge_of_a_checkpoint_without_projector_writes_nothing(copied, capsys):
    (copied / ADAPTER / "landmark_feature_projector.bin").unlink()
    (copied / ADAPTER / "non_lora_trainables.bin").unlink()
    out = copied / "merged"
    assert main(["checkpoint", "merge", "--model-path", str(copied / ADAPTER), "--out", str(out)]) == 2
    assert "no facial prior projector" in capsys.readouterr().err and not out.exists()


def test_old_spellings_do_the_same_with_a_warning(copied, capsys, monkeypatch):
    """``merge --save-model-path`` and ``predict --image --conversation``, as they were before 0.2."""
    monkeypatch.chdir(copied)
    out = copied / "merged"
    assert (
        main(["merge", "--model-path", str(copied / ADAPTER), "--save-model-path", str(out), "--model-base=base"]) == 0
    )
    error = capsys.readouterr().err
    assert "checkpoint merge" in error and "--save-model-path is the old spelling of --out" in error
    assert (out / "config.json").exists()
    arguments = ["predict", "--model-path", "base", "--max-new-tokens", "2"]
    assert main([*arguments, "--conversation", "plain", "--image", "data/img/0.png"]) == 0
    old = capsys.readouterr()
    assert main([*arguments, "--conv-mode", "plain", "data/img/0.png"]) == 0
    new = capsys.readouterr()
    assert old.out == new.out and old.err.count("old spelling") == 2 and "old spelling" not in new.err


@pytest.mark.parametrize("command", ["predict", "chat"])
def test_align_is_refused_for_plain_llava(copied, capsys, monkeypatch, command):
    monkeypatch.chdir(copied)
    assert main([command, "--model-path", "base", "data/img/0.png", "--align"]) == 2
    assert "llava-faba align" in capsys.readouterr().err


def test_align_is_refused_where_the_expert_finds_no_face(copied):
    from PIL import Image

    from llava_faba.align.crop import align_face
    from llava_faba.errors import ExpertError
    from llava_faba.experts.insightface106 import Emola106Expert

    with pytest.raises(ExpertError, match="takes the whole picture"):
        align_face(Image.new("RGB", (32, 32)), Emola106Expert())


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:7", "cuda:x", ""])
def test_a_device_that_is_not_there_is_a_sentence(face_model, face, capsys, device):
    assert main(["predict", "--model-path", str(face_model), str(face), "--device", device]) == 2
    assert f"device '{device}'" in capsys.readouterr().err


def test_every_command_has_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0 and f"llava-faba {command}" in capsys.readouterr().out


def test_an_unknown_command_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predicted"])
    assert caught.value.code == 2 and "predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "questions", "{records}", "--out", "{file}/q.jsonl"),
        ("data", "stats", "{records}", "--output", "{file}/s.json"),
        ("priors", "extract", "{folder}", "--expert", "dlib-68", "--out", "{file}/store"),
        ("align", "{folder}", "--out", "{file}/crops"),
        ("doctor", "--output", "{file}/d.json"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path, face, capsys, arguments):
    """A file where a folder should be, for any command that writes: code 2, no traceback, the path named."""
    (tmp_path / "records.json").write_text(
        json.dumps([{"image": "face.png", "label": "1, 4", "gpt4": "AU1", "id": "a"}])
    )
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "face.png").write_bytes(face.read_bytes())
    places = {"records": tmp_path / "records.json", "file": tmp_path / "file", "folder": tmp_path / "folder"}
    assert main([argument.format(**places) for argument in arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"llava-faba {arguments[0]}: ") and str(tmp_path / "file") in last


@pytest.mark.parametrize(
    ("module", "line", "remedy"),
    [
        ("numpy", "priors info x", "pip install 'numpy>=1.24'"),
        (
            "torch",
            "checkpoint merge --model-path a --out b",
            "pip install 'torch>=2.0.1' 'transformers>=4.36.2' ",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_one_sentence_with_the_command_that_brings_it(
    tmp_path, module, line, remedy
):
    """As after 'pip install --no-deps', or without an extra."""
    hidden = (module, "torch", "transformers", "accelerate", "llava")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({hidden!r}))\n")
    done = llava_faba_command(*line.split(), path=tmp_path, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and f"needs {module}, which is not installed: {remedy}" in done.stderr
