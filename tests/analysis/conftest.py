"""A tiny EmoLA, two portraits, and what is made of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # for videos.py


@pytest.fixture(scope="session")
def faces() -> tuple[Image.Image, Image.Image]:
    """Two people, close up; photographs in the public domain that packages ship (E. Collins, G. Hopper)."""
    import matplotlib
    import skimage

    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    hopper = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    return astronaut.crop((110, 0, 340, 260)), hopper.crop((100, 30, 420, 390)).resize((230, 260))


@pytest.fixture(scope="session")
def group(faces: tuple[Image.Image, Image.Image]) -> Image.Image:
    """Both of them beside each other."""
    both = Image.new("RGB", (500, 280), (210, 210, 210))
    both.paste(faces[0], (10, 10))
    both.paste(faces[1], (260, 10))
    return both


@pytest.fixture(scope="session")
def photos(
    tmp_path_factory: pytest.TempPathFactory, faces: tuple[Image.Image, Image.Image], group: Image.Image
) -> Path:
    """A folder as people have them: portraits, a group, no face, a damaged file, a hidden one, one turned by EXIF."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    faces[0].save(folder / "one.png")
    group.save(folder / "sub" / "group.jpg", quality=95)
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(folder / "wall.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff damaged")
    faces[0].save(folder / ".hidden.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    faces[0].rotate(90, expand=True).save(folder / "turned.jpg", quality=95, exif=exif)
    return folder


@pytest.fixture(scope="session")
def emola(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random EmoLA whose prior is dlib's 68 points."""
    pytest.importorskip("torch")
    pytest.importorskip("llava")
    from tiny import make_emola

    return make_emola(tmp_path_factory.mktemp("emola"))
