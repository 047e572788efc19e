"""The server, pictures for it, and an annotation that asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from annotation_server import KEY, Server
from http_servers import answering
from PIL import Image

from llava_faba.datatools.annotate.asking import Policy
from llava_faba.datatools.annotate.client import Client
from llava_faba.datatools.annotate.images import Target, targets_in_folder
from llava_faba.datatools.annotate.pipeline import Annotation
from llava_faba.datatools.annotate.prompts import load_prompt


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as running:
        yield running


@pytest.fixture
def faces(tmp_path: Path) -> Callable[[int], Path]:
    """A folder with ``n`` grey images, whose values tell the server which is which."""

    def make(count: int) -> Path:
        folder = tmp_path / "faces"
        folder.mkdir(exist_ok=True)
        for number in range(1, count + 1):
            Image.new("RGB", (16, 16), (number * 10,) * 3).save(folder / f"{number:02d}.png")
        return folder

    return make


@pytest.fixture
def annotation(server: Server, tmp_path: Path) -> Callable[..., Annotation]:
    def make(folder: Path, task: str = "au", targets: list[Target] | None = None, **options: Any) -> Annotation:
        client = Client(options.pop("url", server.url), "some-model", KEY, timeout=options.pop("timeout", 1.0))
        policy = Policy(first_pause=0.01, **options)
        out = tmp_path / "out"
        return Annotation(task, targets or targets_in_folder(folder), folder, out, client, load_prompt(task), policy)

    return make
