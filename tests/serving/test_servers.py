"""LLaVA's controller, model worker and web page with an EmoLA checkpoint: real processes, real HTTP, a real browser."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from servers import Servers, llava_servers, post
from support import IMAGE_TOKEN

import llava_faba

if importlib.util.find_spec("gradio") is None:
    pytest.skip("the servers need 'pip install llava-faba[serve]'", allow_module_level=True)

QUESTION, NEXT_QUESTION = "What AUs are conveyed by this face?", "And why?"
TOKENS = 64
STOP = "</s>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module", params=["run", pytest.param("hook", marks=pytest.mark.slow)])
def servers(
    request: pytest.FixtureRequest, face_model: Path, patched: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    tree = patched if request.param == "hook" else None
    with llava_servers(face_model, tmp_path_factory.mktemp("servers"), with_page=True, patched=tree) as running:
        yield running


@pytest.fixture(scope="module")
def loaded(face_model: Path) -> Any:
    """The checkpoint as the worker loads it, by LLaVA's own builder."""
    from llava.model import builder

    llava_faba.register()
    try:
        return builder.load_pretrained_model(str(face_model), None, face_model.name, device="cpu")
    finally:
        llava_faba.unregister()


def prompt(*turns: str) -> str:
    """A conversation of questions and answers so far, the picture before the first question."""
    from llava.conversation import conv_templates

    conversation = conv_templates["llava_v1"].copy()
    for number, text in enumerate((f"<image>\n{turns[0]}", *turns[1:], None)):
        conversation.append_message(conversation.roles[number % 2], text)
    return str(conversation.get_prompt())


def generated(loaded: Any, picture: Image.Image, text: str) -> str:
    """``model.generate``'s greedy answer, the prior by way of the expert and not by the model's own computing."""
    import numpy as np
    from llava.mm_utils import process_images, tokenizer_image_token

    from llava_faba.experts import Picture, create_expert

    tokenizer, model, processor, _ = loaded
    prior = create_expert("dlib-68").extract([Picture.whole(np.asarray(picture))]).features
    output = model.generate(
        tokenizer_image_token(text, tokenizer, IMAGE_TOKEN, return_tensors="pt")[None],
        images=process_images([picture], processor, model.config).half(),
        facial_priors=torch.from_numpy(prior),
        do_sample=False,
        max_new_tokens=TOKENS,
    )
    return str(tokenizer.decode(output[0], skip_special_tokens=True)).strip()


def request(picture: Image.Image, text: str, path: Path) -> dict[str, Any]:
    picture.save(path)
    encoded = base64.b64encode(path.read_bytes()).decode()
    return {
        "model": "llava-v1-emola",
        "prompt": text,
        "images": [encoded],
        "temperature": 0,
        "max_new_tokens": TOKENS,
        "stop": STOP,
    }


def answers(reply: bytes, text: str) -> list[str]:
    """What the worker had said with each chunk, all but the prompt."""
    chunks = [json.loads(chunk) for chunk in reply.split(b"\0") if chunk]
    assert [chunk["error_code"] for chunk in chunks] == [0] * len(chunks)
    return [chunk["text"].removeprefix(text).strip() for chunk in chunks]


def test_the_controller_knows_the_worker(servers):
    assert json.loads(post(f"{servers.controller}/list_models")) == {"models": ["llava-v1-emola"]}
    address = json.loads(post(f"{servers.controller}/get_worker_address", {"model": "llava-v1-emola"}))
    assert address == {"address": servers.worker}


def test_two_requests_at_once_get_the_answers_of_model_generate(servers, loaded, astronaut, tmp_path):
    """Each with its own picture's prior, streamed, through the controller."""
    pictures = [astronaut, ImageOps.mirror(astronaut)]
    texts = [prompt(QUESTION), prompt("Which lips?")]
    spans: list[tuple[float, float]] = [(0, 0), (0, 0)]
    replies: list[bytes] = [b"", b""]
    both_ready = threading.Barrier(2)

    def ask(which: int) -> None:
        content = request(pictures[which], texts[which], tmp_path / f"{which}.png")
        both_ready.wait()
        began = time.monotonic()
        replies[which] = post(f"{servers.controller}/worker_generate_stream", content)
        spans[which] = (began, time.monotonic())

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(began for began, _ in spans) < min(ended for _, ended in spans)
    said = [answers(reply, text) for reply, text in zip(replies, texts, strict=True)]
    assert all(len(chunks) > 3 for chunks in said)
    expected = [generated(loaded, picture, text) for picture, text in zip(pictures, texts, strict=True)]
    assert [chunks[-1] for chunks in said] == expected and expected[0] != expected[1]
    assert expected[0] != generated(loaded, Image.new("RGB", astronaut.size), texts[0])


def test_the_worker_answers_about_a_picture_without_a_face_too(servers, loaded, astronaut, tmp_path):
    nobody = Image.new("RGB", astronaut.size, (120, 110, 100))
    text = prompt(QUESTION)
    reply = post(f"{servers.worker}/worker_generate_stream", request(nobody, text, tmp_path / "nobody.png"))
    assert answers(reply, text)[-1] == generated(loaded, nobody, text)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium")
def test_a_conversation_on_the_page(servers, loaded, astronaut, tmp_path):
    """Upload a face, ask, ask again: the page's answers are those of model.generate."""
    from playwright.sync_api import sync_playwright

    astronaut.save(tmp_path / "face.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.route("**/*", lambda route: route.continue_() if servers.page in route.request.url else route.abort())
        page.goto(servers.page, wait_until="domcontentloaded")
        page.get_by_text("Parameters", exact=True).click()
        page.get_by_label("number input for Temperature").fill("0")
        page.get_by_label("number input for Max output tokens").fill(str(TOKENS))
        page.locator("input[type=file]").first.set_input_files(tmp_path / "face.png")
        page.get_by_role("img").first.wait_for()
        for question in (QUESTION, NEXT_QUESTION):
            page.get_by_placeholder("Enter text and press ENTER").fill(question)
            page.get_by_role("button", name="Send").click()
            page.locator("button:enabled", has_text="Regenerate").wait_for()
            page.wait_for_function("!document.querySelector('#chatbot').innerText.includes('▌')")
        shown = page.locator("#chatbot").inner_text()
        browser.close()
    first = generated(loaded, astronaut, prompt(QUESTION))
    second = generated(loaded, astronaut, prompt(QUESTION, first, NEXT_QUESTION))
    assert said_on_the_page(servers.folder) == [first, second] and first != second
    assert letters(first) in letters(shown) and letters(second) in letters(shown)


def letters(text: str) -> str:
    """Without what the page takes for Markdown, and white space."""
    return "".join(character for character in text if character.isalnum())


def said_on_the_page(folder: Path) -> list[str]:
    """The answers of the conversation that LLaVA's page wrote down last."""
    (file,) = folder.glob("*-conv.json")
    conversation = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
    return [text for _, text in conversation["state"]["messages"][1::2]]
