"""``llava-faba run``: LLaVA's own modules, unmodified, in real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import IMAGE_TOKEN, llava_faba_command

import llava_faba
from llava_faba.cli.main import main
from llava_faba.errors import UserError
from llava_faba.registration.runner import run_program

QUESTION = "What AUs are conveyed by this face?"
TOKENS = 20


@pytest.fixture
def face(astronaut: Any, tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    astronaut.save(path)
    return path


def stored_prior(face: Path, folder: Path) -> np.ndarray:
    """The face's prior by way of ``priors extract`` and its store."""
    from llava_faba.priors.extract import extract
    from llava_faba.priors.store import PriorStore

    extract([face.name], face.parent, folder / "store", expert="dlib-68")
    store = PriorStore.open(folder / "store")
    assert store.status(face.name) == "found"
    return store.get(face.name)


def generate(loaded: Any, face: Path, prior: np.ndarray) -> str:
    """What LLaVA's CLI does for its first answer, with the prior given instead of computed."""
    from llava.conversation import conv_templates
    from llava.mm_utils import process_images, tokenizer_image_token
    from PIL import Image

    tokenizer, model, processor, _ = loaded
    conversation = conv_templates["llava_v1"].copy()
    conversation.append_message(conversation.roles[0], f"<image>\n{QUESTION}")
    conversation.append_message(conversation.roles[1], None)
    ids = tokenizer_image_token(conversation.get_prompt(), tokenizer, IMAGE_TOKEN, return_tensors="pt")[None]
    images = process_images([Image.open(face).convert("RGB")], processor, model.config).half()
    output = model.generate(
        ids, images=images, facial_priors=torch.from_numpy(prior)[None], do_sample=False, max_new_tokens=TOKENS
    )
    return tokenizer.decode(output[0], skip_special_tokens=True).strip()


def chat(model: Path, face: Path, said: str) -> list[str]:
    """The assistant's turns in a conversation with LLaVA's own command line."""
    result = llava_faba_command(
        *("run", "llava.serve.cli", "--model-path", str(model), "--image-file", str(face), "--device", "cpu"),
        *("--temperature", "0", "--max-new-tokens", str(TOKENS)),
        stdin=said,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "exit..." in result.stdout
    return [turn.rsplit("USER:", 1)[0].strip() for turn in result.stdout.split("ASSISTANT: ")[1:]]


def test_a_conversation_about_a_face_equals_generate_with_the_stored_prior(face_model, face, tmp_path, registered):
    from llava.model.builder import load_pretrained_model

    loaded = load_pretrained_model(str(face_model), None, face_model.name, device="cpu")
    prior = stored_prior(face, tmp_path)
    expected = generate(loaded, face, prior)
    assert expected != generate(loaded, face, np.zeros_like(prior))
    turns = chat(face_model, face, f"{QUESTION}\nAnd why?\n\n")
    assert len(turns) == 2
    assert turns[0] == expected


def test_a_module_runs_as_main_with_its_own_arguments(tmp_path, monkeypatch, capsys):
    (tmp_path / "some_module.py").write_text(
        "import sys\nfrom llava.model import builder\n"
        "print(__name__, sys.argv[1:], builder.load_pretrained_model.__llava_faba_seam__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.argv)
    try:
        assert main(["run", "some_module", "--temperature", "0", "--", "-x"]) == 0
    finally:
        llava_faba.unregister()
    assert capsys.readouterr().out.split("\n")[0] == "__main__ ['--temperature', '0', '--', '-x'] builder-load"
    assert sys.argv == before


def test_arguments_are_restored_when_the_module_fails(tmp_path, monkeypatch):
    (tmp_path / "failing_module.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.argv)
    try:
        with pytest.raises(SystemExit) as caught:
            run_program("failing_module", ["x"])
    finally:
        llava_faba.unregister()
    assert caught.value.code == 3 and sys.argv == before


@pytest.mark.parametrize(
    "name", ["llava.serve.no_such", "no_such_package.at_all", "llava.constants.nothing", ".cli", ""]
)
def test_an_unknown_module_is_an_error_with_a_hint(name, capsys):
    try:
        assert main(["run", name]) == 2
    finally:
        llava_faba.unregister()
    error = capsys.readouterr().err
    assert f"no module named '{name}'" in error and "llava.serve.cli" in error


def test_a_package_that_is_no_program_is_an_error_too(registered):
    with pytest.raises(UserError, match=r"'llava\.serve' is a package"):
        run_program("llava.serve", [])
