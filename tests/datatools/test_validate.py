"""Every kind of problem is found, counted and located; sound data has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llava_faba.datatools.convert import Options, convert
from llava_faba.datatools.validate import KINDS, Report, validate
from llava_faba.errors import UserError
from llava_faba.priors.writer import PriorStoreWriter, Row
from llava_faba.records import annotation as records


def train_record(name: str = "a.png", label: str = "1, 4", **changes: Any) -> dict[str, Any]:
    answers = {"1, 4": "AU1 - Inner brow raiser. AU4 - Brow lowerer."}
    record = records.training_record(
        source="test",
        image=name,
        record_id=name,
        question="What AUs are conveyed by this face?",
        answer=changes.pop("answer", answers.get(label, "A face.")),
        label=label,
    )
    record.update(changes)
    return {key: value for key, value in record.items() if value is not None}


@pytest.fixture
def folder(tmp_path: Path, paint: Callable[..., Path]) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        paint(tmp_path / "img" / name, seed=name)
    return tmp_path / "img"


@pytest.fixture
def check(tmp_path: Path, folder: Path) -> Callable[..., Report]:
    """Validate records of one file (or of several) against the image folder."""

    def run(*files: list[dict[str, Any]], **options: Any) -> Report:
        paths = []
        for number, content in enumerate(files):
            path = tmp_path / f"file{number}.json"
            path.write_text(json.dumps(content))
            paths.append(path)
        return validate(paths, image_folder=options.pop("image_folder", folder), **options)

    return run


def kinds(report: Report) -> dict[str, int]:
    return {kind: len(problems) for kind, problems in report.groups()}


def test_sound_records_have_no_problem(check) -> None:
    evaluation = {"image": "b.png", "label": "12", "gpt4": "AU12 - Lip corner puller.", "id": 1}
    text_only = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    report = check([train_record(), text_only], [evaluation])
    assert kinds(report) == {}
    assert report.ok
    assert (report.n_records, report.n_images) == (3, 2)
    assert [entry["kind"] for entry in report.files] == ["training", "evaluation"]
    assert report.files[0]["task"] == "au"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (train_record(conversations=[]), {"schema": 1}),
        ({"image": "a.png"}, {"schema": 1}),
        ({"image": 7, "label": "1"}, {"schema": 1}),
        (
            train_record(conversations=[{"from": "user", "value": "x"}, {"from": "gpt", "value": "y"}]),
            {"schema": 1},
        ),
        (train_record(answer="  "), {"schema": 1}),
        # LLaVA's preprocessing knows no third speaker
        (
            train_record(
                conversations=[
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "x\n<image>"},
                    {"from": "gpt", "value": "AU1 AU4"},
                ]
            ),
            {"schema": 1},
        ),
        (
            train_record(conversations=[{"from": "gpt", "value": "y"}, {"from": "human", "value": "x\n<image>"}]),
            {"turns": 1},
        ),
        (
            train_record(conversations=[{"from": "human", "value": "x"}, {"from": "gpt", "value": "AU1 AU4"}]),
            {"image-token": 1},
        ),
        (
            train_record(
                conversations=[
                    {"from": "human", "value": "<image><image>"},
                    {"from": "gpt", "value": "AU1 AU4"},
                ]
            ),
            {"image-token": 1},
        ),
        (train_record(image=None), {"image-token": 1}),
        (train_record(label="1; 4", answer="AU1 and AU4."), {"label": 1}),
        (train_record(label="1, 3", answer="AU1 and AU3."), {"au-number": 1}),
        (train_record(label="1, 28", answer="AU1 and AU28."), {"au-protocol": 1}),
        (train_record(answer="AU1 is active. AU4 is not present."), {"contradiction": 1}),
        (train_record(answer="No action units are conveyed by this face."), {"contradiction": 1}),
        (train_record(answer="AU1 - Inner brow raiser."), {"label-unsaid": 1}),
        (train_record(answer="AU1, AU4 and AU12 are active."), {"unlabelled-au": 1}),
        (train_record(image="../img/a.png"), {"image-path": 1}),
        (train_record(image="missing.png"), {"image-missing": 1}),
    ],
)
def test_each_problem_of_a_record_is_named(check, record: dict, expected: dict) -> None:
    report = check([record], task="au", protocol="disfa" if "au-protocol" in expected else None)
    assert kinds(report) == expected
    assert report.ok == (not any(KINDS[kind].is_error for kind in expected))
    assert report.problems[0].index == 0


@pytest.mark.parametrize(
    ("label", "answer", "expected"),
    [
        ("Happiness", "The emotion is happiness.", {}),
        ("Contempt", "The emotion is contempt.", {}),
        (0, "The person looks happy.", {}),
        ("happiness", "The emotion is happiness.", {}),
        ("Joyous", "The emotion is happiness.", {"label": 1}),
        (9, "The emotion is happiness.", {"label": 1}),
        ("Sadness", "The emotion is happiness.", {"emotion-differs": 1}),
    ],
)
def test_emotion_labels(check, label: object, answer: str, expected: dict) -> None:
    record = {"image": "a.png", "label": label, "gpt4": answer}
    assert kinds(check([record], task="emotion")) == expected


def test_all_problems_come_at_once_with_counts_and_examples(check) -> None:
    bad = [train_record(f"no{number}.png") for number in range(8)] + [train_record(label="x")]
    report = check(bad, task="au")
    assert kinds(report) == {"image-missing": 8, "label": 1}
    text = report.to_text(examples=2)
    assert "error image-missing: 8 x" in text
    assert "... and 6 more" in text
    assert "file0.json[8] (id a.png)" in text
    data = report.to_json()
    assert (data["ok"], data["errors"], data["warnings"], data["records"]) == (False, 9, 0, 9)
    assert len(data["groups"][0]["problems"]) == 8


def test_truncated_and_foreign_files_are_unreadable_images(check, folder: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b.png").write_text("not an image")
    (folder / "c.png").write_bytes(b"")
    report = check([train_record("a.png"), train_record("b.png"), train_record("c.png")])
    assert kinds(report) == {"image-unreadable": 3}


def test_duplicates(check, folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "a.png").read_bytes())
    report = check([train_record("a.png"), train_record("a.png", id="other"), train_record("copy.png", id="a.png")])
    assert kinds(report) == {"duplicate-id": 1, "duplicate-sample": 1, "duplicate-image": 1}
    # the same image with another question is another sample, and files may share ids
    emotion = train_record("a.png", label="Fear", answer="The emotion is fear.")
    emotion["conversations"][0]["value"] = "What emotions are conveyed by this face?\n<image>"
    assert kinds(check([train_record("a.png")], [emotion])) == {}


def test_leakage_is_found_by_content_not_by_name(check, folder: Path) -> None:
    with Image.open(folder / "a.png") as image:
        image.save(folder / "same_pixels.bmp")
        big = image.resize((96, 96), Image.Resampling.BILINEAR)
        big.save(folder / "again.png")
        big.resize((80, 80)).save(folder / "recompressed.jpg", quality=80)
    train = [train_record("a.png"), train_record("again.png"), train_record("b.png")]
    evaluation = [
        {"image": name, "label": "1, 4", "id": name} for name in ("same_pixels.bmp", "recompressed.jpg", "c.png")
    ]
    report = check(train, evaluation)
    found = {problem.kind: problem.record_id for problem in report.problems}
    assert found == {"leakage": "same_pixels.bmp", "leakage-near": "recompressed.jpg"}
    assert "'a.png'" in next(p.message for p in report.problems if p.kind == "leakage")
    assert kinds(check(train, evaluation, near_duplicates=False)) == {"leakage": 1}


def test_near_duplicates_agree_with_a_brute_force_search() -> None:
    from llava_faba.datatools.validate.leakage import near_pictures
    from llava_faba.datatools.validate.media import ImageFacts

    rng = np.random.default_rng(0)

    def facts(name: str, bits: np.ndarray, grey: np.ndarray) -> ImageFacts:
        return ImageFacts(name, None, False, name, np.packbits(bits).tobytes(), grey.astype(np.uint8).tobytes())

    train, evaluation, expected = [], [], set()
    for number in range(300):
        bits, grey = rng.integers(0, 2, 64), rng.integers(20, 230, 256)
        train.append(facts(f"t{number}", bits, grey))
        if number % 3 == 0:
            flips = int(rng.integers(0, 13))
            changed = bits.copy()
            changed[rng.permutation(64)[:flips]] ^= 1
            shift = int(rng.integers(0, 9))
            evaluation.append(facts(f"e{number}", changed, grey + shift))
            if flips <= 6 and shift <= 4:
                expected.add((f"e{number}", f"t{number}"))
    assert set(near_pictures(train, evaluation, {}).items()) == expected
    assert len(expected) > 10


@pytest.mark.parametrize(
    ("vector", "kind"),
    [
        (np.zeros(212, np.float32), None),
        (np.zeros((1, 212), np.float32), None),
        (np.zeros(136, np.float32), "prior-size"),
        (np.zeros((106, 2), np.float32), None),
        (np.zeros((2, 106), np.float32), "prior-size"),
        (np.full(212, np.nan, np.float32), "prior-value"),
        (np.array(["x"] * 212), "prior-unreadable"),
        (None, "prior-missing"),
        (b"\x93NUMPY broken", "prior-unreadable"),
    ],
)
def test_landmark_files(check, folder: Path, vector: object, kind: str | None) -> None:
    if isinstance(vector, bytes):
        (folder / "a.npy").write_bytes(vector)
    elif vector is not None:
        np.save(folder / "a.npy", vector)
    np.save(folder / "b.npy", np.ones(212, np.float32))
    np.save(folder / "c.npy", np.ones(212, np.float32))
    report = check([train_record(f"{name}.png", landmark=f"{name}.npy") for name in "abc"])
    assert kinds(report) == ({kind: 1} if kind else {})


def test_pickled_landmarks_are_never_unpickled(check, folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (folder / "exploded",))

    np.save(folder / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert kinds(check([train_record(landmark="a.npy")])) == {"prior-unreadable": 1}
    assert not (folder / "exploded").exists()


def test_prior_store(check, folder: Path, tmp_path: Path) -> None:
    with PriorStoreWriter(tmp_path / "priors", expert="dlib-68", version="1", settings={}, size=136) as writer:
        writer.append([Row("a.png", np.ones(136, np.float32), "found", (12, 12))])
        writer.append([Row("b.png", None, "not_found", (12, 12))])
    data = [train_record(f"{name}.png") for name in "abc"]
    report = check(data, priors=tmp_path / "priors")
    assert kinds(report) == {"prior-missing": 1, "prior-no-face": 1}
    assert {p.kind: p.record_id for p in report.problems} == {
        "prior-missing": "c.png",
        "prior-no-face": "b.png",
    }
    np.save(folder / "c.npy", np.ones(212, np.float32))
    data[2]["landmark"] = "c.npy"
    assert kinds(check(data, priors=tmp_path / "priors")) == {"prior-size": 1, "prior-no-face": 1}
    assert kinds(check(data[:2], priors=tmp_path / "priors", prior_size=212)) == {
        "prior-size": 2,
        "prior-no-face": 1,
    }


def test_require_prior(check) -> None:
    assert kinds(check([train_record()], require_prior=True)) == {"prior-missing": 1}


def test_unreadable_files_are_reported_beside_the_others(check, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "broken.json").write_text("[{]")
    (tmp_path / "object.json").write_text("{}")
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(train_record()) + "\n\n")
    report = validate(
        [tmp_path / "broken.json", tmp_path / "object.json", tmp_path / "none.json", good],
        image_folder=folder,
    )
    assert kinds(report) == {"file": 3}
    assert report.n_records == 1
    (tmp_path / "empty.json").write_text("[]")
    assert "holds no records" in validate([tmp_path / "empty.json"]).to_text()


def test_people_on_both_sides_are_found_once_each(check) -> None:
    train = [train_record("a.png", subject="F001"), train_record("b.png", subject="F002", id="b")]
    evaluation = [
        {"image": "c.png", "label": "1, 4", "source": source, "subject": subject}
        for source, subject in (("test", "F001"), ("test", "F001"), ("other", "F002"))
    ]
    report = check(train, evaluation, near_duplicates=False)
    found = [problem for problem in report.problems if problem.kind == "leakage-subject"]
    assert [(problem.file[-10:], problem.index) for problem in found] == [("file1.json", 0)]
    assert "'F001' has 1 training and 2 evaluation records" in found[0].message


def test_strict_makes_warnings_fail(check) -> None:
    record = train_record(answer="AU1 - Inner brow raiser.")
    assert check([record]).ok
    assert not check([record], strict=True).ok


def test_senseless_arguments_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        validate([], image_folder=tmp_path / "none")
    with pytest.raises(UserError, match="task"):
        validate([], task="age")


def test_converted_datasets_validate_without_an_error(
    rafdb_tree: Path,
    affectnet_lists: Path,
    bp4d_master: Path,
    disfa_tree: Path,
    gft_tree: Path,
    emotionet_tree: Path,
    tmp_path: Path,
) -> None:
    trees = {
        "rafdb": rafdb_tree,
        "affectnet": affectnet_lists,
        "disfa": disfa_tree,
        "gft": gft_tree,
        "emotionet": emotionet_tree,
        "bp4d": bp4d_master,
    }
    options = Options(vary_questions=True, vary_answers=True, seed=1)
    for name, root in trees.items():
        convert(name, root, tmp_path / name, options)
        files = sorted((tmp_path / name).rglob("*_anno.json"))
        for group in {file.parent for file in files}:
            own = [file for file in files if file.parent == group]
            protocol = None if name in ("rafdb", "affectnet") else name
            report = validate(own, image_folder=root, protocol=protocol, near_duplicates=False)
            assert report.to_text() and kinds(report) == {}, (name, report.to_text())


def test_golden_records_of_the_authors_layout_validate(golden: Path) -> None:
    data = golden / "data"
    report = validate([data / "train.json"], image_folder=data)
    assert report.ok, report.to_text()
    assert (report.n_records, report.n_images) == (8, 8)


def test_many_records_in_parallel_processes_give_the_same_report(tmp_path: Path, paint: Callable[..., Path]) -> None:
    data = []
    for number in range(300):
        paint(tmp_path / "img" / f"{number}.png", seed=number, size=24)
        data.append(train_record(f"{number}.png"))
    (tmp_path / "img" / "250.png").write_text("x")
    file = tmp_path / "many.json"
    file.write_text(json.dumps(data))
    bulk = tmp_path / "bulk.json"
    bulk.write_text(json.dumps([train_record("0.png", id=number) for number in range(2100)]))
    assert validate([bulk], workers=2).to_json() == validate([bulk]).to_json()
    one = validate([file], image_folder=tmp_path / "img", workers=1)
    two = validate([file], image_folder=tmp_path / "img", workers=2)
    assert one.to_json() == two.to_json()
    assert kinds(two) == {"image-unreadable": 1}


@pytest.mark.parametrize("name", ["val.json", "dev_au.json", "au-test.json", "holdout.json", "validation.jsonl"])
def test_a_validation_part_is_what_it_is_called(tmp_path: Path, folder: Path, name: str) -> None:
    train, val = tmp_path / "train.json", tmp_path / name
    train.write_text(json.dumps([train_record("a.png"), train_record("b.png")]))
    val.write_text(json.dumps([train_record("a.png", id="v")]))
    assert kinds(validate([train, val], image_folder=folder)) == {"leakage": 1}


def test_the_side_is_the_one_that_is_given_or_that_mix_wrote(tmp_path: Path, folder: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps([train_record("a.png")]))
    two.write_text(json.dumps([train_record("a.png", id="v")]))
    assert kinds(validate([one, two], image_folder=folder)) == {}
    assert kinds(validate([one], evaluation=[two], image_folder=folder)) == {"leakage": 1}
    train_val = tmp_path / "train_val.json"
    train_val.write_text(two.read_text())
    assert kinds(validate([one, train_val], image_folder=folder)) == {}


@pytest.mark.parametrize("name", ["/etc/hostname", "../x.png", "pipe", "/dev/zero", "link.png", "a\0b", "sub"])
def test_images_outside_and_special_files_are_not_opened(check, tmp_path: Path, folder: Path, name: str) -> None:
    import os
    import shutil

    shutil.copyfile(folder / "a.png", tmp_path / "x.png")
    os.mkfifo(folder / "pipe")
    (folder / "link.png").symlink_to(tmp_path / "x.png")
    (folder / "sub").mkdir()
    assert kinds(check([train_record(name)]))["image-path"] == 1
    if name in ("../x.png", "link.png"):
        assert check([train_record(name)], allow_outside=True).ok


def test_an_image_that_would_start_a_program_is_unreadable(check, folder: Path) -> None:
    (folder / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert kinds(check([train_record("eps.png")])) == {"image-unreadable": 1}


def test_thoughts_and_a_token_inside_the_text_are_errors(check) -> None:
    answer = "AU1 - Inner brow raiser. AU4 - Brow lowerer."
    thoughts = train_record("a.png", answer=f"<think>Let me look.</think>{answer}")
    turns = [{"from": "human", "value": "What AUs does <image> show?"}, {"from": "gpt", "value": answer}]
    inside = train_record("b.png", conversations=turns)
    assert kinds(check([thoughts, inside])) == {"thoughts": 1, "image-token": 1}
