"""``llava_faba.predict``: one call for one picture."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import ADAPTER, PRIOR_SIZE

import llava_faba
from llava_faba import Prediction
from llava_faba.cli.main import main
from llava_faba.errors import ExpertError, UserError
from llava_faba.experts import Picture, create_expert

QUESTION = "What AUs are conveyed by this face?"


@pytest.fixture(scope="module")
def loaded(face_model: Any) -> Any:
    return llava_faba.load_model(face_model)


def predict(loaded: Any, image: Any, **options: Any) -> Prediction:
    return llava_faba.predict(loaded, image, QUESTION, **{"max_new_tokens": 6, **options})


def test_text_landmarks_and_status_of_a_face(loaded, astronaut):
    found = predict(loaded, astronaut)
    expected = create_expert("dlib-68").extract([Picture.whole(np.asarray(astronaut))])
    assert found.status == "found" and isinstance(found.text, str)
    assert found.landmarks is not None and np.array_equal(found.landmarks, expected.landmarks[0])


def test_a_path_an_image_and_a_loaded_model_or_its_folder_are_the_same(loaded, face_model, astronaut, tmp_path):
    astronaut.save(tmp_path / "face.png")
    answers = {
        predict(model, picture).text
        for model in (loaded, face_model, str(face_model))
        for picture in (astronaut, tmp_path / "face.png", str(tmp_path / "face.png"))
    }
    assert len(answers) == 1


def test_the_answer_is_that_of_generate_with_the_prior(loaded, astronaut):
    from llava_faba.inference.answer import answer_batch, preprocess

    prior = create_expert("dlib-68").extract([Picture.whole(np.asarray(astronaut))]).features
    images = preprocess([astronaut], loaded[2], loaded[1])
    given = answer_batch(loaded, images, [QUESTION], torch.from_numpy(prior), max_new_tokens=20)
    assert given == [predict(loaded, astronaut, max_new_tokens=20).text]
    without = answer_batch(loaded, images, [QUESTION], torch.zeros(1, 136), max_new_tokens=20)
    assert without != given


def test_no_face_is_a_status_not_an_error(loaded):
    found = predict(loaded, Image.new("RGB", (300, 200), (9, 9, 9)))
    assert found.status == "not_found" and found.landmarks is None


def test_predict_prints_which_face_was_read(face_model, two_faces, tmp_path, capsys):
    two_faces.save(tmp_path / "both.png")
    command = ["predict", "--model-path", str(face_model), str(tmp_path / "both.png")]
    assert main([*command, "--question", QUESTION, "--max-new-tokens", "4"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\n\[the picture shows several faces; the one at x \d+ to \d+, y \d+ to \d+ was read\]", printed)
    assert main([*command, "--question", QUESTION, "--max-new-tokens", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    points = np.array(told["landmarks"])
    assert told["status"] == "several_faces" and points.shape == (68, 2)
    assert told["face"] == [*points.min(axis=0), *points.max(axis=0)]


def test_the_library_says_which_of_several_faces_was_read(loaded, two_faces):
    """With ``align`` the box is that of the same face in the picture that was given, not in the crop."""
    plain, crop = predict(loaded, two_faces), predict(loaded, two_faces, align=True)
    assert plain.status == crop.status == "several_faces"
    assert "the picture shows several faces; the one at x " in plain.about_faces
    assert plain.face is not None and crop.face is not None and plain.landmarks is not None
    assert plain.face == (*plain.landmarks.min(axis=0), *plain.landmarks.max(axis=0))
    assert np.abs(np.subtract(plain.face, crop.face)).max() < 2
    assert crop.landmarks is not None and crop.landmarks.max() <= 336  # of the crop


def test_grey_and_transparent_pictures_are_read_as_llava_reads_them(loaded, astronaut):
    for mode in ("L", "RGBA", "P"):
        assert predict(loaded, astronaut.convert(mode)).status == "found"


def test_align_finds_an_upright_face_in_a_turned_photograph(loaded, astronaut):
    turned = astronaut.rotate(20, resample=Image.Resampling.BICUBIC, expand=True)
    found = predict(loaded, turned, align=True)
    assert found.status == "found" and found.landmarks is not None
    left, right = (found.landmarks[list(eye)].mean(axis=0) for eye in (range(36, 42), range(42, 48)))
    assert abs(np.degrees(np.arctan2(*(right - left)[::-1]))) < 3


def test_plain_llava_answers_without_a_prior(copied, monkeypatch):
    monkeypatch.chdir(copied)
    found = predict(llava_faba.load_model("base"), Image.new("RGB", (56, 56)))
    assert found.status == "no_prior" and found.landmarks is None


def test_batches_equal_single_answers(golden):
    """Left-padded, so that questions of several lengths start their answers in one place."""
    from llava_faba.inference.answer import answer_batch, preprocess

    loaded = llava_faba.load_model(golden / ADAPTER)
    before = loaded[1].config.tokenizer_padding_side
    questions = ["Why?", QUESTION, "What is the emotion of this face, and which movements show it?"]
    pictures = [Image.open(golden / "data" / "img" / f"{number}.png").convert("RGB") for number in range(3)]
    priors = torch.stack([torch.randn(PRIOR_SIZE, generator=torch.Generator().manual_seed(n)) for n in range(3)])
    images = preprocess(pictures, loaded[2], loaded[1])
    together = answer_batch(loaded, images, questions, priors, max_new_tokens=12)
    alone = [
        answer_batch(loaded, images[n : n + 1], [questions[n]], priors[n : n + 1], max_new_tokens=12)[0]
        for n in range(3)
    ]
    assert together == alone
    assert loaded[1].config.tokenizer_padding_side == before


def test_errors_name_file_template_and_expert(loaded, astronaut, tmp_path, golden):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    with pytest.raises(UserError, match=r"broken.jpg: not a readable image"):
        predict(loaded, tmp_path / "broken.jpg")
    with pytest.raises(UserError, match=r"gone.jpg: this image does not exist"):
        predict(loaded, tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="no conversation template is called 'v_1'"):
        predict(loaded, astronaut, conversation="v_1")
    with pytest.raises(ExpertError, match="emola-106"):
        predict(golden / ADAPTER, astronaut)
