"""A prior is that of the picture, whether it was extracted first or is computed while asking (decision 63)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import llava_faba
from llava_faba.cli.main import main
from llava_faba.experts import create_expert
from llava_faba.experts.pictures import MAX_SIDE, whole_picture
from llava_faba.inference.answering import Answerer
from llava_faba.inference.chat import Chat
from llava_faba.inference.settings import GenerateSettings
from llava_faba.priors.reading import read_picture
from llava_faba.priors.store import PriorStore

QUESTION = "What AUs are conveyed by this face?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs larger than what the model's tower sees, one of them wide."""
    import skimage.data

    folder = tmp_path_factory.mktemp("photographs")
    photograph = Image.fromarray(skimage.data.astronaut())  # NASA, public domain
    photograph.crop((30, 0, 450, 330)).save(folder / "wide.png")
    photograph.crop((110, 10, 350, 250)).resize((420, 420)).save(folder / "square.png")
    return folder


@pytest.fixture(scope="module")
def stored(folder: Path) -> PriorStore:
    out = folder / "store"
    assert main(["priors", "extract", "--expert", "dlib-68", "--images", str(folder), "--out", str(out)]) == 0
    return PriorStore.open(out)


def test_bench_generate_without_a_store_computes_what_a_store_holds(
    face_model: Path, folder: Path, stored: PriorStore
) -> None:
    settings = GenerateSettings(max_new_tokens=2, device="cpu", dtype="float32")
    names = ["wide.png", "square.png"]
    questions = [{"question_id": name, "image": name, "text": QUESTION} for name in names]
    prepared = Answerer(str(face_model), None, folder, settings).prepare(questions)
    assert prepared.statuses == ["found", "found"] and prepared.priors is not None
    assert np.array_equal(prepared.priors.numpy(), np.stack([stored.get(name) for name in names]))


def test_predict_and_chat_read_the_face_that_extraction_reads(face_model: Path, folder: Path) -> None:
    loaded: Any = llava_faba.load_model(face_model)
    for name in ("wide.png", "square.png"):
        picture = Image.open(folder / name)
        (expected,) = create_expert("dlib-68").extract([whole_picture(picture)]).landmarks or [None]
        assert expected is not None
        asked = llava_faba.predict(loaded, picture, QUESTION, max_new_tokens=1)
        for found in (asked.landmarks, Chat(loaded, picture).landmarks):
            assert found is not None and np.array_equal(found, expected)


@pytest.mark.parametrize("size", [(MAX_SIDE, 40), (MAX_SIDE + 1, 40), (3 * MAX_SIDE, 33), (20, 2 * MAX_SIDE)])
def test_an_open_picture_is_shrunk_as_its_file_is(tmp_path: Path, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", compress_level=0)
    ours, theirs = whole_picture(Image.open(tmp_path / "a.png")), read_picture(tmp_path / "a.png").picture
    assert theirs is not None and np.array_equal(ours.pixels, theirs.pixels)
    assert (ours.size, ours.scale, ours.offset) == (theirs.size, theirs.scale, theirs.offset)
