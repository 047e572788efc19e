"""The page: whole, self-contained, safe, and honest about what it could not show."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import faba_bench
import numpy as np
import pytest
from faba_bench.errors import BenchError
from faba_bench.records import Files
from faba_bench.report import html, svg
from faba_bench.report.bench import rank_samples, write_plots, write_report
from faba_bench.report.gallery import Card, gallery
from faba_bench.report.images import image_size, load_landmarks, picture
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), (200, 120, 90)).save(tmp_path / "a.png")
    Image.new("RGB", (900, 600), (90, 120, 90)).save(tmp_path / "b.png")
    np.savez(
        tmp_path / "landmarks.npz",
        images=np.array(["a.png", "b.png"]),
        landmarks=np.array([[[10, 12], [20, 15]], [[1, 2], [3, 4]]], dtype=np.float32),
        status=np.array(["found", "not_found"]),
    )
    return tmp_path


def make(folder: Path, annotations: Any, answers: Any, task: str = "au") -> str:
    result = faba_bench.score(task, "faba", annotations, answers, bootstrap=20)
    write_report(
        result,
        folder / "out" / "report.html",
        [Files(annotations, answers)],
        image_folder=folder,
        landmarks=folder / "landmarks.npz",
        title="Model <X>",
    )
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_the_page_holds_everything_the_meeting_needs(folder: Path, au_annotations: Any, au_answers: Any) -> None:
    text = make(folder, au_annotations, au_answers)
    for part in (
        "Model &lt;X&gt;",
        "REGE, reference",
        "REGE, strict",
        "Warnings",
        "AU43",
        "n=2",
        "Answer length",
        "Worst samples",
        "What AUs are conveyed by this face?",
        "AU 12 is seen",
        "A smile: AU12 and AU25.",
        "not shown: c.png",
        "denied: AU25",
        "(empty)",
    ):
        assert part in text, part
    assert '<circle cx="10.0" cy="12.0"' in text
    assert '<circle cx="1.0"' not in text  # no face was found there: its points mean nothing
    assert "not_found" in text


def test_the_page_refers_to_nothing_outside(folder: Path, au_annotations: Any, au_answers: Any) -> None:
    text = make(folder, au_annotations, au_answers)
    links = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert links and all(link.startswith("data:image/") for link in links)
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert str(folder) not in text


def test_emotion_page_has_confusion_matrices(folder: Path, emotion_annotations: Any, emotion_answers: Any) -> None:
    text = make(folder, emotion_annotations, emotion_answers, "emotion")
    assert text.count('aria-label="confusion matrix"') == 2
    assert "mean class accuracy" in text


def test_texts_cannot_break_out(folder: Path) -> None:
    annotations = [{"image": '"><script>x', "label": "1", "gpt4": "<b>&</b>"}]
    answers = [{"question_id": 0, "text": "</dd><script>alert(1)</script> \ud800"}]
    text = make(folder, annotations, answers)
    assert "<script" not in text and "<b>&" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_worst_comes_first(au_annotations: Any, au_answers: Any) -> None:
    result = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=0)
    assert [sample["question_id"] for sample in rank_samples(result)] == ["z", "y", "x"]


def test_large_pictures_are_scaled_and_landmarks_keep_the_original_pixels(folder: Path) -> None:
    markup = picture(folder / "b.png", np.array([[450, 300]], dtype=np.float32))
    assert markup is not None and 'viewBox="0 0 900 600"' in markup and 'cx="450.0"' in markup
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", markup)[0])
    assert max(image_size(data) or (0, 0)) == 384


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_sizes_are_read_from_headers(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"
    Image.new("RGB", (123, 45)).save(path, form)
    assert image_size(path.read_bytes()) == (123, 45)


def test_other_formats_are_embedded_as_jpeg(tmp_path: Path) -> None:
    Image.new("RGBA", (50, 20), (200, 120, 90, 128)).save(tmp_path / "x.webp")
    markup = picture(tmp_path / "x.webp", np.array([[25, 10]], dtype=np.float32))
    assert markup is not None and "data:image/jpeg" in markup and 'viewBox="0 0 50 20"' in markup


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x00" * 9, b"GIF89a"]
)
def test_broken_pictures_have_no_size(tmp_path: Path, data: bytes) -> None:
    assert image_size(data) is None
    assert picture(tmp_path / "a\0b.png") is None
    (tmp_path / "x.png").write_bytes(data)
    assert picture(tmp_path / "x.png") is None


def test_bad_landmark_files(tmp_path: Path) -> None:
    path = tmp_path / "l.npz"
    np.savez(path, images=np.array(["a"]))
    with pytest.raises(BenchError, match="no array landmarks, status"):
        load_landmarks(path)
    np.savez(path, images=np.array(["a"]), landmarks=np.zeros((1, 136)), status=np.array(["found"]))
    with pytest.raises(BenchError, match="must be"):
        load_landmarks(path)
    path.write_bytes(b"no zip")
    with pytest.raises(BenchError, match=r"not a readable \.npz file"):
        load_landmarks(path)


@pytest.mark.parametrize(
    "markup",
    [
        svg.bar_chart(["a", "b & c"], {"one": [1.0, None], "two": [0.0, 3.0]}, notes=["n=1", "n=2"]),
        svg.bar_chart([], {}),
        svg.bar_chart(["a"], {"one": [5.0]}, intervals={"one": [[4.0, 6.0]]}),
        svg.line_chart({"loss": ([1, 2, 3], [3.0, float("nan"), 1.0])}, x_label="step", y_label="loss"),
        svg.line_chart({}),
        svg.line_chart({"flat": ([0], [0])}),
        svg.heatmap(["A"], ["A", "unparsed"], [[0, 0]]),
        svg.histogram({"answers": [1, 2, 50], "references": []}),
        svg.histogram({"answers": []}),
    ],
)
def test_plots_are_well_formed(markup: str) -> None:
    assert ET.fromstring(markup).tag.endswith("svg")
    assert "nan" not in markup


def test_line_chart_leaves_out_what_is_not_finite() -> None:
    line = re.findall(r'points="([^"]*)"', svg.line_chart({"loss": ([1, 2, 3], [3.0, float("inf"), 1.0])}))[0]
    assert len(line.split()) == 2


def test_blocks_make_a_page_of_any_kind() -> None:
    body = html.tiles([("loss", "0.5", "last")]) + html.table(["a"], [["<"]]) + gallery([Card("t", None)])
    text = html.page("Demo", [html.Section("One", body)], subtitle="sub")
    assert "&lt;" in text and "no image" in text and text.startswith("<!DOCTYPE html>")


def test_plots_as_files(tmp_path: Path, emotion_annotations: Any, emotion_answers: Any) -> None:
    result = faba_bench.score("emotion", "faba", emotion_annotations, emotion_answers, bootstrap=0)
    names = {path.name for path in write_plots(result, tmp_path / "plots")}
    assert {"per_label.svg", "confusion_strict.svg", "confusion_reference.svg"} <= names
    for path in (tmp_path / "plots").glob("*.svg"):
        ET.parse(path)
    for path in (tmp_path / "plots").glob("*.png"):
        assert image_size(path.read_bytes()) is not None


def test_names_cannot_pass_for_others(folder: Path) -> None:
    """Control characters and direction overrides of names and answers are shown, not obeyed."""
    annotations = [{"image": "safe\u202egnp.exe", "label": "1", "gpt4": "a\x1b[2Jb\x00"}]
    text = make(folder, annotations, [{"question_id": 0, "text": "x\u2066\x9by"}])
    assert not set(text) & set("\u202e\x1b\x00\u2066\x9b")
    assert "\\u202egnp.exe" in text and "\\x1b[2J" in text


@pytest.mark.parametrize(
    "line",
    [
        {"metadata": {"finish_reason": "length"}},
        {"finish_reason": "max_tokens"},
        {"finish_reason": "MAX_TOKENS", "metadata": {"finish_reason": None}},
    ],
)
def test_cut_answers_are_counted_named_and_shown(line: Any, folder: Path, au_annotations: Any, au_answers: Any) -> None:
    whole = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=0)
    assert whole["n_cut"] == 0 and not any("cut by" in one for one in whole["warnings"])
    answers = [{**dict(au_answers[0]), **line}, *({**dict(one), "finish_reason": "stop"} for one in au_answers[1:])]
    result = faba_bench.score("au", "faba", au_annotations, answers, bootstrap=0)
    assert result["n_cut"] == 1
    (told,) = [one for one in result["warnings"] if "cut by" in one]
    assert str(answers[0]["question_id"]) in told and "--max-new-tokens" in told
    text = make(folder, au_annotations, answers)
    assert text.count("cut by the token limit") == 3  # the warning, the note on lengths, the sample


def test_a_failed_report_leaves_the_old_one(
    folder: Path, au_annotations: Any, au_answers: Any, monkeypatch: Any
) -> None:
    before = make(folder, au_annotations, au_answers)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        make(folder, au_annotations, [{**dict(one), "text": "AU1"} for one in au_answers])
    monkeypatch.undo()
    assert (folder / "out" / "report.html").read_text() == before and len(list((folder / "out").iterdir())) == 1
