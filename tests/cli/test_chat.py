"""A conversation in LLaVA's own CLI: real subprocess, real stdin, the prior computed inside the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import llava_faba
from llava_faba.demo.base import BaseSize, build_base

QUESTION = "What AUs are conveyed by this face?"


@pytest.fixture(scope="module")
def face(tmp_path_factory) -> Path:
    import skimage.data
    from PIL import Image

    path = tmp_path_factory.mktemp("face") / "face.png"  # E. Collins, NASA, public domain
    Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250)).save(path)
    return path


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Path:
    """A small untrained EmoLA with dlib-68 in its config, saved whole, under a name that LLaVA's CLI understands."""
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    root = tmp_path_factory.mktemp("model")
    size = BaseSize(hidden=64, layers=2, intermediate=128, vocabulary=400, vision_hidden=32)
    texts = [f"AU{n}: the brows are raised. {QUESTION}" for n in range(30)] * 5
    build_base(root / "base", root / "tower", texts, size)
    values = json.loads((root / "base/config.json").read_text())
    config = EmolaConfig.from_dict(
        {
            **values,
            "model_type": "emollava",
            "mm_vision_tower": str(root / "tower"),
            "mm_hidden_size": 32,
            "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_layer": -2,
            "mm_use_im_patch_token": False,
            "mm_use_im_start_end": False,
            "image_aspect_ratio": "pad",
            "landmark_feature_hidden_size": 136,
            "facial_prior_expert": "dlib-68",
        }
    )
    torch.manual_seed(3)
    model = EmolaLlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if "landmark" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    folder = root / "llava-v1-emola"
    model.save_pretrained(folder)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        (folder / name).write_bytes((root / "base" / name).read_bytes())
    return folder


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llava_faba", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def generate(model, tokenizer, processor, picture: Path, prior: np.ndarray) -> str:
    from PIL import Image

    from llava_faba.inference.answer import preprocess, prompt_ids

    images = preprocess([Image.open(picture).convert("RGB")], processor, model)
    output = model.generate(
        torch.tensor([prompt_ids(QUESTION, tokenizer, model.config)]),
        images=images,
        facial_priors=torch.from_numpy(prior)[None],
        do_sample=False,
        max_new_tokens=20,
    )
    return tokenizer.decode(output[0], skip_special_tokens=True).strip()


def test_cli_answer_equals_generate_with_the_stored_prior(merged, face, tmp_path):
    from llava_faba.priors.extract import extract
    from llava_faba.priors.store import PriorStore

    extract([face.name], face.parent, tmp_path / "store", expert="dlib-68")
    store = PriorStore.open(tmp_path / "store")
    assert store.status(face.name) == "found"
    llava_faba.register()
    try:
        from llava.model.builder import load_pretrained_model

        tokenizer, model, processor, _ = load_pretrained_model(str(merged), None, merged.name, device="cpu")
    finally:
        llava_faba.unregister()
    expected = generate(model, tokenizer, processor, face, store.get(face.name))
    assert expected != generate(model, tokenizer, processor, face, np.zeros(136, np.float32))
    result = run(
        *("run", "llava.serve.cli", "--model-path", str(merged), "--image-file", str(face), "--device", "cpu"),
        *("--temperature", "0", "--max-new-tokens", "20"),
        stdin=f"{QUESTION}\nAnd why?\n\n",
    )
    assert result.returncode == 0, result.stderr[-2000:]
    turns = result.stdout.split("ASSISTANT: ")
    assert len(turns) == 3
    assert turns[1].rsplit("USER:", 1)[0].strip() == expected


def test_predict_prints_text_landmarks_and_status(merged, face):
    result = run("predict", "--model-path", str(merged), "--image", str(face), "--json", "--max-new-tokens", "5")
    assert result.returncode == 0, result.stderr[-2000:]
    answer = json.loads(result.stdout.strip().splitlines()[-1])
    assert answer["status"] == "found" and len(answer["landmarks"]) == 68


def test_predict_names_an_unreadable_image(merged, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no picture")
    result = run("predict", "--model-path", str(merged), "--image", str(tmp_path / "no.png"))
    assert result.returncode == 2 and "no.png: not a readable image" in result.stderr


def test_aligned_crops_are_upright_and_resumable(face, tmp_path):
    from PIL import Image

    from llava_faba.align.crop import _eye_angle
    from llava_faba.experts import Picture, create_expert

    (tmp_path / "in/sub").mkdir(parents=True)
    Image.open(face).rotate(20, resample=Image.Resampling.BICUBIC).save(tmp_path / "in/sub/turned.png")
    Image.new("RGB", (200, 200)).save(tmp_path / "in/empty.png")
    (tmp_path / "in/broken.jpg").write_bytes(b"no picture")
    result = run("align", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--size", "240")
    assert result.returncode == 0, result.stderr
    crop = np.asarray(Image.open(tmp_path / "out/sub/turned.png"))
    points = create_expert("dlib-68").extract([Picture.whole(crop)]).landmarks[0]
    assert points is not None and abs(np.degrees(_eye_angle(points))) < 3
    lines = [json.loads(line) for line in (tmp_path / "out/align.jsonl").read_text().splitlines()]
    assert {line["image"]: line["status"] for line in lines} == {
        "broken.jpg": "unreadable",
        "empty.png": "not_found",
        "sub/turned.png": "found",
    }
    run("align", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert len((tmp_path / "out/align.jsonl").read_text().splitlines()) == 3


def test_unknown_module_and_doctor():
    unknown = run("run", "llava.serve.no_such")
    assert unknown.returncode == 2 and "no module named" in unknown.stderr
    doctor = run("doctor", "--json")
    findings = json.loads(doctor.stdout[doctor.stdout.index("[\n") :])
    assert doctor.returncode == 0
    assert {"versions", "llava", "seams", "deepspeed", "expert dlib-68"} <= {finding["name"] for finding in findings}


def test_doctor_shows_the_import_error_that_llava_hides(tmp_path):
    (tmp_path / "peft").mkdir()
    (tmp_path / "transformers.py").write_text("raise RuntimeError('broken on purpose')")
    result = subprocess.run(
        [sys.executable, "-m", "llava_faba", "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert result.returncode == 1 and "broken on purpose" in result.stdout
