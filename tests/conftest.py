"""What many tests share: threads, the golden data, and whether LLaVA is registered."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import fuzz_counting
import pytest

if TYPE_CHECKING:
    from PIL.Image import Image

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden" / "emola_checkpoint"


def pytest_configure(config: pytest.Config) -> None:
    if fuzz_counting.VARIABLE not in os.environ:  # the workers of pytest-xdist inherit it
        os.environ[fuzz_counting.VARIABLE] = str(Path(tempfile.mkdtemp(prefix="fuzz-counts-"), "counts.tsv"))
        config.add_cleanup(lambda: shutil.rmtree(Path(os.environ.pop(fuzz_counting.VARIABLE)).parent))


def pytest_sessionfinish() -> None:
    fuzz_counting.write_counts()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if lines := fuzz_counting.summary(Path(os.environ[fuzz_counting.VARIABLE])):
        terminalreporter.section("fuzz counts (docs/security.md)")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden checkpoint's folder: base/, clip-tiny/, data/, llava-v1-lora-emola-tiny/, expected.*"""
    return GOLDEN


@pytest.fixture
def registered() -> Iterator[None]:
    """EmoLA registered for one test, and taken back after it."""
    import llava_faba

    llava_faba.register()
    yield
    llava_faba.unregister()


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    """A copy of the golden folder, for tests that change a checkpoint."""
    return Path(shutil.copytree(golden, tmp_path / "golden"))


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the installed LLaVA with all patches; the folder to put on PYTHONPATH."""
    from llava_faba import patching

    tree = tmp_path_factory.mktemp("patched")
    source = Path(importlib.util.find_spec("llava").origin).parent
    shutil.copytree(source, tree / "llava", ignore=shutil.ignore_patterns("__pycache__"))
    assert "plugin-hook" in patching.apply(tree)
    return tree


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """E. Collins' face as a square RGB picture of 240 x 240 pixels, which is what the face model's tower takes."""
    import skimage.data
    from PIL import Image

    return Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250))  # NASA, public domain


@pytest.fixture(scope="session")
def two_faces(astronaut: Image) -> Image:
    """That face in 280 x 280 pixels left of x = 140, and another one, mirrored and smaller, right of x = 150."""
    from PIL import Image, ImageOps

    face = astronaut.crop((40, 30, 180, 220))
    both = Image.new("RGB", (280, 280), (210, 210, 210))
    both.paste(face, (0, 60))
    both.paste(ImageOps.mirror(face).resize((120, 163)), (150, 60))
    return both


@pytest.fixture(scope="session")
def face_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained EmoLA with a tower of 240 pixels, large enough for dlib's detector, and ``dlib-68`` in its
    config: a full checkpoint in a folder whose name LLaVA's own tools understand."""
    import torch

    from llava_faba.demo.base import BaseSize, build_base
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    root = tmp_path_factory.mktemp("face-model")
    size = BaseSize(hidden=64, layers=2, intermediate=128, vocabulary=400, vision_hidden=32)
    texts = [f"AU{number}: the brows are raised. What AUs are conveyed by this face?" for number in range(30)] * 5
    build_base(root / "base", root / "tower", texts, size)
    values = {
        **json.loads((root / "base" / "config.json").read_text()),
        "model_type": "emollava",
        "mm_vision_tower": str(root / "tower"),
        "mm_hidden_size": 32,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "image_aspect_ratio": "pad",
        "landmark_feature_hidden_size": 136,
        "facial_prior_expert": "dlib-68",
    }
    torch.manual_seed(3)
    model = EmolaLlamaForCausalLM(EmolaConfig.from_dict(values))
    for name, parameter in model.named_parameters():
        if "landmark" in name:
            torch.nn.init.normal_(parameter, std=0.5)  # so that the prior is heard in the answers,
        elif "self_attn" in name:
            torch.nn.init.normal_(parameter, std=0.15)  # among the picture's many tokens
    model.get_output_embeddings().weight.data[3:259] = 0  # no single bytes, which are not always text
    folder = root / "llava-v1-emola"
    model.save_pretrained(folder)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(root / "base" / name, folder)
    return folder
