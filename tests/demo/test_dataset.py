"""The data set: deterministic, resumable, in the layouts that training, evaluation and pretraining read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llava_faba.demo import dataset
from llava_faba.demo.dataset import DataFolderMismatch, DemoData, build, plan
from llava_faba.demo.texts import AU_QUESTION, EMOTION_QUESTION, EMOTIONS
from llava_faba.demo.texts.action_units import au_answer
from llava_faba.demo.texts.captions import caption
from llava_faba.demo.texts.emotions import emotion_answer
from llava_faba.demo.texts.glossary import glossary

N_TRAIN, N_TEST = 24, 12
SIZE = 96

# FABA-Bench's word lists and negations, as the design brief gives them
WORDS = {
    "Happiness": (
        "happiness happy smiling smile pleasant content contentment relaxed relaxation cheerful "
        "joy amusement amused positivity positive lightheartedness joyful friendly warmth bright"
    ),
    "Sadness": "sadness crying distress concern discomfort anguish somber",
    "Surprise": (
        "surprise surprised startled puzzled astonishment disbelief wonder curiosity curious "
        "confusion bewilderment skepticism excitement uncertainty"
    ),
    "Anger": (
        "anger mad irate outraged agitation irritated enraged annoyed incensed serious frustration displeased stern"
    ),
    "Neutral": "neutral neutrality calm contemplative concerned thoughtful focused solemn mild",
    "Disgust": ("disgust distaste disgusted discomfort displeasure displeased disapproval disdain contempt"),
    "Fear": ("fear shock anxiety apprehension tension panic alertness focus worry alarm curiosity contemplation"),
}
NEGATIONS = ("not", "no", "isn't ", "nothing", "cannot", "won't", "shouldn't", "neither", "nor")


def classes_named(text: str) -> set[str]:
    words = re.findall(r"\b\w+\b", text.lower())
    return {emotion for emotion, listed in WORDS.items() if set(words) & set(listed.split())}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return build(tmp_path_factory.mktemp("data"), n_train=N_TRAIN, n_test=N_TEST, seed=3, workers=1, size=SIZE)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def images(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((folder / "images").rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def test_pictures_and_files_are_where_the_result_says(data: DemoData) -> None:
    from PIL import Image

    names = [name for name, _ in images(data.root)]
    expected = [f"images/test/{i:06d}.jpg" for i in range(1, N_TEST + 1)]
    assert names == expected + [f"images/train/{i:06d}.jpg" for i in range(1, N_TRAIN + 1)]
    with Image.open(data.root / names[0]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (SIZE, SIZE))
    assert data.made == N_TRAIN + N_TEST
    for name, count in data.counts.items():
        assert len(read(data.root / f"{name}.json")) == count


def test_training_records_have_the_layout_of_faba_instruct(data: DemoData) -> None:
    for path, question in ((data.train_au, AU_QUESTION), (data.train_emotion, EMOTION_QUESTION)):
        records = read(path)
        assert records
        for record in records:
            assert set(record) == {"source", "image", "id", "conversations"}
            assert (data.root / record["image"]).is_file()
            human, gpt = record["conversations"]
            assert human == {"from": "human", "value": f"{question}\n<image>"}
            assert gpt["from"] == "gpt"
        assert len({record["id"] for record in records}) == len(records)


def test_evaluation_records_have_labels_in_the_benchmark_s_spelling(data: DemoData) -> None:
    for record in read(data.eval_au):
        assert set(record) == {"id", "image", "label", "gpt4"}
        numbers = [int(n) for n in record["label"].split(", ")]
        assert numbers == sorted(set(numbers))
        assert [int(n) for n in re.findall(r"AU(\d+)", record["gpt4"])] == numbers
    for record in read(data.eval_emotion):
        assert set(record) == {"id", "image", "label", "gpt4"}
        assert record["label"] in EMOTIONS


def test_truth_agrees_with_the_records(data: DemoData) -> None:
    truth = read(data.identities)
    labels = {record["image"]: record["label"] for record in read(data.eval_au)}
    for image, entry in truth["images"].items():
        assert entry["identity"] in truth["identities"]
        if image in labels:
            assert labels[image].split(", ") == list(entry["units"])
    manifest = read(data.manifest)
    assert manifest["complete"] is True
    assert manifest["counts"] == data.counts
    assert all("public domain" in source["licence"] for source in manifest["sources"])


def test_no_person_is_in_both_splits(data: DemoData) -> None:
    truth = read(data.identities)["images"]
    train = {entry["identity"] for image, entry in truth.items() if "/train/" in image}
    test = {entry["identity"] for image, entry in truth.items() if "/test/" in image}
    assert train and test and not train & test


def test_base_text_has_no_image_and_captions_have_no_label(data: DemoData) -> None:
    for record in read(data.base_text):
        assert "image" not in record
        assert "<image>" not in json.dumps(record)
    for record in read(data.base_captions):
        assert record["image"].startswith("images/train/")
        human, gpt = record["conversations"]
        assert human["value"].endswith("\n<image>")
        assert "AU" not in gpt["value"]
        assert not classes_named(gpt["value"])


def test_the_same_whatever_the_number_of_processes(data: DemoData, tmp_path: Path) -> None:
    other = build(tmp_path, n_train=N_TRAIN, n_test=N_TEST, seed=3, workers=2, size=SIZE)
    assert dict(images(other.root)) == dict(images(data.root))
    for name in data.counts:
        assert (other.root / f"{name}.json").read_bytes() == (data.root / f"{name}.json").read_bytes()


def test_another_seed_gives_other_data(data: DemoData) -> None:
    ours, other = plan("train", N_TRAIN, 3), plan("train", N_TRAIN, 4)
    assert [s.face for s in ours] != [s.face for s in other]
    assert [s.face for s in ours] == [s.face for s in plan("train", N_TRAIN, 3)]
    assert data.n_train == N_TRAIN


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"n_train": 6, "n_test": 3, "seed": 1, "workers": 1, "size": 64}
    made: list[str] = []
    original = dataset._make_picture

    def fail_at_fifth(sample: dataset.Sample, out_dir: Path, size: int) -> None:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(sample.image)
        original(sample, out_dir, size)

    monkeypatch.setattr(dataset, "_make_picture", fail_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, **settings)
    monkeypatch.undo()
    assert read(tmp_path / "manifest.json")["complete"] is False
    stale = tmp_path / "images" / "train" / ".000006.jpg.1.part"
    stale.write_bytes(b"half")
    (tmp_path / "images" / "train" / "000006.jpg").write_bytes(b"")

    calls: list[tuple[int, int]] = []
    result = build(tmp_path, **settings, progress=lambda done, of: calls.append((done, of)))
    assert result.made == 5
    assert (calls[0], calls[-1]) == ((4, 9), (9, 9))
    assert not stale.exists()
    assert build(tmp_path, **settings).made == 0


def test_a_folder_of_other_settings_is_refused(data: DemoData, tmp_path: Path) -> None:
    with pytest.raises(DataFolderMismatch, match="seed is 3, not 8"):
        build(data.root, n_train=N_TRAIN, n_test=N_TEST, seed=8, workers=1, size=SIZE)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataFolderMismatch, match="not JSON"):
        build(tmp_path, n_train=2, n_test=2)


@pytest.mark.parametrize("wrong", [{"n_train": 0}, {"n_test": 0}, {"workers": 0}, {"size": 10}])
def test_impossible_numbers_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build(tmp_path, **wrong)  # type: ignore[arg-type]


def test_shares_of_tasks_and_units() -> None:
    test = plan("test", 400, 0)
    emotional = [s for s in test if s.emotion]
    assert len(emotional) == 240
    per_class = [sum(s.emotion == emotion for s in emotional) for emotion in EMOTIONS]
    assert min(per_class) >= 33 and max(per_class) <= 36
    train = plan("train", 3000, 0)
    assert sum(bool(s.units) for s in train) > 2700
    for unit in (1, 2, 4, 5, 6, 10, 12, 17, 24, 25, 26, 43):
        for samples in (train, test):
            share = np.mean([unit in s.units for s in samples])
            assert 0.15 <= share <= 0.45, (unit, share)


def test_no_unit_follows_from_another_but_the_parted_lips_of_a_dropped_jaw() -> None:
    samples = [s.units for s in plan("train", 3000, 0) if s.units]
    scored = (1, 2, 4, 5, 6, 10, 12, 17, 24, 25, 26, 43)
    for one in scored:
        holding = [units for units in samples if one in units]
        for other in set(scored) - {one}:
            share = np.mean([other in units for units in holding])
            assert share < 0.85 or (one, other) == (26, 25)


# -------------------------------------------------------------------------------------------------- texts


@pytest.fixture(scope="module")
def answers() -> dict[str, list[tuple[Any, str]]]:
    samples = [*plan("train", 3000, 0), *plan("test", 400, 0)]
    return {
        "au": [(s.units, dataset._au_text(s, 0)) for s in samples if s.units],
        "emotion": [(s.emotion, dataset._emotion_text(s, 0)) for s in samples if s.emotion],
    }


def test_au_answers_name_their_units_in_order_and_are_short(
    answers: dict[str, list[tuple[Any, str]]],
) -> None:
    for units, text in answers["au"]:
        assert [int(n) for n in re.findall(r"AU(\d+)", text)] == units, text
        assert 15 <= len(text.split()) <= 45, text
        assert text.endswith(".")


def test_emotion_answers_name_their_class_first_and_no_other(
    answers: dict[str, list[tuple[Any, str]]],
) -> None:
    for emotion, text in answers["emotion"]:
        first = re.match(r"^(.*?)[.!?]", text)
        assert first is not None
        assert classes_named(first.group(1)) == {emotion}, text
        assert classes_named(text) == {emotion}, text
        assert not [n for n in NEGATIONS if n in text.lower()], text
        assert 12 <= len(text.split()) <= 35, text
        assert len(re.findall(r"\.", text)) <= 3


def test_the_benchmark_s_own_parser_reads_every_emotion(answers: dict[str, list[tuple[Any, str]]]) -> None:
    from faba_bench.reference.emotion import read_emotion

    for emotion, text in answers["emotion"]:
        assert read_emotion(text).value == emotion, text


def test_answers_vary(answers: dict[str, list[tuple[Any, str]]]) -> None:
    for task, least in (("au", 0.6), ("emotion", 0.8)):
        texts = [text for _, text in answers[task]]
        assert len(set(texts)) / len(texts) > least


def test_unknown_units_and_classes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="action units"):
        au_answer([99], rng)
    with pytest.raises(ValueError, match="action units"):
        au_answer([], rng)
    with pytest.raises(ValueError, match="Contempt"):
        emotion_answer("Contempt", [12], rng)


def test_captions_say_what_the_shot_was() -> None:
    sample = next(s for s in plan("train", 200, 0) if s.face.capture.tilt > 4 and s.face.capture.saturation > 0)
    texts = {caption(sample.face.identity.portrait, sample.face.capture, np.random.default_rng(i)) for i in range(40)}
    assert all(sample.face.capture.background in text for text in texts)
    tilts = [text for text in texts if "tilted" in text]
    assert tilts and all("tilted to the right" in text for text in tilts)
    assert not any("upright" in text for text in texts)


def test_the_glossary_teaches_every_unit_and_every_class() -> None:
    pairs = glossary(600, 0)
    said = " ".join(answer for _, answer in pairs)
    assert all(f"AU{n} - " in said for n in (1, 2, 4, 5, 6, 10, 12, 15, 17, 20, 24, 25, 26, 43))
    assert classes_named(said) == set(WORDS)
    assert glossary(100, 0) == pairs[:100]
    assert glossary(100, 1) != pairs[:100]
