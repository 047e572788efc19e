"""What a facial prior costs in training, as ratios of two measurements of one run.

python tests/benchmarks/bench_training.py            # prints the ratios; exit code 1 when one is out of bounds
python tests/benchmarks/bench_training.py --steps 60

Steps of EmoLA (priors from a store) and of plain LLaVA alternate in one process, both on sequences of the same length:
EmoLA's have the prior's token, plain LLaVA's one more token of text. A step is a batch from the dataset, forward,
backward and optimizer. Times are CPU seconds of one thread, which a busy machine does not change; wall time is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np

STEP, MEMORY, LOADER = 1.03, 1.03, 0.97
SIDE, PRIOR_SIZE, RECORDS, BATCH = 336, 136, 64, 2
QUESTION, ANSWER = "What AUs are conveyed by this face?", "AU1: the brows are raised. AU4: they go down. " * 8


class Prepared(Exception):
    """Raised where training would start: everything is built, nothing is trained yet."""


def write_data(root: Path) -> None:
    """A base with a tower of 336 pixels (576 patches), pictures, and the same priors as a store and as .npy files."""
    from PIL import Image

    from llava_faba.demo.base import BaseSize, build_base
    from llava_faba.priors.writer import PriorStoreWriter, Row

    size = BaseSize(
        hidden=256, layers=4, intermediate=688, vocabulary=400, vision_hidden=64, image=SIDE, patch=14, positions=1024
    )
    build_base(root / "base", root / "tower", [QUESTION, ANSWER] * 50, size)
    random = np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "landmarks").mkdir()
    priors = random.normal(size=(RECORDS, PRIOR_SIZE)).astype(np.float32) * 0.2
    smooth = [random.integers(0, 255, (24, 24, 3), dtype=np.uint8) for _ in range(RECORDS)]
    for number, pixels in enumerate(smooth):
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(root / "images" / f"{number}.jpg")
        np.save(root / "landmarks" / f"{number}.npy", priors[number])
    with PriorStoreWriter(root / "store", expert="dlib-68", version="1", settings={}, size=PRIOR_SIZE) as writer:
        writer.append(Row(f"images/{n}.jpg", priors[n], "found", (SIDE, SIDE)) for n in range(RECORDS))
    conversation = [{"from": "human", "value": f"{QUESTION}\n<image>"}, {"from": "gpt", "value": ANSWER}]
    records = [{"id": str(n), "image": f"images/{n}.jpg", "conversations": conversation} for n in range(RECORDS)]
    (root / "plain.json").write_text(json.dumps(records))
    named = [{**record, "landmark": f"landmarks/{n}.npy"} for n, record in enumerate(records)]
    (root / "npy.json").write_text(json.dumps(named))


def prepare(root: Path, variant: str) -> Any:
    """The trainer that LLaVA's train() builds for ``emola`` or ``plain``, with optimizer and model ready."""
    import llava_faba

    llava_faba.register()
    from llava.train import train as upstream

    flags = (
        f"--model_name_or_path {root}/base --vision_tower {root}/tower --data_path {root}/plain.json "
        f"--image_folder {root} --vision_tower_dtype float32 "
        f"--output_dir {root}/out --version v1 --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
        "--mm_use_im_patch_token False --image_aspect_ratio pad --lora_enable True --lora_r 16 --lora_alpha 32 "
        "--learning_rate 1e-4 --mm_projector_lr 2e-5 --model_max_length 1024 --report_to none "
    )
    prior = f"--facial_prior_expert dlib-68 --facial_prior_store {root}/store" if variant == "emola" else ""
    prior = prior or "--facial_prior_expert none"
    built: list[Any] = []
    original = upstream.LLaVATrainer

    class Caught(original):
        def train(self, *args: Any, **kwargs: Any) -> None:
            built.append(self)
            raise Prepared

    upstream.LLaVATrainer = Caught
    sys.argv = ["train", *flags.split(), *prior.split()]
    try:
        with contextlib.suppress(Prepared), contextlib.redirect_stdout(io.StringIO()):
            upstream.train()
    finally:
        upstream.LLaVATrainer = original
    (trainer,) = built
    trainer.create_optimizer()
    trainer.model.train()
    return trainer


def batch_of(trainer: Any, numbers: range, plain: bool) -> dict[str, Any]:
    import torch

    batch = trainer.data_collator([trainer.train_dataset[number % RECORDS] for number in numbers])
    if plain:  # one token of text more, where EmoLA has the prior's
        for key in ("input_ids", "labels", "attention_mask"):
            batch[key] = torch.cat((batch[key], batch[key][:, -1:]), dim=1)
    return dict(batch)


def step(trainer: Any, number: int, plain: bool) -> tuple[float, float]:
    """One step; its CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    inputs = batch_of(trainer, range(number * BATCH, (number + 1) * BATCH), plain)
    trainer.training_step(trainer.model, inputs)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.process_time() - cpu, time.perf_counter() - wall


def check_lengths(emola: Any, plain: Any) -> int:
    """The sequence length of both, which must be one."""
    lengths = []
    for trainer, is_plain in ((emola, False), (plain, True)):
        batch = trainer._prepare_inputs(batch_of(trainer, range(BATCH), is_plain))
        model = trainer.model.get_base_model()
        images = batch["images"]
        if not is_plain:
            images = model.with_priors(images, batch["facial_priors"])
        embeddings = model.prepare_inputs_labels_for_multimodal(
            batch["input_ids"], None, batch["attention_mask"], None, batch["labels"], images
        )[4]
        lengths.append(embeddings.shape[1])
    if lengths[0] != lengths[1]:
        raise SystemExit(f"the sequences differ: {lengths}")
    return lengths[0]


def step_ratio(root: Path, steps: int) -> float:
    emola, plain = prepare(root, "emola"), prepare(root, "plain")
    length = check_lengths(emola, plain)
    seen: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(steps + 3):
        for is_plain in (False, True) if number % 2 else (True, False):
            spent = step(plain if is_plain else emola, number, is_plain)
            if number >= 3:  # the first ones warm up
                seen[is_plain].append(spent)
    medians = {key: [statistics.median(values) for values in zip(*rows, strict=True)] for key, rows in seen.items()}
    cpu, wall = (medians[False][i] / medians[True][i] for i in (0, 1))
    print(
        f"step time, EmoLA over plain LLaVA, median of {steps} interleaved steps of {BATCH} x {length} tokens: "
        f"{cpu:.3f} (CPU; {medians[False][0]:.3f} s over {medians[True][0]:.3f} s), {wall:.3f} (wall)",
        flush=True,
    )
    return cpu


def memory_ratio(root: Path) -> float:
    """Peak resident memory of two processes that do the same, but for the prior."""
    peaks = {}
    for variant in ("emola", "plain"):
        command = [sys.executable, __file__, "--child", variant, "--root", str(root)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[variant] = int(output.split()[-1])
    ratio = peaks["emola"] / peaks["plain"]
    megabytes = {variant: peak // 1024 for variant, peak in peaks.items()}
    print(
        f"peak memory, EmoLA over plain LLaVA: {ratio:.3f} ({megabytes['emola']} MB over {megabytes['plain']} MB)",
        flush=True,
    )
    return ratio


def child(root: Path, variant: str) -> None:
    trainer = prepare(root, variant)
    for number in range(4):
        step(trainer, number, variant == "plain")
    # Not ru_maxrss: a new process inherits the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def loader_ratio(root: Path, rounds: int = 5) -> float:
    """Records a second with priors from the store, over those with .npy files; whole items, then priors alone."""
    trainer = prepare(root, "emola")
    stored = trainer.train_dataset
    arguments = stored.data_args
    arguments.facial_prior_store = None
    with contextlib.redirect_stdout(io.StringIO()):
        filed = type(stored)(f"{root}/npy.json", stored.tokenizer, arguments)
    ratio = 0.0
    for what, read in (("whole records", _items), ("priors alone", _priors)):
        spent: dict[bool, list[float]] = {True: [], False: []}
        for round_ in range(rounds + 1):
            for is_store in (True, False) if round_ % 2 else (False, True):
                start = time.process_time()
                read(stored if is_store else filed)
                spent[is_store].append(time.process_time() - start)
        store, files = (RECORDS / statistics.median(spent[key][1:]) for key in (True, False))
        print(
            f"data loader, store over .npy files, {what}: {store / files:.2f} ({store:.0f} over {files:.0f} records a "
            "second)"
        )
        ratio = ratio or store / files
    return ratio


def _items(dataset: Any) -> None:
    for number in range(RECORDS):
        dataset[number]


def _priors(dataset: Any) -> None:
    for record in dataset.list_data_dict:
        dataset.priors.get(record)


@contextlib.contextmanager
def data() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp())
    try:
        write_data(root)
        yield root
    finally:
        shutil.rmtree(root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--child", choices=("emola", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.root, args.child)
        return 0
    checks: list[tuple[str, float, Callable[[float], bool]]] = []
    with data() as root:
        checks.append(("step time", step_ratio(root, args.steps), lambda value: value <= STEP))
        checks.append(("peak memory", memory_ratio(root), lambda value: value <= MEMORY))
        checks.append(("data loader", loader_ratio(root), lambda value: value >= LOADER))
    failed = [name for name, value, is_good in checks if not is_good(value)]
    print(f"out of bounds: {', '.join(failed)}" if failed else "all within bounds")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
