"""LLaVA's trainer, for models with a facial prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from llava_faba.compat.half import check_can_compute, cpu_has_half
from llava_faba.data.lengths import picture_positions
from llava_faba.data.module import FabaCollator, FabaDataset
from llava_faba.emola.normalization import fit_statistics
from llava_faba.emola.settings import stands_for_reference
from llava_faba.errors import UserError
from llava_faba.model.config import has_prior, prior_size
from llava_faba.model.prior_origin import PriorOrigin
from llava_faba.model.projector import PROJECTOR_NAME
from llava_faba.training.evaluating_trainer import evaluating_trainer
from llava_faba.training.loadable import check_loadable
from llava_faba.training.prior_report import report_priors
from llava_faba.training.random_parts import refuse_frozen_random
from llava_faba.training.resume import checkpoint_config
from llava_faba.training.resuming_trainer import resuming_trainer
from llava_faba.training.saving import gather_non_lora, saved_for_use, write_non_lora, write_prior_projector
from llava_faba.training.template import record_template
from llava_faba.vetting.prior_parts import SIZES_KEY


def emola_trainer(original: Any) -> Any:
    """LLaVATrainer with what a facial prior needs; with a plain model it leaves priors out of the batches."""

    base: Any = evaluating_trainer(resuming_trainer(original))

    class EmolaTrainer(base):
        def __init__(self, model: Any = None, *args: Any, **kwargs: Any) -> None:
            collator, dataset = kwargs.get("data_collator"), kwargs.get("train_dataset")
            if isinstance(collator, FabaCollator):
                collator.with_priors = has_prior(model.config)
            record_template(model.config)
            if isinstance(dataset, FabaDataset):
                dataset.check_lengths(picture_positions(model))
            _prepare_projector_stage(model, kwargs["args"])
            refuse_frozen_random(model)
            if has_prior(model.config):
                _place_quantized(model, kwargs["args"])
                _prepare_prior(model, dataset, checkpoint_config(kwargs["args"].output_dir))
            check_loadable(model, kwargs["args"])
            _set_tower_dtype(model, kwargs["args"].vision_tower_dtype)
            super().__init__(model, *args, **kwargs)

        def create_optimizer(self) -> Any:
            created = self.optimizer is None
            optimizer = super().create_optimizer()
            if created:
                _split_prior_group(optimizer, self.model, self.args.facial_prior_projector_lr)
                # DeepSpeed drops an empty group and then no longer agrees with the scheduler about their number.
                optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
            return optimizer

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            """As in transformers, which logs a loss that is no number as 0 and goes on to save the weights."""
            loss = super().training_step(*args, **kwargs)
            if not self.args.fp16 and not bool(torch.isfinite(loss).all()):  # fp16 scales its loss by trial
                raise UserError(
                    f"the loss of step {self.state.global_step + 1} is NaN or infinite, and so would the weights be. "
                    f"Nothing is saved of it; whole checkpoints in {self.args.output_dir} stay. Lower --learning_rate, "
                    "or look for strange priors with 'llava-faba priors stats'."
                )
            return loss

        def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
            # Under DeepSpeed transformers casts floats to bf16, too coarse for landmark coordinates.
            priors = inputs.pop("facial_priors", None)
            prepared = super()._prepare_inputs(inputs)
            if priors is not None:
                prepared["facial_priors"] = priors.to(self.args.device)
            return prepared

        def _save_checkpoint(self, model: Any, *args: Any, **kwargs: Any) -> None:
            # Every process takes part in gathering under ZeRO-3; only one of them gets to _save.
            self._non_lora = gather_non_lora(self.model) if self.args.lora_enable else None
            try:
                with saved_for_use(self.model):
                    super()._save_checkpoint(model, *args, **kwargs)
            finally:
                self._non_lora = None
            if self.args.tune_mm_mlp_adapter:
                write_prior_projector(self, Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            state = getattr(self, "_non_lora", None)
            if output_dir is not None and state is not None:
                write_non_lora(self.model, state, Path(output_dir))

    EmolaTrainer.__name__ = EmolaTrainer.__qualname__ = original.__name__
    return EmolaTrainer


def _prepare_projector_stage(model: Any, args: Any) -> None:
    """A stage like LLaVA's pretraining, which trains and saves projectors and nothing else."""
    if not has_prior(model.config):
        if args.tune_facial_prior_projector:
            raise UserError("--tune_facial_prior_projector needs a --facial_prior_expert; this model has no prior.")
        return
    tune_image, tune_prior = args.tune_mm_mlp_adapter, args.tune_facial_prior_projector
    if tune_image and (args.lora_enable or not tune_prior):
        raise UserError(
            "--tune_mm_mlp_adapter trains the image projector alone; the prior projector would stay random. Add "
            "--tune_facial_prior_projector True to train both (without --lora_enable), or pretrain with "
            "--facial_prior_expert none and train EmoLA on the result."
        )
    projector = getattr(model.get_model(), PROJECTOR_NAME)
    if args.freeze_facial_prior_projector:
        projector.requires_grad_(False)
    if not tune_prior or args.lora_enable:
        return
    if list(Path(args.output_dir).glob("checkpoint-*")):
        raise UserError(
            f"{args.output_dir} holds checkpoints, and a stage of projectors cannot be resumed (LLaVA saves no "
            "optimizer state in it); remove them or give another --output_dir."
        )
    model.requires_grad_(False)
    projector.requires_grad_(True)
    model.get_model().mm_projector.requires_grad_(tune_image)
    args.tune_mm_mlp_adapter = True  # what LLaVA's saving asks: projectors only


def _place_quantized(model: Any, args: Any) -> None:
    """QLoRA: nothing moves a quantized model any more; LLaVA places its own projector and knows not of this one."""
    if args.bits in (4, 8):
        compute = torch.float16 if args.fp16 else torch.bfloat16 if args.bf16 else torch.float32
        getattr(model.get_model(), PROJECTOR_NAME).to(dtype=compute, device=args.device)


def _prepare_prior(model: Any, dataset: Any, resumed: dict[str, Any]) -> None:
    """Check that data and model agree on the prior's size, and fit the normalization once.

    ``resumed``: the config of the checkpoint that training goes on from, whose statistics the projector has learned.
    """
    config = model.config
    if resumed.get("facial_prior_normalization") == config.facial_prior_normalization:
        config.facial_prior_statistics = resumed.get("facial_prior_statistics")
    found = getattr(dataset, "prior_size", None)
    if found is None:
        raise UserError(
            "no record has a facial prior: pass --facial_prior_store (made by 'llava-faba priors extract'), or give "
            "the records a 'landmark' file, or train with --facial_prior_expert none."
        )
    if found != prior_size(config):
        raise UserError(
            f"the data's facial priors have {found} numbers, but expert '{config.facial_prior_expert}' and the model "
            f"need {prior_size(config)}; extract the priors with that expert or change --facial_prior_expert."
        )
    origin = getattr(getattr(model.get_model(), PROJECTOR_NAME), "trained_on", None)
    _record_store(config, getattr(dataset.priors, "store", None), origin)
    method = config.facial_prior_normalization
    needs_fit = method != "none" and getattr(config, "facial_prior_statistics", None) is None
    sizes = getattr(config, SIZES_KEY, None)
    faces = report_priors(dataset, fitted=method if needs_fit else None, sizes=sizes)
    if needs_fit:
        config.facial_prior_statistics = fit_statistics(method, faces, sizes)


def _record_store(config: Any, store: Any, origin: PriorOrigin | None) -> None:
    """Note in the config how the stored priors were made, so that inference makes them in the same way.

    ``origin``: what the projector was trained on before. Raises UserError when another expert made them, or the same
    one otherwise than that.
    """
    if store is None:
        return
    if origin is not None and stands_for_reference(store.expert, config.facial_prior_expert):
        return  # what the base says of its expert stays
    if store.expert != config.facial_prior_expert:
        raise UserError(
            f"the store {store.path} was made by expert '{store.expert}', not by '{config.facial_prior_expert}'; pass "
            f"--facial_prior_expert {store.expert}."
        )
    if origin is not None:
        origin.check_made_by(store.expert_version, store.settings, f"the store {store.path}")
    config.facial_prior_expert_version = store.expert_version
    config.facial_prior_expert_settings = store.settings


def _split_prior_group(optimizer: Any, model: Any, rate: float | None) -> None:
    """Move the prior projector into parameter groups with a learning rate of their own."""
    if rate is None:
        return
    own = {id(p) for name, p in model.named_parameters() if PROJECTOR_NAME in name}
    for group in list(optimizer.param_groups):
        moved: list[torch.nn.Parameter] = [p for p in group["params"] if id(p) in own]
        if moved:
            group["params"] = [p for p in group["params"] if id(p) not in own]
            optimizer.add_param_group({**group, "params": moved, "lr": rate, "initial_lr": rate})


def _set_tower_dtype(model: Any, dtype: str | None) -> None:
    """--vision_tower_dtype; without it what LLaVA chose, but for float16 on a CPU where torch has none.

    Raises UserError when float16 was asked for there.
    """
    tower = model.get_vision_tower()
    if tower is None:
        return
    if dtype is not None:
        check_can_compute(dtype, str(tower.device))
        tower.to(dtype=getattr(torch, dtype))
    elif tower.dtype == torch.float16 and tower.device.type == "cpu" and not cpu_has_half():
        tower.float()
