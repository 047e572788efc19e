"""CPU seconds (user and system) of one ``llava-faba predict`` from a cold process, beside the imports that LLaVA needs.

python tests/benchmarks/bench_predict.py [--model-path CHECKPOINT] [--runs 3]

Without ``--model-path`` it asks a model of the demo's kind: LoRA on a small base, prior by dlib-68, 30 tokens.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

BARE = "import torch, transformers"
MODEL = f"{BARE}; import llava.model.language_model.llava_llama"


def make(folder: Path) -> tuple[Path, Path]:
    """A checkpoint, and a face for it."""
    import skimage.data
    from PIL import Image
    from tiny import make_emola

    face = folder / "face.png"
    Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250)).save(face)  # E. Collins, NASA, public domain
    return make_emola(folder / "model"), face


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command and all that it starts; ends the program where it fails."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", type=Path, help="another checkpoint whose prior dlib-68 computes")
    parser.add_argument("--runs", type=int, default=3, help="the least of so many counts (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model, face = make(Path(scratch))
        asked = ["predict", "--model-path", str(args.model_path or model), "--max-new-tokens", "30", str(face)]
        commands = {
            BARE: [sys.executable, "-c", BARE],
            "... and LLaVA's model class": [sys.executable, "-c", MODEL],
            "llava-faba predict": [sys.executable, "-m", "llava_faba.cli", *asked],
        }
        found = {name: min(cpu_seconds(command) for _ in range(args.runs)) for name, command in commands.items()}
    for name, seconds in found.items():
        print(f"{seconds:6.2f} s of CPU: {name}")
    bare, model_class, predict = found.values()
    print(f"ratio predict / bare imports {predict / bare:.2f}, predict / LLaVA's class {predict / model_class:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
