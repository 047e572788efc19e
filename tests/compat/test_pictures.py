"""What LLaVA's model worker makes of pictures in other modes than RGB: what ``predict`` makes of the same file."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from llava_faba.images import open_image


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    colours = np.random.default_rng(5).integers(0, 255, (size[1], size[0], 4)).astype(np.uint8)
    image = Image.fromarray(colours)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def encoded(image: Image.Image, form: str = "PNG") -> str:
    stream = io.BytesIO()
    image.save(stream, form)
    return base64.b64encode(stream.getvalue()).decode()


MODES = ["P", "L", "LA", "1", "RGBA", "I;16", "CMYK", "RGB"]


@pytest.mark.newest
@pytest.mark.parametrize(
    ("mode", "size"), [*((mode, (40, 20)) for mode in MODES), ("P", (20, 40)), ("P", (20, 20))], ids=str
)
def test_the_worker_pads_what_predict_pads(mode, size, registered, tmp_path):
    from llava.mm_utils import expand2square, load_image_from_base64

    image, form = picture(mode, size), "TIFF" if mode == "CMYK" else "PNG"
    image.save(tmp_path / "picture", form)
    wanted = expand2square(open_image(tmp_path / "picture"), (122, 116, 104))
    found = expand2square(load_image_from_base64(encoded(image, form)), (122, 116, 104))
    assert found.mode == "RGB" and np.array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize(
    "data",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", b"", b"\x89PNG\r\n\x1a\n", b"#EXTM3U\n"],
    ids=["PostScript", "nothing", "cut", "playlist"],
)
def test_what_is_no_picture_is_a_value_error(data, registered):
    from llava.mm_utils import load_image_from_base64

    with pytest.raises(ValueError, match="not a readable image"):
        load_image_from_base64(base64.b64encode(data).decode())
    with pytest.raises(ValueError, match="base64"):
        load_image_from_base64("a")


def test_unregister_gives_llavas_own_back():
    import llava.mm_utils

    import llava_faba

    llava_faba.unregister()
    before = llava.mm_utils.load_image_from_base64
    llava_faba.register()
    assert llava.mm_utils.load_image_from_base64 is not before
    llava_faba.unregister()
    assert llava.mm_utils.load_image_from_base64 is before
