"""Every recipe of the library, from label files to its table: real commands, real training, on small trees of faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_trees import bp4d, disfa, gft, rafdb
from tiny import make_faces

from llava_faba.cli.main import main
from llava_faba.datatools.wording import QUESTION_VARIANTS
from llava_faba.records.vocabulary import AU_NAMES

pytestmark = [pytest.mark.recipes, pytest.mark.slow]

SMALL = {
    "bf16": "False",
    "gradient_checkpointing": "False",
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_train_batch_size": 2,
    "model_max_length": 512,
    "dataloader_num_workers": 0,
    "learning_rate": 0.01,
}
PICTURES = {".jpg", ".png"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLaVA whose tokenizer can spell what the converters write."""
    from llava_faba.demo.base import BaseSize, build_base

    folder = tmp_path_factory.mktemp("base")
    size = BaseSize(hidden=32, intermediate=64, layers=1, vocabulary=700, vision_hidden=16, image=240, patch=40)
    texts = [text for variants in QUESTION_VARIANTS.values() for text in variants] + list(AU_NAMES.values())
    build_base(folder / "llava", folder / "tower", [text.lower() for text in texts] + texts, size, 0)
    return folder


def with_faces(folder: Path, spare: Path) -> None:
    """Put a face into every picture below ``folder``, each another one."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES)
    for file, name in zip(files, make_faces(spare, len(files)), strict=True):
        with Image.open(spare / name) as face:
            face.save(file)


def run(name: str, root: Path, base: Path, *changes: str, train: str = "train") -> dict:
    """Run a recipe with the small base and return its report."""
    words = ["recipe", "run", name, "--root", str(root)]
    small = [f"{train}.{key}={value}" for key, value in SMALL.items()]
    generate = [] if train != "train" else ["answers.max_new_tokens=8"]
    for change in [f"inputs.base={base}/llava", f"inputs.vision_tower={base}/tower", *small, *generate, *changes]:
        words += ["--set", change]
    assert main(words) == 0
    return json.loads((root / "report.json").read_text())


def check(report: dict, task: str, protocol: str, names: list[str]) -> None:
    (table,) = report["tables"]
    assert (table["task"], table["protocol"]) == (task, protocol)
    assert [row["name"] for row in table["rows"]] == names
    assert table["n"] > 0


OURS = ["EmoLA, this run"]


def test_raf_db(tmp_path, base):
    tree = rafdb(tmp_path / "data")
    with_faces(tree.root, tmp_path / "faces")
    report = run("raf-db", tmp_path / "run", base, f"inputs.root={tree.root}", f"inputs.images={tree.images}")
    check(report, "emotion", "raf-db", OURS)


def test_gft(tmp_path, base):
    tree = gft(tmp_path / "data")
    with_faces(tree.root, tmp_path / "faces")
    inputs = {"root": tree.root, "images": tree.root / "Frames", "partition": tree.root / "partition.csv"}
    changes = [f"inputs.{key}={value}" for key, value in inputs.items()]
    check(run("gft", tmp_path / "run", base, *changes, "convert.every=1"), "au", "gft", OURS)


@pytest.mark.parametrize(("make", "images"), [(bp4d, "2D+3D"), (disfa, "Images")], ids=["bp4d", "disfa"])
def test_folds(tmp_path, base, make, images):
    tree = make(tmp_path / "data")
    with_faces(tree.root, tmp_path / "faces")
    changes = [f"inputs.root={tree.root}", f"inputs.images={tree.root / images}", "convert.every=1"]
    check(run(tree.name, tmp_path / "run", base, *changes), "au", tree.name, OURS)
