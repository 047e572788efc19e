"""Every recipe of the library, from label files to its table: real commands, real training, on small trees of faces."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
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
    assert report["field"][0], "the published figures stand beside ours"


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


def with_a_subject_in_each_fold(root: Path, folds: str, subject: str) -> None:
    """Copy all that a subject has to one of each fold, so that none is empty."""
    text = files("llava_faba.datatools.convert").joinpath(f"folds/{folds}.json").read_text()
    for people in json.loads(text)["folds"].values():
        for path in sorted(root.rglob(f"{subject}*")):
            named = path.with_name(path.name.replace(subject, people[0]))
            if path.is_dir() and not named.exists():
                shutil.copytree(path, named)
            elif path.is_file() and not named.exists() and path.parent.name != people[0]:
                shutil.copy(path, named)
        for path in sorted(root.rglob(f"{people[0]}/{subject}*")):
            path.rename(path.with_name(path.name.replace(subject, people[0])))


@pytest.mark.parametrize(
    ("make", "images", "subject"), [(bp4d, "2D+3D", "F001"), (disfa, "Images", "SN001")], ids=["bp4d", "disfa"]
)
def test_folds(tmp_path, base, make, images, subject):
    tree = make(tmp_path / "data")
    with_a_subject_in_each_fold(tree.root, tree.name, subject)
    with_faces(tree.root, tmp_path / "faces")
    changes = [f"inputs.root={tree.root}", f"inputs.images={tree.root / images}", "convert.every=1"]
    check(run(tree.name, tmp_path / "run", base, *changes), "au", tree.name, OURS)


@pytest.fixture(scope="module")
def faba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FABA-Instruct in small: records of both tasks, faces, and a landmark file for each picture."""
    import numpy as np

    folder = tmp_path_factory.mktemp("faba")
    names = make_faces(folder / "images", 8)
    generator = np.random.default_rng(0)
    for name in names:
        np.save(folder / f"{name}.npy", generator.normal(size=212).astype("float32"))
    labels = {"au": ("1, 12", "AU1 - Inner brow raiser. AU12 - Lip corner puller."), "emotion": ("0", "Happiness.")}
    for task, (label, text) in labels.items():
        question = QUESTION_VARIANTS[task][0]
        train, evaluation = [], []
        for number, name in enumerate(names):
            known = {"id": f"{task}-{number}", "image": f"images/{name}", "landmark": f"{name}.npy"}
            turns = [{"from": "human", "value": f"{question}\n<image>"}, {"from": "gpt", "value": text}]
            if number < 5:
                train.append({**known, "conversations": turns})
            else:
                evaluation.append({**known, "label": label, "gpt4": text})
        (folder / f"train_{task}_anno.json").write_text(json.dumps(train))
        (folder / f"eval_{task}_anno.json").write_text(json.dumps(evaluation))
    return folder


def inputs_of(faba: Path, task: str) -> list[str]:
    parts = {"images": faba, "train": faba / f"train_{task}_anno.json", "eval": faba / f"eval_{task}_anno.json"}
    return [f"inputs.{key}={value}" for key, value in parts.items()]


@pytest.mark.parametrize("task", ["au", "emotion"])
def test_faba_bench(tmp_path, base, faba, task):
    report = run(f"faba-bench-{task}", tmp_path / "run", base, *inputs_of(faba, task))
    check(report, task, "faba", OURS)
    assert report["tables"][0]["published"], "the published rows stand beside ours"


def test_prior_ablation(tmp_path, base, faba):
    changes = inputs_of(faba, "au")
    for model in ("prior-only", "vision-only", "projectors-only"):
        changes += [f"{model}.{key}={value}" for key, value in SMALL.items()]
    for model in ("both", "prior-only", "vision-only", "projectors-only"):
        changes.append(f"{model}-answers.max_new_tokens=8")
    report = run("prior-ablation", tmp_path / "run", base, *changes, train="both")
    check(report, "au", "faba", ["vision only", "prior only", "both", "projectors only"])
