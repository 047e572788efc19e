"""``llava-faba chat``: a conversation in a real process, its landmarks, and what the commands of LLaVA do instead."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import IMAGE_TOKEN, llava_faba_command

import llava_faba
from llava_faba.cli.main import main
from llava_faba.inference.chat import Chat

QUESTIONS = ("What AUs are conveyed by this face?", "And why?", "Which lips?")
TOKENS = 20


@pytest.fixture(scope="module")
def loaded(face_model: Path) -> Any:
    return llava_faba.load_model(face_model)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(loaded: Any, picture: Any, questions: tuple[str, ...], prior: np.ndarray) -> list[str]:
    """Each answer by ``model.generate`` on the whole conversation so far, with the given prior."""
    from llava.conversation import conv_templates
    from llava.mm_utils import process_images, tokenizer_image_token

    tokenizer, model, processor, _ = loaded
    conversation = conv_templates["llava_v1"].copy()
    answers = []
    for number, question in enumerate(questions):
        conversation.append_message("USER", question if number else f"<image>\n{question}")
        conversation.append_message("ASSISTANT", None)
        output = model.generate(
            tokenizer_image_token(conversation.get_prompt(), tokenizer, IMAGE_TOKEN, return_tensors="pt")[None],
            images=process_images([picture], processor, model.config),
            facial_priors=torch.from_numpy(prior),
            do_sample=False,
            max_new_tokens=TOKENS,
        )
        answers.append(tokenizer.decode(output[0], skip_special_tokens=True).strip())
        conversation.messages[-1][-1] = answers[-1]
    return answers


def prior_of(picture: Any) -> np.ndarray:
    from llava_faba.experts import Picture, create_expert

    return create_expert("dlib-68").extract([Picture.whole(np.asarray(picture))]).features


def turns(printed: str) -> list[str]:
    return [turn.rsplit("USER:", 1)[0].strip() for turn in printed.split("ASSISTANT: ")[1:]]


def said(monkeypatch: Any, capsys: Any, stdin: str, *arguments: str) -> tuple[int, str, str]:
    """The command in this process, its exit code, standard output and error."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    code = main(["chat", "--max-new-tokens", str(TOKENS), *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_conversation_remembers_its_answers_and_draws_the_landmarks(face_model, loaded, astronaut, tmp_path):
    astronaut.save(tmp_path / "face.png")
    result = llava_faba_command(
        *("chat", "--model-path", str(face_model), "--image-file", "face.png", "--max-new-tokens", str(TOKENS)),
        cwd=tmp_path,
        stdin="\n".join(QUESTIONS) + "\n\nnot read\n",
    )
    assert result.returncode == 0, result.stderr[-2000:]
    prior = prior_of(astronaut)
    assert turns(result.stdout) == expected(loaded, astronaut, QUESTIONS, prior)
    assert turns(result.stdout) != expected(loaded, astronaut, QUESTIONS, np.zeros_like(prior))
    assert result.stdout.startswith("A face was found; its 68 landmarks are drawn in face.landmarks.png.\n")
    assert result.stdout.rstrip().endswith("exit...")
    check_dots(tmp_path / "face.landmarks.png", astronaut, prior)


def check_dots(path: Path, picture: Any, prior: np.ndarray) -> None:
    """Each of the prior's points is green in the drawing, which is 512 pixels wide."""
    from llava_faba.experts import create_expert

    points = create_expert("dlib-68").landmarks(prior[0], picture.size) * (512 / picture.width)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape[1] == 512
    for x, y in points[:, :2]:
        red, green, blue = pixels[int(y), int(x)]
        assert green > 180 and green > red + 60 and green > blue + 60


def test_no_face_is_said(face_model, loaded, here, monkeypatch, capsys):
    nobody = Image.new("RGB", (240, 240), (120, 110, 100))
    nobody.save("wall.png")
    arguments = ("--model-path", str(face_model), "--image-file", "wall.png")
    code, out, _ = said(monkeypatch, capsys, "Which lips?\n", *arguments)
    assert code == 0 and "No face was found in wall.png" in out and "try --align" in out
    assert turns(out) == expected(loaded, nobody, ("Which lips?",), np.zeros((1, 136), np.float32))
    assert not list(here.glob("*landmarks*"))


@pytest.mark.parametrize("align", [(), ("--align",)], ids=["as it is", "aligned"])
def test_of_several_faces_it_says_which_one_is_read(face_model, here, two_faces, monkeypatch, capsys, align):
    two_faces.save("both.png")
    arguments = ("--model-path", str(face_model), "--image-file", "both.png", *align)
    code, out, _ = said(monkeypatch, capsys, "", *arguments)
    told = re.search(r"The picture shows several faces; the one at x (\d+) to (\d+), y \d+ to \d+ was read\.", out)
    assert code == 0 and told is not None, out
    assert int(told[2]) < 145 or int(told[1]) > 145  # around one of the two


def test_a_photograph_is_aligned_and_the_drawing_shows_the_crop(face_model, here, astronaut, monkeypatch, capsys):
    photograph = Image.new("RGB", (700, 500), (90, 120, 90))
    photograph.paste(astronaut, (400, 200))
    photograph.save("photo.jpg", quality=95)
    arguments = (
        "--model-path",
        str(face_model),
        "--image-file",
        "photo.jpg",
        "--align",
        "--landmarks-file",
        "out/x.png",
    )
    code, out, _ = said(monkeypatch, capsys, "", *arguments)
    assert code == 0 and "68 landmarks are drawn in out/x.png" in out
    drawing = Image.open(here / "out" / "x.png")
    assert drawing.size[0] == 512
    share = (np.asarray(drawing.convert("RGB"))[:512] == (90, 120, 90)).all(axis=2).mean()
    assert share < 0.2  # the photograph's background is cut off; uncropped it fills two thirds


def test_plain_llava_talks_without_a_prior(copied, monkeypatch, capsys):
    monkeypatch.chdir(copied)
    code, out, _ = said(monkeypatch, capsys, "Why?\n", "--model-path", "base", "--image-file", "data/img/0.png")
    assert code == 0 and "plain LLaVA" in out and len(turns(out)) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--image-file", "gone.png"), "gone.png: this image does not exist"),
        (("--image-file", "face.png", "--conversation", "llava_v2"), "Did you mean 'llava_v"),
        (("--image-file", "face.png", "--landmarks-file", "face.png/x.png"), "name a --landmarks-file"),
        (("--image-file", "face.png", "--landmarks-file", "landmarks.xyz"), "name a --landmarks-file"),
    ],
    ids=["no picture", "no template", "no folder", "no format"],
)
def test_what_cannot_be_done_is_an_error_with_a_hint(face_model, here, astronaut, monkeypatch, capsys, arguments, told):
    astronaut.save("face.png")
    code, _, err = said(monkeypatch, capsys, "Why?\n", "--model-path", str(face_model), *arguments)
    last = err.splitlines()[-1]  # transformers 5 shows a bar while it loads
    assert code == 2 and last.startswith("llava-faba chat: ") and told in last


def test_text_comes_in_pieces_and_sampling_is_seeded(loaded, astronaut):
    pieces: list[str] = []
    answer = Chat(loaded, astronaut).ask(QUESTIONS[0], max_new_tokens=TOKENS, on_text=pieces.append)
    assert len(pieces) > 2 and "".join(pieces).strip() == answer
    sampled = set()
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        sampled.add(Chat(loaded, astronaut).ask(QUESTIONS[0], max_new_tokens=TOKENS, temperature=3.0))
    assert len(sampled) == 2


def test_an_interrupted_answer_leaves_the_conversation_as_it_was(loaded, astronaut):
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    talk, undisturbed = Chat(loaded, astronaut), Chat(loaded, astronaut)
    first = talk.ask(QUESTIONS[0], max_new_tokens=TOKENS)
    with pytest.raises(KeyboardInterrupt):
        talk.ask("Never mind?", max_new_tokens=TOKENS, on_text=interrupt)
    assert first == undisturbed.ask(QUESTIONS[0], max_new_tokens=TOKENS)
    assert talk.ask(QUESTIONS[1], max_new_tokens=TOKENS) == undisturbed.ask(QUESTIONS[1], max_new_tokens=TOKENS)
