"""Thoughts of reasoning models are no part of an answer."""

from __future__ import annotations

import time

import pytest
from faba_bench.thoughts import strip_thoughts

CASES = [
    ("<think>AU4 looks active, AU7 too.</think>AU12", "AU12"),
    ("<think>\na\n</think>\n\nAU12.", "AU12."),
    ("a, then b\n</think>\nAU12", "AU12"),
    ("<THINK>a</THINK>AU12", "AU12"),
    ("< think >a< / think >AU12", "AU12"),
    ('<think time="3">a</think>AU12', "AU12"),
    ("&lt;think&gt;a&lt;/think&gt;AU12", "AU12"),
    ("<thinking>a</thinking>AU12", "AU12"),
    ("<thinking>a</think>AU12", "AU12"),
    ("<thought>a</thought>AU12", "AU12"),
    ("<thinking>a</thinking>AU12", "AU12"),
    ("<seed:think>a</seed:think>AU12", "AU12"),
    ("<reasoning>a</reasoning>\nAU12", "AU12"),
    ("<reflection>a</reflection>AU12", "AU12"),
    ("<SCRATCHPAD>a</SCRATCHPAD>AU12", "AU12"),
    ("<inner_monologue>a</inner_monologue>AU12", "AU12"),
    ("◁think▷a◁/think▷AU12", "AU12"),
    ("a◁/think▷AU12", "AU12"),
    ("[THINK]a[/THINK]AU12", "AU12"),
    ("<|START_THINKING|>a<|END_THINKING|>AU12", "AU12"),
    ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>AU12<|end_of_solution|>", "AU12"),
    ("<|channel|>analysis<|message|>AU4?<|end|><|start|>assistant<|channel|>final<|message|>AU12<|return|>", "AU12"),
    ("<|start|>assistant<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>AU12", "AU12"),
    ("<think>a<think>b</think>c</think>AU12", "AU12"),
    ("<think>a<reflection>b</reflection>c</think>AU12", "AU12"),
    ("<think>a</think>AU12 <think>b</think>and AU6", "AU12 and AU6"),
    ("<think/>AU12", "AU12"),
    ("<think></think>AU12", "AU12"),
    ("```thinking\na\n```\nAU12", "AU12"),
    ("```\n<think>a</think>\n```\nAU12", "AU12"),
    ("Here is my thought process: a\n\nHere is my response: AU12", "AU12"),
    ('<details type="reasoning" done="true">\n<summary>Thought for 3 seconds</summary>\na\n</details>\nAU12', "AU12"),
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_only_the_answer_is_left(text: str, answer: str) -> None:
    found = strip_thoughts(text)
    assert found.text.replace("```", "").strip() == answer
    assert found.had_thoughts
    assert not found.unfinished


@pytest.mark.parametrize(
    "text",
    [
        "<think>AU4 is active",
        "<think>\nAU4\n\nAU12.",
        "◁think▷AU4",
        "[THINK]AU4",
        "<|channel|>analysis<|message|>AU4",
        "<|channel|>analysis<|message|>AU4<|end|>",
        "<think>a</think>AU12<think>AU4",
        "<reasoning>AU4",
        "<think>a<think>b</think>AU4",
        "```thinking\nAU4",
        "Here is my thought process: AU4",
    ],
)
def test_thoughts_that_never_close_are_no_answer(text: str) -> None:
    assert strip_thoughts(text) == ("", True, True)


@pytest.mark.parametrize(
    "text", ["AU12", " AU12 \n", "I think AU12.", "a > b < c", "<b>AU12</b>", "", "<answer>AU12</answer>"]
)
def test_other_texts_come_back_as_they_are(text: str) -> None:
    assert strip_thoughts(text) == (text, False, False)


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "<think ",
        "< think",
        "<|channel|>analysis",
        "```thinking\n",
        "<think>a</think>",
        "<details type=reasoning ",
    ],
)
def test_time_is_linear(piece: str) -> None:
    start = time.process_time()
    strip_thoughts(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 3
