#!/usr/bin/env python3
"""``make recipes [RECIPES="words of a row"]``: each recipe of docs/install.md, typed as it stands there.

For each row of the page's table: a fresh environment and a folder of its own, both with a blank in their path, the
command with the paths of the wheel in dist/ and of this clone put in, and then what somebody does next: the doctor,
a face through dlib, the check of an annotation file, a training of four steps and the model that it made. Takes
gigabytes and some ten minutes (torch, twice), so CI leaves it out; each environment is removed after its recipe.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "install.md"
GOLDEN = ROOT / "tests" / "data" / "golden" / "emola_checkpoint"
FACE = ROOT / "docs" / "images" / "web-page.png"  # E. Collins, NASA, public domain
TRAINING = (
    "-m llava_faba.training --model_name_or_path base --version v1 --image_folder data --data_path data/train.json "
    "--output_dir out-llava-lora --vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu "
    "--mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False --image_aspect_ratio pad "
    "--per_device_train_batch_size 2 --lora_enable True --lora_r 8 --lora_alpha 16 --mm_projector_lr 2e-5 "
    "--learning_rate 2e-3 --model_max_length 512 --report_to none --logging_steps 1 --max_steps 4 "
    "--facial_prior_expert precomputed --lazy_preprocess True"
)
LOADING = (
    "import llava_faba; loaded = llava_faba.load_model('out-llava-lora', 'base'); "
    "print(llava_faba.__file__, loaded.model.config.model_type)"
)


class Place:
    """A fresh environment and a folder to work in."""

    def __init__(self, folder: Path, python: str) -> None:
        self.environment, self.folder = folder / "an environment", folder / "a folder"
        subprocess.run([python, "-m", "venv", str(self.environment)], check=True)
        shutil.copytree(GOLDEN, self.folder)
        (self.folder / "faces").mkdir()
        shutil.copy(FACE, self.folder / "faces")
        self.python = self.environment / "bin" / "python"
        self.variables = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "VIRTUAL_ENV": str(self.environment),
            "PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def run(self, command: str, code: int = 0) -> str:
        """A line of bash, in the folder, with the environment switched on; what it prints."""
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=self.folder, env=self.variables, capture_output=True, text=True)
        if done.returncode != code:
            sys.exit(f"{command}\nexit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout


def loads_and_trains(place: Place) -> Iterator[str]:
    found = {one["name"]: one for one in json.loads(place.run("llava-faba doctor --json"))}
    yield found["versions"]["text"]
    yield f"doctor: {found['trial']['text']}"
    place.run("llava-faba priors extract faces/ --expert dlib-68 --out priors --no-progress")
    told = json.loads(place.run("llava-faba priors info priors --json"))
    yield f"dlib-68: {told['status']}"
    place.run(f"python {TRAINING}")
    state = json.loads((place.folder / "out-llava-lora" / "trainer_state.json").read_text())
    losses = [round(entry["loss"], 3) for entry in state["log_history"] if "loss" in entry]
    where, kind = place.run(f"python -c {shlex.quote(LOADING)}").rsplit(None, 1)
    if kind != "emollava" or not where.startswith(str(place.environment)) or len(losses) != 4:
        sys.exit(f"trained {losses}, loaded {kind} with {where}")
    yield f"trained, losses {losses}, and loaded again"


def checks_data(place: Place) -> Iterator[str]:
    found = {one["name"]: one for one in json.loads(place.run("llava-faba doctor --json", code=1))}
    missing = sorted(name for name, one in found.items() if one["level"] == "error")
    if "llava" not in missing or "torch" not in missing:
        sys.exit(f"the doctor finds {missing}")
    yield f"doctor: without {', '.join(missing)}"
    place.run("llava-faba data validate data/train.json --image-folder data --no-near-duplicates")
    yield "data validate: no errors"


# By the first words of a row: the Pythons (the first that is here), and what comes after the command.
RECIPES: dict[str, tuple[tuple[str, ...], Callable[[Place], Iterator[str]]]] = {
    "LLaVA with its own pins": (("3.10",), loads_and_trains),
    "the newest packages": (("3.13", "3.12", "3.11"), loads_and_trains),
    "the same without uv": (("3.12", "3.11", "3.13"), loads_and_trains),
    "the scorer and the data tools": (("3.13", "3.12", "3.11", "3.10"), checks_data),
}


def main(wanted: list[str]) -> int:
    wheel = next((ROOT / "dist").glob("*.whl"), None)
    if wheel is None:
        sys.exit("tools/recipes.py: no wheel in dist/; run 'make dist'.")
    for words, command in commands(PAGE.read_text(encoding="utf-8")).items():
        if wanted and not any(one in words for one in wanted):
            continue
        pythons, check = RECIPES[words]
        found = subprocess.run([str(ROOT / "tools" / "python"), *pythons], capture_output=True, text=True)
        if found.returncode != 0:
            print(f"{words}: skipped, {found.stderr.strip()}")
            continue
        with tempfile.TemporaryDirectory(prefix="a recipe ") as folder:
            start = time.monotonic()
            place = Place(Path(folder), found.stdout.strip())
            command = command.replace("WHEEL", str(wheel)).replace("CLONE", str(ROOT))
            print(f"== {words}\n{command}", flush=True)
            place.run(command)
            print(f"installed in {time.monotonic() - start:.0f} s", flush=True)
            for line in check(place):
                print(f"  {line}", flush=True)
    return 0


def commands(page: str) -> dict[str, str]:
    """The page's recipes by the words of ``RECIPES``; those of a clone ('make ...') are CI's own."""
    rows = re.findall(r"^\| ([^|]+) \| `([^`|]+)`", page, flags=re.MULTILINE)
    found = {}
    for text, command in rows:
        if "pip install" in command:
            known = [words for words in RECIPES if text.startswith(words)]
            if len(known) != 1:
                sys.exit(f"tools/recipes.py knows no test of the recipe '{text}'")
            found[known[0]] = command
    if found.keys() != RECIPES.keys():
        sys.exit(f"docs/install.md has no recipe '{(RECIPES.keys() - found.keys()).pop()}'")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
