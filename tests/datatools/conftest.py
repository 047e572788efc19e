"""Small trees in the layouts in which the licensed datasets are handed out, with real image files in them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def paint(path: Path, seed: object = None, size: int = 12) -> Path:
    """A small picture of its own kind: the same seed (default: the path's end) gives the same picture."""
    rng = random.Random(str(seed if seed is not None else "/".join(path.parts[-3:])))
    pixels = np.array([[rng.randrange(256) for _ in range(3)] for _ in range(4)], np.uint8).reshape(2, 2, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR).save(path)
    return path


def load(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(name="paint")
def paint_fixture() -> Callable[..., Path]:
    return paint


@pytest.fixture(name="load")
def load_fixture() -> Callable[[Path], list[dict]]:
    return load


@pytest.fixture
def rafdb_tree(tmp_path: Path) -> Path:
    """Eleven training and seven test images; label i % 7 + 1."""
    root = tmp_path / "RAF-DB"
    lines = []
    for split, count, digits in (("train", 11, 5), ("test", 7, 4)):
        for number in range(1, count + 1):
            name = f"{split}_{number:0{digits}d}"
            lines.append(f"{name}.jpg {number % 7 + 1}")
            paint(root / "basic" / "Image" / "aligned" / f"{name}_aligned.jpg")
    listing = root / "basic" / "EmoLabel" / "list_patition_label.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def affectnet_cropped(tmp_path: Path) -> Path:
    """The 2021 release: expressions 0 to 10 in training, 0 to 7 in validation, stored as string and as
    integer.
    """
    root = tmp_path / "AffectNet8"
    for folder, expressions in (("train_set", range(11)), ("val_set", range(8))):
        for expression in expressions:
            paint(root / folder / "images" / f"{expression + 100}.jpg")
            (root / folder / "annotations").mkdir(exist_ok=True)
            value = np.array(str(expression)) if expression % 2 else np.array(expression)
            np.save(root / folder / "annotations" / f"{expression + 100}_exp.npy", value)
            np.save(root / folder / "annotations" / f"{expression + 100}_val.npy", np.array("0.1"))
    return root


@pytest.fixture
def affectnet_lists(tmp_path: Path) -> Path:
    """The original release: a header in training.csv, none in validation.csv."""
    root = tmp_path / "AffectNet"
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    lists = root / "Manually_Annotated_file_lists"
    lists.mkdir(parents=True)
    for name, first, count in (("training.csv", header, 11), ("validation.csv", None, 8)):
        lines = [first] if first else []
        for expression in range(count):
            relative = f"{count}/{name[:3]}{expression:04x}.jpg"
            lines.append(f"{relative},1,1,10,10,1.0;2.0;3.0,{expression},0.5,-0.25")
            paint(root / "Manually_Annotated_Images" / relative)
        (lists / name).write_text("\n".join(lines) + "\n")
    return root


BP4D_SUBJECTS = [f"F{n:03d}" for n in range(1, 24)] + [f"M{n:03d}" for n in range(1, 19)]


@pytest.fixture(scope="session")
def bp4d_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 41 subjects and 8 tasks, three coded frames each: the last one has code 9 for AU 24.

    Both kinds of label file and all three ways of numbering images occur. Frame 1 has AU 1 and 12 active
    (AU 5 too, which is not scored), frame 2 nothing.
    """
    root = tmp_path_factory.mktemp("bp4d") / "BP4D"
    codes = root / "AUCoding" / "AU_OCC"
    codes.mkdir(parents=True)
    named = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28]
    for position, subject in enumerate(BP4D_SUBJECTS):
        aus = named if position % 5 == 0 else list(range(1, 100))
        header = ["1" if position % 5 == 0 else "0", *map(str, aus)]
        digits = (4, 3, 1)[position % 3]
        for task in range(1, 9):
            lines = [",".join(header)]
            for frame in (41, 42, 43):
                values = []
                for au in aus:
                    active = frame == 41 and au in (1, 5, 12)
                    values.append("9" if (frame == 43 and au == 24) or au > 30 else str(int(active)))
                lines.append(",".join([str(frame), *values]))
            (codes / f"{subject}_T{task}.csv").write_text("\n".join(lines) + "\n")
            for frame in (41, 42, 43):
                paint(root / "2D+3D" / subject / f"T{task}" / f"{frame:0{digits}d}.jpg", size=4)
    return root


DISFA_SUBJECTS = [f"SN{n:03d}" for n in (*range(1, 14), 16, 17, 18, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)]


@pytest.fixture
def disfa_tree(tmp_path: Path) -> Path:
    """27 subjects, five label lines and four frames; AU 12 has intensity equal to the frame number minus
    one.
    """
    root = tmp_path / "DISFA"
    for subject in DISFA_SUBJECTS:
        labels = root / "ActionUnit_Labels" / subject
        labels.mkdir(parents=True)
        for au in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26):
            lines = [f"{frame},{frame - 1 if au == 12 else 0}" for frame in range(1, 6)]
            (labels / f"{subject}_au{au}.txt").write_text("\n".join(lines) + "\n")
        for frame in range(1, 5):
            folder = root / "Videos_LeftCamera_frames" / f"LeftVideo{subject}_comp"
            paint(folder / f"LeftVideo{subject}_comp_{frame:05d}.jpg", size=4)
    return root


@pytest.fixture
def gft_tree(tmp_path: Path) -> Path:
    """Three subjects; frame 3 has AU 24 not coded, AU 5 is never coded, AU 18 is in the vocabulary but not
    scored.
    """
    root = tmp_path / "GFT"
    codes = root / "AU_Occurrence"
    codes.mkdir(parents=True)
    aus = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 18, 23, 24, 28]
    for subject in ("001A", "001B", "002C"):
        lines = ["Frame," + ",".join(f"AU{au:02d}" for au in aus)]
        for frame in (1, 2, 3):
            values = []
            for au in aus:
                code = 1 if au in (6, 12, 18, 11) and frame == 1 else 0
                values.append(str(-9 if au == 5 or (au == 24 and frame == 3) else code))
            lines.append(f"{frame}," + ",".join(values))
            paint(root / "Frames" / subject / f"{subject}_{frame:05d}.png")
        (codes / f"{subject}.csv").write_text("\n".join(lines) + "\n")
    (root / "partition.csv").write_text("subject,split\n001A,train\n001B,train\n002C,test\n")
    return root


@pytest.fixture
def emotionet_tree(tmp_path: Path) -> Path:
    """40 rows with stray quotes: every tenth image was never downloaded, every eighth has AU 43 not coded."""
    root = tmp_path / "EmotioNet"
    header = ["'URL'", "'URL orig'", *(f"'AU {au}'" for au in range(1, 61))]
    lines = [",".join(header)]
    for number in range(1, 41):
        name = f"N_0000000{number % 3}00/N_0000000{number % 3}00_{number:05d}.jpg"
        active = {12, 25} if number % 2 else set()
        codes = ["1" if au in active else "0" if au < 44 else "999" for au in range(1, 61)]
        if number % 8 == 0:
            codes[42] = "999"
        url = f"http://example.invalid/emotionet/Images/{name}"
        lines.append(",".join([f"'{url}'", f"'{url}?o'", *codes]))
        if number % 10:
            paint(root / "images" / name)
    root.mkdir(exist_ok=True)
    (root / "EmotioNet_FACS_aws_2020_24600.csv").write_text("\n".join(lines) + "\n")
    return root
