"""EmoLA training on every engine: real runs on the golden base, compared with each other.

    python tests/training/engine_matrix.py [--only PATTERN] [--write docs/measurements/engines.md]

Every cell is one command as a user gives it (python, torchrun or the deepspeed launcher) on eight records: faces, a
picture without prior and text only. Every step sees all eight in the same two micro batches of four, one after the
other in one process (gradient accumulation) or beside each other in two, so all cells do the same calculation.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))  # started as a script
from support import free_port, kill_tree  # noqa: E402

PROGRAM = Path(__file__).with_name("engine_program.py")
GOLDEN = ROOT / "tests" / "data" / "golden" / "emola_checkpoint"
STEPS = 4
TIME_LIMIT = 1200  # seconds for a command of some ten; a machine may be busy
RATE = 1e-3
FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --data_path data/records.json --output_dir out "
    "--vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
    "--mm_use_im_start_end False --mm_use_im_patch_token False --image_aspect_ratio pad "
    "--group_by_modality_length True --lora_enable True --lora_r 8 --lora_alpha 16 --lora_dropout 0 "
    f"--mm_projector_lr {RATE} --learning_rate {RATE} --lr_scheduler_type constant --model_max_length 512 "
    f"--report_to none --logging_steps 1 --max_steps {STEPS} --save_strategy no --lazy_preprocess True "
    "--per_device_train_batch_size 4 --facial_prior_expert precomputed"
)
# The records that are text only, and the (faces, other images, text only) of the two micro batches.
BATCHES = {
    "mixed": ((2, 3), ([1, 1, 2], [4, 0, 0])),
    "one rank text only": ((0, 1, 2, 3), ([0, 0, 4], [3, 1, 0])),
}
_PICTURE_WITHOUT_PRIOR = {"mixed": 1, "one rank text only": 4}


@dataclass(frozen=True)
class Cell:
    """One way to train."""

    engine: str  # plain, zero2, zero3, zero3_offload
    processes: int
    precision: str
    checkpointing: bool
    batches: str

    @property
    def name(self) -> str:
        checkpointing = "gc" if self.checkpointing else "nogc"
        return f"{self.engine}-{self.processes}-{self.precision}-{checkpointing}-{self.batches.split()[0]}"

    @property
    def reference(self) -> Cell:
        """What it is compared with: one process, no gradient checkpointing; without DeepSpeed in float32."""
        engine = "plain" if self.precision == "float32" else "zero2"
        return Cell(engine, 1, self.precision, False, self.batches)


@dataclass(frozen=True)
class Tolerance:
    """The largest differences of a loss, and of the weights' movement relative to that movement (Frobenius)."""

    loss: float
    movement: float


def tolerance(cell: Cell) -> Tolerance:
    """What a cell may differ by from its reference; docs/measurements/engines.md says why."""
    if cell.precision == "float32":
        return Tolerance(2e-5, 2e-2)
    return Tolerance(5e-3, 0.15 if cell.engine == "plain" else 0.1)


_ENGINES = ("plain", "zero2", "zero3", "zero3_offload")
_PRECISIONS = ("float32", "bfloat16")
CELLS = [
    *(Cell(*values, "mixed") for values in product(_ENGINES, (1, 2), _PRECISIONS, (False, True))),
    *(Cell(*values, False, "one rank text only") for values in product(_ENGINES, (2,), _PRECISIONS)),
]


@dataclass(frozen=True)
class Engine:
    """What must have been at work."""

    wrapped: tuple[str, str]  # with one process and with two
    zero: str | None = None
    offload: tuple[str | None, str | None] | None = None
    optimizer: str = "AdamW"


_DEEPSPEED = ("DeepSpeedEngine", "DeepSpeedEngine")
ENGINES = {
    "plain": Engine(("PeftModelForCausalLM", "DistributedDataParallel")),
    "zero2": Engine(_DEEPSPEED, "DeepSpeedZeroOptimizer, stage 2", (None, None)),
    "zero3": Engine(_DEEPSPEED, "DeepSpeedZeroOptimizer_Stage3, stage 3", (None, None)),
    "zero3_offload": Engine(
        _DEEPSPEED, "DeepSpeedZeroOptimizer_Stage3, stage 3", ("cpu", "cpu"), optimizer="DeepSpeedCPUAdam"
    ),
}


@dataclass
class Outcome:
    """What a run did: loss per step, what each process noted, trained weights by name."""

    losses: list[float]
    seen: list[dict[str, Any]]
    weights: dict[str, Any]
    initial: dict[str, Any]


def run(cell: Cell, folder: Path) -> Outcome:
    """Train one cell in ``folder``, or read what it left there before.

    Raises RuntimeError with the end of the log when it fails or hangs.
    """
    workspace = folder / cell.name
    finished = workspace / "finished"
    if finished.exists():
        return _outcome(workspace, cell.processes)
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(GOLDEN, workspace)
    _write_records(workspace / "data", cell.batches)
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    settings = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "PATH": binaries}
    with (workspace / "log").open("w") as log:
        process = subprocess.Popen(
            _command(cell), cwd=workspace, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **settings}
        )
        try:
            code: int | str = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.wait()
            code = f"none within {TIME_LIMIT} s"
    if code != 0:
        raise RuntimeError(f"{cell.name}: exit code {code}\n{(workspace / 'log').read_text()[-4000:]}")
    finished.touch()
    return _outcome(workspace, cell.processes)


def problems(cell: Cell, outcome: Outcome, reference: Outcome) -> list[str]:
    """What is not as it has to be: the engine, the batches, the projectors' runs, losses and weights."""
    wanted, found = ENGINES[cell.engine], []
    for rank, seen in enumerate(outcome.seen):
        at_work = {
            "engine": wanted.wrapped[cell.processes - 1],
            "optimizer": wanted.optimizer,
            "zero": wanted.zero,
            "offload": list(wanted.offload) if wanted.offload else None,
        }
        found += [
            f"rank {rank}: {key} {seen.get(key)}, not {value}"
            for key, value in at_work.items()
            if seen.get(key) != value
        ]
        batches = [step["batch"] for step in seen["steps"]]
        expected = BATCHES[cell.batches][1]
        if batches != (list(expected) if cell.processes == 1 else [expected[rank]]) * STEPS:
            found.append(f"rank {rank}: batches {batches}")
        if set(seen["projectors"].values()) != {len(batches)}:
            found.append(f"rank {rank}: in {len(batches)} steps the projectors ran {seen['projectors']}")
    allowed = tolerance(cell)
    if (loss := loss_difference(outcome, reference)) > allowed.loss:
        found.append(f"a loss differs by {loss:.1e}")
    if (movement := movement_difference(outcome, reference)) > allowed.movement:
        found.append(f"the weights' movement differs by {movement:.1e}")
    return found


def loss_difference(found: Outcome, expected: Outcome) -> float:
    """The largest difference of a step's loss."""
    return max(abs(a - b) for a, b in zip(found.losses, expected.losses, strict=True))


def weight_difference(found: Outcome, expected: Outcome) -> float:
    """The largest difference of a trained weight. Raises RuntimeError when other weights were trained."""
    if found.weights.keys() != expected.weights.keys():
        raise RuntimeError(f"other weights were trained: {found.weights.keys() ^ expected.weights.keys()}")
    return max(float((found.weights[name] - value).abs().max()) for name, value in expected.weights.items())


def movement_difference(found: Outcome, expected: Outcome) -> float:
    """Norm of the weights' difference over the norm of what training changed; two unrelated runs have about 1.4."""
    apart = sum(float((found.weights[n] - value).square().sum()) for n, value in expected.weights.items())
    moved = sum(float((expected.initial[n] - value).square().sum()) for n, value in expected.weights.items())
    return math.sqrt(apart / moved)


def rows(cells: list[Cell], folder: Path) -> Iterator[tuple[Cell, Outcome, Outcome]]:
    """Run cells; each with its outcome and its reference's, which is run first when it was not."""
    done: dict[Cell, Outcome] = {}
    for cell in cells:
        for one in (cell.reference, cell):
            if one not in done:
                done[one] = run(one, folder)
        yield cell, done[cell], done[cell.reference]


def _command(cell: Cell) -> list[str]:
    flags = [*FLAGS, "--gradient_accumulation_steps", str(2 // cell.processes)]
    flags += ["--bf16", str(cell.precision == "bfloat16"), "--gradient_checkpointing", str(cell.checkpointing)]
    port = str(free_port())
    if cell.engine == "plain" and cell.processes == 1:
        return [sys.executable, str(PROGRAM), *flags]
    if cell.engine == "plain":
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
        return [*launcher, str(PROGRAM), *flags, "--use_cpu", "True", "--ddp_backend", "gloo"]
    launcher = [str(Path(sys.executable).with_name("deepspeed")), f"--num_gpus={cell.processes}"]
    config = "zero3_offload" if cell.engine == "zero3_offload" else f"{cell.engine}_cpu"
    config = str(ROOT / "scripts" / f"{config}.json")
    return [*launcher, f"--master_port={port}", str(PROGRAM), *flags, "--deepspeed", config]


def _write_records(data: Path, batches: str) -> None:
    records = json.loads((data / "train.json").read_text())
    records[_PICTURE_WITHOUT_PRIOR[batches]].pop("landmark")
    for number in BATCHES[batches][0]:
        records[number].pop("image"), records[number].pop("landmark")
        records[number]["conversations"][0]["value"] = "What is AU4?"
    (data / "records.json").write_text(json.dumps(records))


def _outcome(workspace: Path, processes: int) -> Outcome:
    import torch

    from llava_faba.model.checkpoints import read_weights

    seen = [json.loads((workspace / f"seen-{rank}.json").read_text()) for rank in range(processes)]
    if processes == 1:
        micro = [step["loss"] for step in seen[0]["steps"]]
        losses = [first + second for first, second in zip(micro[::2], micro[1::2], strict=True)]
    else:
        losses = [
            (first["loss"] + second["loss"]) / 2
            for first, second in zip(seen[0]["steps"], seen[1]["steps"], strict=True)
        ]
    adapter = read_weights(next((workspace / "out").glob("adapter_model.*")))
    weights = {name.replace(".weight", ".default.weight"): value for name, value in adapter.items()}
    weights |= read_weights(workspace / "out" / "non_lora_trainables.bin")
    start = workspace / "initial.pt"
    initial = torch.load(start, weights_only=True) if start.is_file() else {}
    return Outcome(losses, seen, _double(weights), _double(initial))


def _double(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: value.double() for name, value in weights.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="*", help="pattern of cell names, such as 'zero3-2-*'")
    parser.add_argument("--write", type=Path, help="put the table into this page, between its two marks")
    parser.add_argument("--folder", type=Path, help="keep the runs there, and do not run again what it holds")
    args = parser.parse_args()
    chosen = [cell for cell in CELLS if fnmatch.fnmatch(cell.name, args.only)]
    lines = [
        "| engine | processes | precision | gradient checkpointing | batches | engine at work | last loss | "
        "loss differs by | weights differ by | movement differs by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for cell, outcome, reference in rows(chosen, args.folder or Path(scratch)):
            wrong = problems(cell, outcome, reference)
            failed += bool(wrong)
            lines.append(_line(cell, outcome, reference))
            print(lines[-1], *wrong, sep="\n   WRONG: ", flush=True)
    if args.write and not failed:
        _write_table(args.write, "\n".join(lines))
    print(f"{len(chosen)} cells, {failed} wrong")
    return 1 if failed else 0


def _line(cell: Cell, outcome: Outcome, reference: Outcome) -> str:
    seen = outcome.seen[0]
    at_work = ", ".join(str(seen[key]) for key in ("engine", "zero", "optimizer") if key in seen)
    same = "reference" if cell == cell.reference else None
    differences = (
        f"{loss_difference(outcome, reference):.1e}",
        f"{weight_difference(outcome, reference):.1e}",
        f"{movement_difference(outcome, reference):.1e}",
    )
    values = (
        cell.engine,
        str(cell.processes),
        cell.precision,
        "on" if cell.checkpointing else "off",
        cell.batches,
        at_work,
        f"{outcome.losses[-1]:.4f}",
        *(same or value for value in differences),
    )
    return f"| {' | '.join(values)} |"


def _write_table(page: Path, table: str) -> None:
    begin, end = "<!-- table: begin -->\n", "\n<!-- table: end -->"
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(begin)
    page.write_text(f"{head}{begin}{table}{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
