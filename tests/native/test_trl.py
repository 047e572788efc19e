# ruff: noqa: E402 - what is imported late needs transformers 5
"""TRL's own trainers take the native model: SFT with the processor's priors, LoRA, answers alone in the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
trl = pytest.importorskip("trl")
pytest.importorskip("dlib")

from native.folders import convert, load, make_source
from PIL import Image


def test_sft_trains_lora_and_prior_projector(golden: Path, tmp_path: Path) -> None:
    import skimage.data
    from datasets import Dataset
    from peft import LoraConfig

    model, processor = load(convert(make_source(tmp_path, golden), tmp_path / "hf"))
    face = Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250))  # NASA, public domain
    rows = [
        {
            "images": [face],
            "prompt": [{"role": "user", "content": "What AUs are conveyed by this face?"}],
            "completion": [{"role": "assistant", "content": f"AU{number} is active."}],
        }
        for number in (1, 4, 6, 12)
    ]
    seen: list[Any] = []
    forward = model.model.encode_facial_priors
    model.model.encode_facial_priors = lambda priors: (seen.append(priors.clone()), forward(priors))[1]
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=2,
        max_steps=4,
        learning_rate=1e-2,
        completion_only_loss=True,
        max_length=None,
        report_to=[],
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
    )
    lora = LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|v_proj)", modules_to_save=["prior_projector"])
    trainer = trl.SFTTrainer(
        model, settings, train_dataset=Dataset.from_list(rows), processing_class=processor, peft_config=lora
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses[-1] < losses[0]
    known = processor.compute_facial_priors([face]).features[0]
    assert len(seen) == 4 and all(torch.equal(row, torch.from_numpy(known)) for priors in seen for row in priors)
    assert all(priors.dtype == torch.float32 for priors in seen)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    kept = batch["labels"][0][batch["labels"][0] != -100]
    assert processor.decode(kept, skip_special_tokens=True).strip().startswith("AU")  # the answer and nothing else


def test_grpo_leaves_the_prior_to_the_model(golden: Path, tmp_path: Path) -> None:
    """GRPO stops at keys that it does not know: the processor leaves priors out, the model makes them."""
    import skimage.data
    from datasets import Dataset

    model, processor = load(convert(make_source(tmp_path, golden), tmp_path / "hf"))
    processor.leaves_priors_to_the_model = True
    face = Image.fromarray(skimage.data.astronaut()).crop((110, 10, 350, 250))  # NASA, public domain
    question = [{"role": "user", "content": "What AUs are conveyed by this face?"}]
    seen: list[Any] = []
    forward = model.model.encode_facial_priors
    model.model.encode_facial_priors = lambda priors: (seen.append(priors.clone()), forward(priors))[1]
    settings = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
    )
    trainer = trl.GRPOTrainer(
        model,
        reward_funcs=lambda completions, **_: [float(len(str(one))) for one in completions],
        args=settings,
        train_dataset=Dataset.from_list([{"image": face, "prompt": question}] * 4),
        processing_class=processor,
    )
    trainer.train()
    processor.save_pretrained(tmp_path / "saved")  # a matter of this trainer, not of the checkpoint
    assert not transformers.AutoProcessor.from_pretrained(tmp_path / "saved").leaves_priors_to_the_model
    known = torch.from_numpy(processor.compute_facial_priors([face]).features[0])
    assert trainer.state.global_step == 2 and len(seen) >= 2
    assert all(torch.equal(row, known) for priors in seen for row in priors)
