"""LLaVA's web page under the gradio that it pins: what fails without the mend, and that the mend leaves nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_faba.compat.engine import mend_packages
from llava_faba.compat.web_page import mended_web_page
from llava_faba.errors import UserError

mend_packages()  # gradio needs one of the shims where huggingface_hub is new
gradio = pytest.importorskip("gradio", reason="the web page needs the extra serve")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """LLaVA's module, without the redirection of standard output that its logger sets up."""
    monkeypatch.chdir(tmp_path)  # its log file
    stdout, stderr = sys.stdout, sys.stderr
    from llava.serve import gradio_web_server

    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(gradio_web_server, "args", argparse.Namespace(model_list_mode="once"), raising=False)
    monkeypatch.setattr(gradio_web_server, "models", ["llava-v1"], raising=False)
    return gradio_web_server


def write_examples(folder: Path) -> None:
    (folder / "examples").mkdir()
    for name in ("extreme_ironing", "waterview"):
        Image.new("RGB", (8, 8)).save(folder / "examples" / f"{name}.jpg")


def examples(demo: Any) -> list[Any]:
    return [block for block in demo.blocks.values() if isinstance(block, gradio.Dataset)]


def test_missing_example_pictures_are_left_out(page, tmp_path):
    with pytest.raises(Exception, match="extreme_ironing"):
        page.build_demo(False, str(tmp_path))
    with mended_web_page():
        assert not examples(page.build_demo(False, str(tmp_path)))


def test_example_pictures_that_are_there_stay(page, tmp_path):
    write_examples(tmp_path)
    with mended_web_page():
        (dataset,) = examples(page.build_demo(False, str(tmp_path)))
    assert len(dataset.samples) == 2


def test_javascript_by_its_old_name_reaches_the_page(page, tmp_path):
    write_examples(tmp_path)
    with pytest.raises(TypeError, match="_js"):
        page.build_demo(False, str(tmp_path))
    with mended_web_page():
        demo = page.build_demo(False, str(tmp_path))
    assert page.get_window_url_params in [dependency["js"] for dependency in demo.dependencies]


def test_gradio_is_as_it_was_afterwards():
    before = gradio.Blocks.load, gradio.Examples
    with pytest.raises(ZeroDivisionError), mended_web_page():
        assert (gradio.Blocks.load, gradio.Examples) != before
        raise ZeroDivisionError
    assert (gradio.Blocks.load, gradio.Examples) == before


def test_a_gradio_that_does_not_import_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install .*gradio==4\.16\.0 .*starlette==0\.36\.3"), mended_web_page():
        pass
