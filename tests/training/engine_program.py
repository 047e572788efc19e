"""The program of one cell of the engine matrix: the training command, with a trainer that notes what it saw.

Each process writes ``seen-RANK.json``: per micro step its loss and its batch (how many faces, other images and texts
only, and which records), how often the two projectors ran, and which engine was at work. A run that ZeRO-3 does not
partition also writes the trained weights as they were before the first step.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

IMAGE_TOKEN = -200


def main() -> int:
    import torch

    from llava_faba.registration import register
    from llava_faba.training.main import main as train_emola
    from llava_faba.upstream import import_llava

    register()
    upstream = import_llava("llava.train.train")

    class Noting(upstream.LLaVATrainer):  # type: ignore[misc, name-defined]
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            batch, records = _kinds(inputs), _records(inputs)
            loss = super().training_step(model, inputs, *args, **kwargs)
            self.seen.append({"loss": float(loss), "batch": batch, "records": records})
            return loss

        def train(self, *args: Any, **kwargs: Any) -> Any:
            self.seen: list[dict[str, Any]] = []
            runs = dict.fromkeys(("mm_projector", "landmark_feature_projector"), 0)

            def count(name: str) -> Any:
                def hook(*_: Any) -> None:
                    runs[name] += 1

                return hook

            for name, module in self.model.named_modules():
                if name.rpartition(".")[2] in runs:
                    module.register_forward_hook(count(name.rpartition(".")[2]))
            trained = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
            if not any(hasattr(value, "ds_id") for value in trained.values()):
                torch.save({name: value.detach().clone() for name, value in trained.items()}, "initial.pt")
            result = super().train(*args, **kwargs)
            noted = {"steps": self.seen, "projectors": runs, **_engine(self)}
            Path(f"seen-{self.args.process_index}.json").write_text(json.dumps(noted))
            return result

    upstream.LLaVATrainer = Noting
    return train_emola()


def _kinds(inputs: Any) -> list[int]:
    with_image = (inputs["input_ids"] == IMAGE_TOKEN).any(1).tolist()
    with_prior = inputs["facial_priors"].any(1).tolist()
    faces = sum(image and prior for image, prior in zip(with_image, with_prior, strict=True))
    return [faces, sum(with_image) - faces, len(with_image) - sum(with_image)]


def _records(inputs: Any) -> list[str]:
    """A name for each record of a batch, made of its tokens."""
    rows = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    return [hashlib.sha256(str(row[mask].tolist()).encode()).hexdigest()[:8] for row, mask in rows]


def _engine(trainer: Any) -> dict[str, Any]:
    wrapped = trainer.model_wrapped
    inner = trainer.optimizer
    noted: dict[str, Any] = {"engine": type(wrapped).__name__}
    if trainer.is_deepspeed_enabled:
        noted["zero"] = f"{type(wrapped.optimizer).__name__}, stage {wrapped.zero_optimization_stage()}"
        noted["offload"] = [_device(wrapped.zero_offload_optimizer()), _device(wrapped.zero_offload_param())]
        inner = wrapped.optimizer.optimizer
        held = getattr(wrapped.optimizer, "single_partition_of_fp32_groups", None)
        held = wrapped.optimizer.fp32_partitioned_groups_flat if held is None else held
        noted["held"] = sum(group.numel() for group in held)
    while hasattr(inner, "optimizer"):  # accelerate's and transformers' wrappers
        inner = inner.optimizer
    return {**noted, "optimizer": type(inner).__name__}


def _device(config: Any) -> str | None:
    device = getattr(config, "device", None)
    return None if device is None else str(getattr(device, "value", device))


if __name__ == "__main__":
    sys.exit(main())
