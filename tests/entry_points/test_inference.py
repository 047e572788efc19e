"""LLaVA's programs that answer, by ``llava-faba run`` and in a patched LLaVA: EmoLA answers, with the face's prior."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ADAPTER, IMAGE_TOKEN, run_python

QUESTION = "What AUs are conveyed by this face?"
TOKENS = 20
both_ways = pytest.mark.parametrize("start", ["run", "hook"], indirect=True)

# LLaVA's README, "Quick Start With HuggingFace"; on a CPU, and with a shorter answer.
README = """
import sys
from llava.model.builder import load_pretrained_model
from llava.mm_utils import get_model_name_from_path
from llava.eval.run_llava import eval_model

model_path, image_file, prompt, tokens = sys.argv[1:]
tokenizer, model, image_processor, context_len = load_pretrained_model(
    model_path=model_path, model_base=None, model_name=get_model_name_from_path(model_path)
)
print(type(model).__name__, context_len)
eval_model(type("Args", (), {
    "model_path": model_path, "model_base": None, "model_name": get_model_name_from_path(model_path),
    "query": prompt, "conv_mode": None, "image_file": image_file, "sep": ",", "temperature": 0, "top_p": None,
    "num_beams": 1, "max_new_tokens": int(tokens),
})())
"""


@pytest.fixture(scope="module")
def face(astronaut: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    astronaut.save(path)
    return path


@pytest.fixture(scope="module")
def expected(face_model: Path, face: Path) -> str:
    """The greedy answer of ``generate`` with the face's prior given, not computed; it is heard in the answer."""
    from PIL import Image

    import llava_faba
    from llava_faba.experts import create_expert
    from llava_faba.experts.base import Picture

    picture = Image.open(face).convert("RGB")
    result = create_expert("dlib-68").extract([Picture.whole(np.asarray(picture))])
    assert result.statuses == ["found"]
    llava_faba.register()
    try:
        answer = generate(face_model, picture, result.features)
        assert answer != generate(face_model, picture, np.zeros_like(result.features))
    finally:
        llava_faba.unregister()
    return answer


def generate(folder: Path, picture: Any, priors: np.ndarray) -> str:
    """What LLaVA's programs do for an answer: its loader, its prompt, float16."""
    import torch
    from llava.conversation import conv_templates
    from llava.mm_utils import process_images, tokenizer_image_token
    from llava.model.builder import load_pretrained_model

    tokenizer, model, processor, _ = load_pretrained_model(str(folder), None, folder.name, device="cpu")
    conversation = conv_templates["llava_v1"].copy()
    conversation.append_message(conversation.roles[0], f"<image>\n{QUESTION}")
    conversation.append_message(conversation.roles[1], None)
    ids = tokenizer_image_token(conversation.get_prompt(), tokenizer, IMAGE_TOKEN, return_tensors="pt")[None]
    images = process_images([picture], processor, model.config).half()
    output = model.generate(
        ids, images=images, facial_priors=torch.from_numpy(priors), do_sample=False, max_new_tokens=TOKENS
    )
    return tokenizer.decode(output[0], skip_special_tokens=True).strip()


@both_ways
@pytest.mark.slow
def test_serve_cli(start, face_model, face, expected):
    flags = ("--device", "cpu", "--temperature", "0", "--max-new-tokens", str(TOKENS))
    said = f"{QUESTION}\nAnd why?\n\n"
    result = start("llava.serve.cli", "--model-path", str(face_model), "--image-file", str(face), *flags, stdin=said)
    turns = [turn.rsplit("USER:", 1)[0].strip() for turn in result.stdout.split("ASSISTANT: ")[1:]]
    assert len(turns) == 2 and turns[0] == expected and "exit..." in result.stdout


@pytest.mark.newest
def test_a_patched_cli_remembers_its_answers(patched, face_model, face, expected):
    flags = ("--device", "cpu", "--temperature", "0", "--max-new-tokens", str(TOKENS), "--debug")
    said = f"{QUESTION}\nAnd why?\n\n"
    named = ("--model-path", str(face_model), "--image-file", str(face))
    result = run_python("-m", "llava.serve.cli", *named, *flags, stdin=said, path=patched)
    assert result.returncode == 0, result.stderr[-3000:]
    turns = [ast.literal_eval(line.strip()) for line in result.stdout.splitlines() if line.startswith(" {'prompt':")]
    assert [turn["outputs"] for turn in turns][:1] == [expected] and len(turns) == 2
    assert turns[1]["prompt"] == turns[0]["prompt"] + f" {expected}</s>USER: And why? ASSISTANT:"


@both_ways
@pytest.mark.slow
def test_eval_run_llava(start, face_model, face, expected):
    flags = ("--temperature", "0", "--max_new_tokens", str(TOKENS), "--query", QUESTION)
    result = start("llava.eval.run_llava", "--model-path", str(face_model), "--image-file", str(face), *flags)
    assert result.stdout.strip().endswith(expected)


@both_ways
@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "flags"),
    [("llava.eval.model_vqa", ()), ("llava.eval.model_vqa_loader", ("--max_new_tokens", str(TOKENS)))],
)
def test_eval_model_vqa(start, face_model, face, expected, tmp_path, program, flags):
    question = {"question_id": "q7", "image": face.name, "text": QUESTION}
    (tmp_path / "q.jsonl").write_text(json.dumps(question) + "\n")
    start(
        *(program, "--model-path", str(face_model), "--image-folder", str(face.parent), "--temperature", "0", *flags),
        *("--question-file", "q.jsonl", "--answers-file", "./a.jsonl"),
        cwd=tmp_path,
    )
    (answer,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert answer["question_id"] == "q7" and answer["prompt"] == QUESTION
    assert answer["text"].startswith(expected)


@both_ways
@pytest.mark.slow
def test_python_as_in_llavas_readme(start, face_model, face, expected, tmp_path):
    (tmp_path / "readme.py").write_text(README)
    result = start(str(tmp_path / "readme.py"), str(face_model), str(face), QUESTION, str(TOKENS), cwd=tmp_path)
    assert "EmolaLlamaForCausalLM 2048" in result.stdout and result.stdout.strip().endswith(expected)


# Of LLaVA's scripts/merge_lora_weights.py, which the wheel does not hold, the calls.
MERGE = """
import sys
from llava.model.builder import load_pretrained_model
from llava.mm_utils import get_model_name_from_path

path, base, merged = sys.argv[1:]
tokenizer, model, _, _ = load_pretrained_model(path, base, get_model_name_from_path(path), device_map="cpu")
model.save_pretrained(merged)
tokenizer.save_pretrained(merged)
"""


@both_ways
@pytest.mark.slow
def test_merge_lora_weights(start, copied):
    import torch

    import llava_faba

    (copied / "merge.py").write_text(MERGE)
    start("merge.py", ADAPTER, "base", "llava-merged", cwd=copied)
    ours = llava_faba.load_model(copied / ADAPTER, copied / "base", dtype=torch.float16)[1].state_dict()
    (copied / "base").rename(copied / "gone")
    merged = llava_faba.load_model(copied / "llava-merged", dtype=torch.float16)[1].state_dict()
    assert merged.keys() == ours.keys() and any("landmark_feature_projector" in name for name in merged)
    assert all(torch.equal(merged[name], ours[name]) for name in merged if "vision_tower" not in name)
