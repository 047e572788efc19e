"""The wheel: what it holds, and that it works away from the clone, beside LLaVA and without torch."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from support import ADAPTER, ROOT, tool

pytestmark = pytest.mark.slow
DIST = tool("dist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git or the sdist knows, so that nothing else gets in and no build/ is left here."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    DIST.copy(DIST.tracked(), source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), "."]
    subprocess.run(build, cwd=source, check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it, which sees LLaVA and the rest of this one but not our clone."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    # A path in a .pth file: the packages are seen, the editable install's own .pth file is not read.
    (site / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(environment / "bin" / "python"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env={**variables, "OMP_NUM_THREADS": "1"},
    )


def test_it_holds_what_people_without_a_clone_need(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    scripts = {name for name in DIST.tracked() if name.startswith("scripts/") and name.endswith((".json", ".sh"))}
    assert len(scripts) >= 6 and {f"llava_faba/{name}" for name in scripts} <= names
    patches = {f"llava_faba/{path.relative_to(ROOT)}" for path in (ROOT / "patches").glob("*/*.patch")}
    assert len(patches) >= 5 and patches <= names
    assert {"llava_faba/py.typed", "faba_bench/py.typed", "faba_bench/protocols/faba.json"} <= names
    data = "llava_faba/datatools"
    assert {f"{data}/convert/folds/{name}.json" for name in ("bp4d", "disfa")} <= names
    assert {f"{data}/validate/{kind}.schema.json" for kind in ("training", "evaluation")} <= names
    assert {f"{data}/annotate/prompts/{task}-v1.txt" for task in ("au", "emotion")} <= names
    assert {f"{data}/annotate/page/{name}" for name in ("page.html", "card.html", "style.css", "script.js")} <= names
    assert not [name for name in names if name.startswith(("tests", "eval/", "docs"))]


def test_the_base_install_has_neither_torch_nor_transformers_nor_llava(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    names = {re.split(r"[^\w-]", line)[0].lower() for line in needed}
    assert {"numpy", "pillow"} <= names
    assert not names & {"torch", "transformers", "accelerate", "peft", "deepspeed", "sentencepiece", "llava-torch"}
    assert metadata["Requires-Python"] == ">=3.10"


def test_label_files_are_converted_and_checked_from_another_folder(environment, tmp_path):
    from PIL import Image

    labels, images = tmp_path / "RAF-DB" / "EmoLabel", tmp_path / "RAF-DB" / "Image" / "aligned"
    labels.mkdir(parents=True)
    images.mkdir(parents=True)
    names = ["train_00001", "train_00002", "test_0001"]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(images / f"{name}_aligned.jpg")
    (labels / "list_patition_label.txt").write_text("".join(f"{name}.jpg {n + 1}\n" for n, name in enumerate(names)))
    convert = ["-m", "llava_faba", "data", "convert", "rafdb", "--root", "RAF-DB", "--out", "data"]
    converted = run(environment, tmp_path, *convert)
    assert converted.returncode == 0, converted.stderr[-2000:]
    files = ["data/train_emotion_anno.json", "data/eval_emotion_anno.json"]
    command = ["-m", "llava_faba", "data", "validate", *files, "--image-folder", "RAF-DB", "--no-near-duplicates"]
    checked = run(environment, tmp_path, *command)
    assert checked.returncode == 0, checked.stdout + checked.stderr[-2000:]
    assert "3 records, 3 images: 0 errors, 0 warnings" in checked.stdout


def test_it_loads_a_checkpoint_from_another_folder(environment, tmp_path, golden):
    program = (
        "import llava_faba; print(llava_faba.__file__);"
        f"print(llava_faba.load_model({str(golden / ADAPTER)!r}, {str(golden / 'base')!r})[1].config.model_type)"
    )
    done = run(environment, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr[-2000:]
    where, kind = done.stdout.split()[-2:]
    assert where.startswith(str(environment)) and kind == "emollava"


def test_commands_and_experts_are_found(environment, tmp_path):
    done = run(environment, tmp_path, "-m", "llava_faba", "doctor", "--json")
    report = json.loads(done.stdout)
    assert report
    names = run(environment, tmp_path, "-c", "from llava_faba.experts import expert_names; print(*expert_names())")
    assert "dlib-68" in names.stdout and "emola-106" in names.stdout


def test_training_finds_its_installed_config(environment, tmp_path):
    """As far as the data, which is not there: the config's bare name has been understood by then."""
    arguments = ["--facial_prior_expert", "dlib-68", "--deepspeed", "zero4.json", "--output_dir", "out"]
    done = run(environment, tmp_path, "-m", "llava_faba.training", *arguments)
    assert done.returncode == 2 and "zero2_cpu.json, zero3.json" in done.stderr


def test_the_scorer_works_without_torch(wheel, tmp_path):
    """No package but faba_bench's own two, by way of a folder that holds links to them."""
    import numpy
    import rouge_score

    alone = tmp_path / "alone"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(alone, [name for name in archive.namelist() if name.startswith("faba_bench/")])
    for package in (numpy, rouge_score, *_needed_by_rouge_score()):
        source = Path(package.__file__)
        source = source.parent if source.name == "__init__.py" else source
        (alone / source.name).symlink_to(source)
    for libraries in Path(numpy.__file__).parents[1].glob("numpy*.libs"):
        (alone / libraries.name).symlink_to(libraries)
    texts = ["AU1 and AU4.", "AU12."]
    records = [
        {"image": "a.png", "label": label, "gpt4": text} for label, text in zip(("1, 4", "12"), texts, strict=True)
    ]
    (tmp_path / "anno.json").write_text(json.dumps(records))
    lines = [json.dumps({"question_id": number, "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    flags = ["--task", "au", "--protocol", "faba", "--annotations", "anno.json", "--answers", "answers.jsonl"]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "faba_bench", "score", *flags, "--json", "out.json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(alone), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "out.json").read_text())["modes"]["reference"]["s_re"] == 100


def _needed_by_rouge_score() -> list[object]:
    import absl
    import nltk
    import six

    return [absl, nltk, six]
