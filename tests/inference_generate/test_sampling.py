"""Sampled answers: drawn by the model's own probabilities, the same in any batch and after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llava_faba.errors import UserError
from llava_faba.inference.generate import generate_answers
from llava_faba.inference.sampling import GumbelNoise, seeds_of
from llava_faba.inference.settings import GenerateSettings


def test_the_most_likely_with_noise_is_a_draw_from_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])
    count = 4000
    noise = GumbelNoise(seeds_of([str(number) for number in range(count)], 0))
    drawn = noise(torch.zeros(count, 1), logits.expand(count, -1)).argmax(-1)
    shares = np.bincount(drawn.numpy(), minlength=5) / count
    wanted = logits.softmax(-1).numpy()
    assert np.abs(shares - wanted).max() < 4 * np.sqrt(0.25 / count)
    again = noise(torch.zeros(count, 1), logits.expand(count, -1)).argmax(-1)
    assert (again != drawn).float().mean() > 0.3, "the next token has noise of its own"


def test_seeds_are_of_the_question_and_the_number() -> None:
    assert len({*seeds_of(["a", "b"], 0), *seeds_of(["a", "b"], 1)}) == 4
    assert seeds_of(["a", "b"], 1)[1] == seeds_of(["b"], 1)[0]


def test_they_depend_on_no_batch_and_no_interruption(bench: Any, tmp_path: Path) -> None:
    questions = bench.questions[:5]

    def drawn(name: str, **settings: Any) -> list[list[str]]:
        out = tmp_path / name
        asked = GenerateSettings(**{"max_new_tokens": 8, "samples": 3, **settings})
        generate_answers(str(bench.model), questions, bench.images, out, asked)
        return [json.loads(line)["samples"] for line in out.read_text().splitlines()]

    whole = drawn("a.jsonl", batch_size=5)
    assert all(len(texts) == 3 and len(set(texts)) > 1 for texts in whole)
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_text("".join(lines[:3]))
    assert drawn("b.jsonl", batch_size=2) == whole
    with pytest.raises(UserError, match="another model, prompt, setting"):
        drawn("b.jsonl", samples=4)
    greedy = [json.loads(line)["text"] for line in lines]
    plain = tmp_path / "c.jsonl"
    generate_answers(str(bench.model), questions, bench.images, plain, GenerateSettings(max_new_tokens=8))
    assert [json.loads(line)["text"] for line in plain.read_text().splitlines()] == greedy


def test_a_number_below_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="samples must be 0 or more"):
        GenerateSettings(samples=-1)
