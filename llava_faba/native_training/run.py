"""One training in transformers' home, from its file to a folder that loads."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
import transformers
from faba_bench.console.output import say
from faba_bench.files.digests import sha256_file, sha256_json

from llava_faba.errors import UserError
from llava_faba.model.fingerprint import fingerprint
from llava_faba.native_training.config import TrainSettings
from llava_faba.native_training.data import Collator, TrainingData
from llava_faba.native_training.encoding import Encoder
from llava_faba.native_training.models import load, load_base, lora_config
from llava_faba.native_training.processes import end_together, prepare_processes
from llava_faba.native_training.trainer import NativeTrainer
from llava_faba.native_training.validation import Validation
from llava_faba.training.full_disk import saying_full_disk
from llava_faba.training.identity import COMPLETE, digest_of_pictures, digest_of_priors
from llava_faba.training.run_lock import hold_output, releasing_output
from llava_faba.training.stopping import stoppable

MERGED = "merged"
_FREE = ("save_steps", "save_strategy", "save_total_limit", "logging_steps", "report_to", "disable_tqdm", "use_cpu")
_LENGTH = ("num_train_epochs", "max_steps")


def train(settings: TrainSettings) -> Path:
    """Train, validate and save; returns the folder of the adapter. The same call resumes where it stopped.

    ``out`` then holds the PEFT adapter and the processor, ``out/merged`` the whole model where ``merge`` is set,
    ``out/base`` a base model that was given a prior here. Raises UserError, RecordError, PriorError, CheckpointError.
    """
    arguments = trainer_arguments(settings)
    with stoppable(None), releasing_output(), saying_full_disk(settings.out):
        hold_output(settings.out)
        trainer, validation = prepare(settings, arguments)
        trainer.train()
        _finish(trainer, validation, settings)
        end_together()
    return Path(settings.out)


def prepare(settings: TrainSettings, arguments: Any) -> tuple[NativeTrainer, Validation | None]:
    """Everything that is checked before the first step, and the trainer."""
    from datasets import Dataset

    data = TrainingData(settings)
    model, processor, place = load_base(settings, data)
    data.check_model(model.config)
    encoder = Encoder(model, processor)
    data.check_mixture(encoder, sharded=arguments.deepspeed is not None)
    context = _context(model)
    if settings.max_length > context:
        raise UserError(f"max_length is {settings.max_length}, and {settings.model} takes {context} positions.")
    data.check_lengths(encoder, settings.max_length)
    chosen = settings.validation
    validation = None if chosen is None else Validation(settings, chosen, processor)
    peft_config = lora_config(model, settings.lora)
    model.config.use_cache = False
    trainer = NativeTrainer(
        model,
        arguments,
        data_collator=Collator(data, encoder),
        train_dataset=Dataset.from_dict({"record": list(range(len(data.list_data_dict)))}),
        processing_class=processor,
        peft_config=peft_config,
        callbacks=[] if validation is None else [validation],
        settings=identity(settings, data, arguments),
        image_rate=settings.image_projector_rate,
    )
    for config in trainer.model.peft_config.values():
        config.base_model_name_or_path = str(Path(place).resolve()) if Path(place).is_dir() else place
    return trainer, validation


def trainer_arguments(settings: TrainSettings) -> Any:
    """TRL's SFTConfig of a training. Raises UserError for names and values that it does not take."""
    prepare_processes(settings)
    from transformers import HfArgumentParser
    from trl import SFTConfig

    class Refusing(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise UserError(f"trainer: {message}")

    words = ["--output_dir", settings.out, "--learning_rate", str(settings.learning_rate)]
    defaults: dict[str, Any] = {
        "report_to": "none",
        "logging_steps": 1,
        "save_steps": 500,
        "gradient_checkpointing": False,
    }
    for name, value in {**defaults, **settings.trainer}.items():
        if value is None:
            continue
        words.append(f"--{name}")
        words += [str(one) for one in value] if isinstance(value, list) else [str(value)]
    words += ["--bf16", str(settings.dtype == "bfloat16"), "--fp16", str(settings.dtype == "float16")]
    words += ["--remove_unused_columns", "False"]
    parser = Refusing(SFTConfig, allow_abbrev=False)
    try:
        (arguments,) = parser.parse_args_into_dataclasses(words, look_for_args_file=False)
    except (ValueError, OSError, ImportError) as error:
        raise UserError(f"trainer: {error}") from error
    arguments.max_length = None  # checked before; nothing is cut
    arguments.dataset_kwargs = {"skip_prepare_dataset": True}
    return arguments


def identity(settings: TrainSettings, data: TrainingData, arguments: Any) -> dict[str, Any]:
    """What decides the weights, as a checkpoint holds it: every setting but places, and the content of what is read."""
    plain = dataclasses.asdict(settings)
    for name in ("out", "records", "image_folder", "priors", "validation", "merge", "trainer", "model"):
        plain.pop(name)
    chosen = {name: value for name, value in settings.trainer.items() if name not in (*_FREE, *_LENGTH)}
    deepspeed = chosen.pop("deepspeed", None)
    found: dict[str, Any] = {f"trainer.{name}": value for name, value in chosen.items()}
    found |= {name: getattr(arguments, name) for name in _LENGTH}
    found |= {name: json.loads(json.dumps(value)) for name, value in plain.items()}
    found["processes"] = int(os.environ.get("WORLD_SIZE", 1))
    found["deepspeed"] = None if deepspeed is None else sha256_file(Path(str(deepspeed)))
    found["records"] = sha256_json(data.list_data_dict)
    images = [record["image"] for record in data.list_data_dict if "image" in record]
    found["pictures"] = digest_of_pictures(list(dict.fromkeys(images)), data.folder, data.store)
    found["priors"] = digest_of_priors(data.priors, data.list_data_dict)
    folder = Path(settings.model)
    found["model"] = fingerprint([folder]) if folder.is_dir() else settings.model
    found["transformers"] = transformers.__version__
    found[COMPLETE] = True
    return found


def _context(model: Any) -> int:
    config = model.vlm.config if hasattr(model, "vlm") else model.config
    return int(config.get_text_config().max_position_embeddings)


def _finish(trainer: NativeTrainer, validation: Validation | None, settings: TrainSettings) -> None:
    if validation is not None:
        trainer.state.log_history.append(
            {"step": trainer.state.global_step, **validation.run(trainer.model, trainer.state.global_step)}
        )
    trainer.save_model(settings.out)
    if not trainer.is_world_process_zero():
        return
    trainer.processing_class.save_pretrained(settings.out)
    trainer.state.save_to_json(str(Path(settings.out) / "trainer_state.json"))
    say(f"adapter written to {settings.out}")
    if settings.merge:
        say(f"merged model written to {merge(settings)}")


def merge(settings: TrainSettings) -> Path:
    """The adapter put into its base, as a folder that needs no PEFT."""
    from faba_bench.files.folders import new_folder
    from peft import PeftConfig, PeftModel
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    out = Path(settings.out)
    unset_hf_deepspeed_config()  # ZeRO-3 would share out what this process alone loads
    place = str(PeftConfig.from_pretrained(str(out)).base_model_name_or_path)
    model, processor = load(place, settings.dtype)
    merged = PeftModel.from_pretrained(model, str(out)).merge_and_unload()
    folder = out / MERGED
    if folder.exists():
        import shutil

        shutil.rmtree(folder)
    with new_folder(folder, error=UserError) as draft, torch.no_grad():
        merged.save_pretrained(draft)
        processor.save_pretrained(draft)
    return folder
