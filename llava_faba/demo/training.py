"""The demo's training commands: what a user would type, run as subprocesses with their output in a log file."""

from __future__ import annotations

import importlib.resources
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from llava_faba.demo.settings import EXPERT, DemoSettings, Variant
from llava_faba.errors import UserError

_TAIL = 15
_SAVED_EVERY = 0.1  # of all steps: what an interruption can cost at most
_STEP = re.compile(rb"(\d+)/(\d+) \[")


def base_command(settings: DemoSettings, untrained: Path, records: Path) -> list[str]:
    """Upstream's own ``llava.train.train``, whole language model and image projector, on captions and sentences."""
    return [
        *_deepspeed(settings),
        "--module",
        "llava_faba",
        "run",
        "llava.train.train",
        *_common(settings, untrained, records, settings.base),
        *_flags(num_train_epochs=settings.base_epochs, learning_rate=settings.base_learning_rate),
    ]


def emola_command(settings: DemoSettings, variant: Variant, records: Path) -> list[str]:
    """``deepspeed scripts/train_emola.py``: LoRA on the demo's base, with or without a facial prior."""
    prior: dict[str, object] = {"facial_prior_expert": variant.expert}
    if variant.expert == EXPERT:
        prior |= {
            "facial_prior_store": settings.priors,
            "facial_prior_normalization": variant.normalization,
        }
    return [
        *_deepspeed(settings),
        str(scripts_folder() / "train_emola.py"),
        *_common(settings, settings.base, records, settings.adapter(variant)),
        *_flags(
            **prior,
            lora_enable=True,
            lora_r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
        ),
    ]


def run_training(
    command: Sequence[str],
    output: Path,
    log: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    go_on: bool = False,
) -> None:
    """Run a training command from a clean output folder, or with ``go_on`` from the checkpoints that lie there.

    Raises UserError with the end of the log when it fails.
    """
    if output.exists() and not go_on:
        shutil.rmtree(output)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("ab" if go_on else "wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        try:
            while chunk := process.stdout.read1(65536):  # type: ignore[union-attr]
                file.write(chunk)
                file.flush()
                steps = _STEP.findall(chunk)
                if steps and progress:
                    progress(int(steps[-1][0]), int(steps[-1][1]))
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.terminate()
            code = process.wait()
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        raise UserError(f"training failed with exit code {code}; the end of {log}:\n" + "\n".join(tail))


def scripts_folder() -> Path:
    """Where train_emola.py and the DeepSpeed configs lie, in a clone and in an installed wheel."""
    return Path(str(importlib.resources.files("llava_faba.scripts") / "zero2_cpu.json")).parent


def _deepspeed(settings: DemoSettings) -> list[str]:
    launcher = Path(sys.executable).with_name("deepspeed")
    return [
        str(launcher),
        f"--num_gpus={settings.processes}",
        f"--master_port={_free_port()}",
    ]


def _common(settings: DemoSettings, model: Path, records: Path, output: Path) -> list[str]:
    return _flags(
        deepspeed=scripts_folder() / "zero2_cpu.json",
        model_name_or_path=model.resolve(),
        version="llava_v1",
        data_path=records,
        image_folder=settings.data,
        vision_tower=settings.vision_tower.resolve(),
        vision_tower_dtype="float32",
        mm_projector_type="mlp2x_gelu",
        mm_vision_select_layer=-2,
        mm_use_im_start_end=False,
        mm_use_im_patch_token=False,
        image_aspect_ratio="pad",
        group_by_modality_length=True,
        output_dir=output,
        per_device_train_batch_size=settings.batch,
        weight_decay=0.0,
        warmup_ratio=0.03,
        lr_scheduler_type="cosine",
        model_max_length=settings.size.positions,
        save_strategy="steps",
        save_steps=_SAVED_EVERY,
        save_total_limit=1,
        logging_steps=10,
        report_to="none",
        seed=settings.seed,
        lazy_preprocess=True,
        dataloader_num_workers=0,
    )


def _flags(**values: object) -> list[str]:
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
