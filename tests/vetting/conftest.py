"""Both loaders, and Python files that tell when they are run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llava.model import builder

import llava_faba

Load = Callable[..., Any]


LONG = {
    "test_a_damaged_checkpoint_says_what_is_wrong": "damage",
    "test_damaged_shards_say_what_is_wrong": "damage",
    "test_no_file_of_a_folder_runs_code": "attack",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of these lists each case is fast through one of the two loaders, in turn; through the other it is slow."""
    for item in items:
        spec = getattr(item, "callspec", None)
        case = LONG.get(getattr(item, "originalname", ""))
        if spec is not None and case in spec.indices and (spec.indices[case] + spec.indices["load"]) % 2:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["load_model", "upstream"])
def load(request: pytest.FixtureRequest, registered: None) -> Load:
    if request.param == "load_model":
        return llava_faba.load_model
    return lambda path, base=None: builder.load_pretrained_model(
        str(path), None if base is None else str(base), "llava-v1-lora" if base else "llava-v1", device="cpu"
    )


@pytest.fixture
def mark(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there when any Python of the folders was run; each folder holds such Python."""
    mark = copied.parent / "ran"
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Thing:\n    pass\n"
    for folder in (copied / "base", copied / "clip-tiny", copied / "llava-v1-lora-emola-tiny"):
        for name in ("modeling_evil", "tokenization_evil", "configuration_evil", "evil_module", "__init__"):
            (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(copied / "llava-v1-lora-emola-tiny"))
    monkeypatch.setenv("HF_HUB_TRUST_REMOTE_CODE", "1")
    return mark


@pytest.fixture
def data() -> Path:
    return Path(__file__).parents[1] / "data" / "field"
