"""``llava-faba serve``, OpenAI's client and ``bench generate`` with that server: answers are those of transformers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vllm_servers import ENVIRONMENT, Serving

from llava_faba.cli.main import main
from llava_faba.inference.engines.running import alias_of
from llava_faba.records.questions import read_jsonl


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0, timeout=300) as made:
        yield made


def chat(client: Any, path: Path, text: str, **more: Any) -> Any:
    url = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    turn = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}],
    }
    return client.chat.completions.create(
        model="emola", messages=[turn], **{"temperature": 0, "max_tokens": 24, **more}
    )


def said(found: Any) -> str:
    return (found.choices[0].message.content or "").strip()


def test_many_at_once_get_the_answers_that_transformers_gives(client: Any, asked: Any) -> None:
    """64 requests at once, priors computed by the server's expert: each picture its own answer."""
    order = [asked.questions[index % len(asked.questions)] for index in range(64)]
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda one: said(chat(client, asked.images / one["image"], one["text"])), order))
    wrong = [one["question_id"] for one, text in zip(order, found, strict=True) if text != expected(asked, one)]
    assert wrong == []


def expected(asked: Any, question: dict[str, Any]) -> str:
    return str(asked.answers[question["question_id"]].text)


def test_streamed(client: Any, asked: Any) -> None:
    one = asked.questions[1]
    parts = list(chat(client, asked.images / one["image"], one["text"], stream=True))
    assert len(parts) > 3
    assert "".join(part.choices[0].delta.content or "" for part in parts).strip() == expected(asked, one)


def test_bad_requests_are_answered_with_400_and_the_server_lives(client: Any, asked: Any, tmp_path: Path) -> None:
    import openai
    from PIL import Image

    one = asked.questions[0]
    face, broken, empty = asked.images / one["image"], tmp_path / "broken.jpg", tmp_path / "empty.jpg"
    broken.write_bytes(face.read_bytes()[:500])
    Image.new("RGB", (240, 240), (90, 120, 60)).save(empty)
    for path, kwargs, reason in (
        (face, {"facial_priors": [[0.0] * 212]}, "136"),
        (face, {"facial_priors": [["brow"] * 136]}, "not numbers"),
        (face, {"facial_prior": [[0.0] * 136]}, "not 'facial_prior'"),
        (empty, {"no_face": "refuse"}, "not_found"),
        (broken, {}, "image"),
    ):
        with pytest.raises(openai.BadRequestError, match=reason):
            chat(client, path, one["text"], extra_body={"mm_processor_kwargs": kwargs})
    assert said(chat(client, empty, one["text"]))
    assert said(chat(client, face, one["text"])) == expected(asked, one)


def test_the_same_picture_with_another_prior_is_another_answer(client: Any, asked: Any) -> None:
    one = asked.questions[0]
    random = np.random.default_rng(0)
    texts = {
        said(
            chat(
                client,
                asked.images / one["image"],
                one["text"],
                extra_body={"mm_processor_kwargs": {"facial_priors": [random.normal(size=136).tolist()]}},
            )
        )
        for _ in range(4)
    }
    assert len(texts) > 1


def test_a_chat_without_a_picture_begins_as_in_training(client: Any, asked: Any) -> None:
    """LLaVA's templates leave BOS to the tokenizer, and vLLM's chat tells it to add nothing."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import llava_faba.native  # noqa: F401 - the Auto classes learn the names

    processor = AutoProcessor.from_pretrained(asked.model)
    model = AutoModelForImageTextToText.from_pretrained(asked.model).eval()
    question = "What emotions are there?"
    turns = [{"role": "user", "content": [{"type": "text", "text": question}]}]
    inputs = processor(text=processor.apply_chat_template(turns, add_generation_prompt=True), return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
    for more in ({}, {"add_special_tokens": True}):
        found = client.chat.completions.create(
            model="emola",
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=12,
            extra_body={"return_token_ids": True, **more},
        )
        assert found.prompt_token_ids == inputs["input_ids"][0].tolist()
        assert found.choices[0].token_ids == made


def test_the_printed_lines_work(server: Serving, asked: Any, tmp_path: Path) -> None:
    lines = [line for line in server.said.splitlines() if line.startswith(("printf ", "python -c "))]
    assert len(lines) == 2
    (tmp_path / "face.jpg").write_bytes((asked.images / asked.questions[0]["image"]).read_bytes())
    texts = []
    for line in lines:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, **ENVIRONMENT},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        texts.append(json.loads(done.stdout)["choices"][0]["message"]["content"] if line[0:2] == "pr" else done.stdout)
    assert texts[0].strip() == texts[1].strip() != ""


def generate(asked: Any, out: Path, server: Serving, *more: str, model: Path | None = None) -> int:
    return main(
        [
            *("bench", "generate", f"--model-path={model or asked.model}", f"--question-file={asked.file}"),
            *(f"--image-folder={asked.images}", f"--out={out}", "--engine=vllm", f"--endpoint={server.url}/v1"),
            *("--max-new-tokens=24", "--no-progress", "--dtype=float32", *more),
        ]
    )


def test_a_test_set_through_a_running_server(server: Serving, asked: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "answers.jsonl"
    assert generate(asked, out, server, "--verify=all") == 0
    assert f"{len(asked.questions)} equal" in capsys.readouterr().out
    lines = read_jsonl(out)
    assert [line["question_id"] for line in lines] == [one["question_id"] for one in asked.questions]
    for line in lines:
        answer = asked.answers[line["question_id"]]
        assert tuple(line["metadata"]["token_ids"]) == answer.token_ids and line["text"] == answer.text
        assert line["metadata"]["prior_status"] == answer.prior_status
        assert line["metadata"]["finish_reason"] == ("length" if answer.is_cut else "stop")
    before = out.read_bytes()
    assert generate(asked, out, server) == 0
    assert out.read_bytes() == before and "answered 0 now, 9 before" in capsys.readouterr().out


def test_a_server_of_another_model_is_refused(server: Serving, asked: Any, converted: Path, capsys: Any) -> None:
    assert generate(asked, asked.file.with_name("other.jsonl"), server, model=converted) == 2
    told = capsys.readouterr().err
    assert "emola-106" in told or alias_of(str(converted)) in told
