"""Mixtures: weights, caps, subjects kept together, and making one again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_faba.datatools.mix import Source, mix, repeat
from llava_faba.errors import UserError
from llava_faba.records import annotation as records


def make(path: Path, subjects: int, each: int, source: str = "A", with_subject: bool = True) -> Path:
    content = [
        records.training_record(
            source=source,
            image=f"{source}/s{subject:02d}/{frame}.png",
            record_id=f"{source}/s{subject:02d}/{frame}",
            question="What AUs are conveyed by this face?",
            answer="AU1 - Inner brow raiser.",
            label="1",
            subject=f"s{subject:02d}" if with_subject else None,
        )
        for subject in range(subjects)
        for frame in range(each)
    ]
    path.write_text(json.dumps(content))
    return path


def subjects_of(content: list[dict[str, Any]]) -> set[str]:
    return {record["image"].rsplit("/", 1)[0] for record in content}


def test_weights_and_caps(tmp_path: Path) -> None:
    a, b, c = (make(tmp_path / f"{name}.json", 5, 8, name) for name in "ABC")
    made = mix([Source(a, weight=0.5), Source(b, weight=2.25), Source(c, cap=7)], tmp_path / "out")
    counts = Counter(record["source"] for record in made.train)
    assert counts == {"A": 20, "B": 90, "C": 7}
    times = Counter(record["image"] for record in made.train if record["source"] == "B")
    assert set(times.values()) == {2, 3}
    ids = [record["id"] for record in made.train]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("with_subject", [True, False])
def test_a_subject_is_on_one_side_only(tmp_path: Path, with_subject: bool) -> None:
    a = make(tmp_path / "a.json", 40, 5, with_subject=with_subject)
    made = mix(
        [Source(a, weight=3)],
        tmp_path / "out",
        val_fraction=0.3,
        subject_pattern=None if with_subject else r"/(s\d+)/",
        seed=1,
    )
    assert not subjects_of(made.train) & subjects_of(made.val)
    assert 5 <= len(subjects_of(made.val)) <= 20
    assert len(made.train) == 3 * (200 - len(made.val))


def test_files_about_the_same_people_split_alike(tmp_path: Path) -> None:
    a = make(tmp_path / "au.json", 30, 2, "X")
    b = make(tmp_path / "emotion.json", 30, 3, "X")
    made = mix([Source(a), Source(b)], tmp_path / "out", val_fraction=0.4)
    assert made.val
    assert not subjects_of(made.train) & subjects_of(made.val)


def test_split_by_image_and_record(tmp_path: Path) -> None:
    a = make(tmp_path / "a.json", 4, 50)
    by_image = mix([Source(a)], tmp_path / "image", val_fraction=0.3, split_by="image")
    assert subjects_of(by_image.train) & subjects_of(by_image.val)
    by_record = mix([Source(a)], tmp_path / "record", val_fraction=0.3, split_by="record")
    assert 30 <= len(by_record.val) <= 90


def test_prefix_joins_different_image_folders(tmp_path: Path) -> None:
    a = make(tmp_path / "a.json", 1, 1)
    content = json.loads(a.read_text())
    content[0]["landmark"] = "lm/0.npy"
    content.append({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]})
    a.write_text(json.dumps(content))
    made = mix([Source.parse(f"{a},prefix=bp4d,name=x")], tmp_path / "out", shuffle=False)
    assert made.train[0]["image"] == "bp4d/A/s00/0.png"
    assert made.train[0]["landmark"] == "bp4d/lm/0.npy"
    assert "image" not in made.train[1]
    assert made.manifest["inputs"][0]["name"] == "x"


def test_repeat_gives_the_same_bytes_and_notices_changes(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.json", 10, 4), make(tmp_path / "b.json", 10, 4, "B")
    sources = [Source(a, weight=1.5), Source(b, cap=9)]
    mix(sources, tmp_path / "one", val_fraction=0.2, seed=7)
    repeat(tmp_path / "one" / "manifest.json", tmp_path / "two")
    for name in ("train.json", "val.json", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    other = mix(sources, tmp_path / "three", val_fraction=0.2, seed=8)
    assert other.manifest["outputs"] != json.loads((tmp_path / "one" / "manifest.json").read_text())["outputs"]
    b.write_text(b.read_text() + " ")
    with pytest.raises(UserError, match=r"input 'b' has changed"):
        repeat(tmp_path / "one" / "manifest.json", tmp_path / "four")
    b.unlink()
    with pytest.raises(UserError, match=r"input 'b' .* is gone"):
        repeat(tmp_path / "one" / "manifest.json", tmp_path / "four")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="not a manifest"):
        repeat(tmp_path / "x.json", tmp_path / "four")


def test_manifest_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    a = make(tmp_path / "a.json", 3, 3)
    made = mix([Source(a)], tmp_path / "out", val_fraction=0.5)
    assert made.manifest["inputs"][0]["sha256"] == records.file_sha256(a)
    for name, digest in made.manifest["outputs"].items():
        assert records.file_sha256(tmp_path / "out" / name) == digest
    assert made.manifest["train"] + made.manifest["val"] == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.json,wieght=2", "Did you mean 'weight'"),
        ("a.json,weight=x", "could not convert"),
        ("a.json,weight=0", "weight must"),
        ("a.json,cap=0", "cap must"),
        ("a.json,prefix=../x", "prefix"),
        ("a.json,2", "'2' is none of"),
    ],
)
def test_bad_inputs_are_explained(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Source.parse(text)


def test_evaluation_files_and_bad_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text(json.dumps([{"image": "a.png", "label": "1"}]))
    with pytest.raises(UserError, match=r"eval\.json\[0\] has no 'conversations'"):
        mix([Source(tmp_path / "eval.json")], tmp_path / "out")
    a = make(tmp_path / "a.json", 1, 1)
    for bad, message in (
        ({"val_fraction": 1.0}, "val-fraction"),
        ({"split_by": "x"}, "split-by"),
        ({"subject_pattern": "("}, "regular expression"),
        ({"subject_pattern": "a"}, "no group"),
    ):
        with pytest.raises(UserError, match=message):
            mix([Source(a)], tmp_path / "out", **bad)
    with pytest.raises(UserError, match="nothing to mix"):
        mix([], tmp_path / "out")


@settings(max_examples=25, deadline=None)
@given(
    weight=st.floats(0.05, 4),
    cap=st.none() | st.integers(1, 60),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 5),
)
def test_any_mixture_keeps_subjects_apart_and_counts(
    tmp_path_factory: pytest.TempPathFactory, weight: float, cap: int | None, fraction: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("mix")
    a = make(folder / "a.json", 12, 3)
    made = mix([Source(a, weight=weight, cap=cap)], folder / "out", val_fraction=fraction, seed=seed)
    assert not subjects_of(made.train) & subjects_of(made.val)
    rest = 36 - len(made.val)
    expected = int(weight) * rest + round(weight % 1.0 * rest)
    assert len(made.train) == (expected if cap is None else min(cap, expected))


def pictured(path: Path, names: list[str], source: str | None, task: str = "au", subject: str | None = None) -> Path:
    content = []
    for name in names:
        record = records.training_record(
            source=source or "",
            image=name,
            record_id=f"{task}/{name}",
            question="What AUs are conveyed by this face?",
            answer="AU1 - Inner brow raiser.",
            label="1",
            subject=None if subject is None else subject.format(name),
        )
        if source is None:
            del record["source"]
        content.append(record)
    path.write_text(json.dumps(content))
    return path


def images_of(content: list[dict[str, Any]]) -> set[str]:
    return {record["image"] for record in content}


@pytest.mark.parametrize("sources", [(None, None), ("A", "B"), ("A", None)])
def test_a_picture_of_two_inputs_is_on_one_side_whatever_their_source(tmp_path: Path, sources: tuple) -> None:
    names = [f"img/{number}.png" for number in range(200)]
    a = pictured(tmp_path / "au.json", names, sources[0])
    b = pictured(tmp_path / "emotion.json", names, sources[1], "emotion")
    made = mix([Source(a), Source(b)], tmp_path / "out", val_fraction=0.3)
    assert not images_of(made.train) & images_of(made.val)
    assert len(made.train) + len(made.val) == 400
    assert 60 < len(made.val) < 180


def test_a_person_of_two_inputs_is_on_one_side_whatever_their_source(tmp_path: Path) -> None:
    a = pictured(tmp_path / "a.json", [f"a/{n}.png" for n in range(100)], "A", subject="{0}")
    content = json.loads(a.read_text())
    for record in content:
        record["subject"] = Path(record["image"]).stem
    a.write_text(json.dumps(content))
    b = tmp_path / "b.json"
    b.write_text(json.dumps([{**one, "image": "b/" + one["image"], "source": "B"} for one in content]))
    made = mix([Source(a), Source(b)], tmp_path / "out", val_fraction=0.4)
    people = [{record["subject"] for record in side} for side in (made.train, made.val)]
    assert not people[0] & people[1] and all(people)


def test_pictures_are_told_apart_by_what_they_show(tmp_path: Path, paint) -> None:
    """The same pictures under other names and in another format, in another folder, of another source."""
    from PIL import Image

    folder = tmp_path / "images"
    for number in range(40):
        path = paint(folder / "a" / f"{number}.png", seed=number)
        (folder / "b").mkdir(exist_ok=True)
        with Image.open(path) as image:
            image.save(folder / "b" / f"x{number}.bmp")
    a = pictured(tmp_path / "a.json", [f"{n}.png" for n in range(40)], "A")
    b = pictured(tmp_path / "b.json", [f"x{n}.bmp" for n in range(40)], None)
    inputs = [Source(a, prefix="a"), Source(b, prefix="b")]
    made = mix(inputs, tmp_path / "out", val_fraction=0.4, image_folder=folder)
    sides = [{Path(image).stem.lstrip("x") for image in images_of(side)} for side in (made.train, made.val)]
    assert not sides[0] & sides[1] and all(sides)
    assert made.manifest["notes"] == []
    repeat(tmp_path / "out" / "manifest.json", tmp_path / "again")
    from llava_faba.datatools.validate import validate

    report = validate([tmp_path / "out" / "train.json", tmp_path / "out" / "val.json"], image_folder=folder)
    assert not [problem for problem in report.problems if problem.kind.startswith("leakage")]


def test_a_folder_that_is_not_given_is_found_or_said(tmp_path: Path, paint) -> None:
    a = pictured(tmp_path / "a.json", ["img/1.png", "img/2.png"], None)
    said = mix([Source(a)], tmp_path / "out", val_fraction=0.5).manifest
    assert any("give --image-folder" in note for note in said["notes"])
    for number in (1, 2):
        paint(tmp_path / "img" / f"{number}.png", seed="same")
    made = mix([Source(a)], tmp_path / "out", val_fraction=0.5)
    assert made.manifest["settings"]["image_folder"] == str(tmp_path)
    assert not (made.train and made.val)
    assert any("part is empty" in note for note in made.manifest["notes"])
