"""Steps are done once, and again when what they depend on has changed."""

from __future__ import annotations

import pytest

from llava_faba.demo.steps import Steps


def run_two(folder, first: object, second: object, done: list[str], after: str = "") -> None:
    steps = Steps(folder, total=2, after=after)
    steps.run("first", "First", first, lambda progress: done.append("first"))
    steps.run("second", "Second", second, lambda progress: done.append("second"))


def test_finished_steps_are_skipped(tmp_path):
    done: list[str] = []
    run_two(tmp_path, 1, 2, done)
    run_two(tmp_path, 1, 2, done)
    assert done == ["first", "second"]


def test_a_changed_step_and_all_after_it_are_done_again(tmp_path):
    done: list[str] = []
    run_two(tmp_path, 1, 2, done)
    run_two(tmp_path, 1, 3, done)
    run_two(tmp_path, 5, 3, done)
    assert done == ["first", "second", "second", "first", "second"]


def test_steps_of_another_folder_count_as_steps_before(tmp_path):
    done: list[str] = []
    run_two(tmp_path, 1, 2, done, after="a")
    run_two(tmp_path, 1, 2, done, after="b")
    assert len(done) == 4


def test_an_interrupted_step_is_not_marked_as_done(tmp_path):
    def interrupted(progress):
        raise KeyboardInterrupt

    steps = Steps(tmp_path, total=1)
    with pytest.raises(KeyboardInterrupt):
        steps.run("only", "Only", None, interrupted)
    done: list[str] = []
    Steps(tmp_path, total=1).run("only", "Only", None, lambda progress: done.append("only"))
    assert done == ["only"]
