"""What many tests share: threads, the golden data, and whether LLaVA is registered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden" / "emola_checkpoint"


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
