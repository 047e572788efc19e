"""The flags of EmoLA training, added to LLaVA's own argument classes."""

from __future__ import annotations

import argparse
import copy
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from llava_faba.emola.normalization import METHODS
from llava_faba.emola.settings import REFERENCE_EXPERT
from llava_faba.errors import UserError
from llava_faba.experts import LandmarkExpert, PriorExpert, create_expert, part_classes, part_names
from llava_faba.experts.regions import expert_regions, face_regions
from llava_faba.training.flag_checks import HIDDEN
from llava_faba.training.identity import remember
from llava_faba.training.run_lock import hold_output
from llava_faba.training.template import check_version
from llava_faba.vetting.prior_parts import SIZES_KEY, joined_methods, methods
from llava_faba.vetting.prior_tokens import GLOBAL, KINDS, REGIONS_KEY, TOKENS_KEY

NO_PRIOR = "none"

# Help for upstream's own flags, which upstream leaves without any.
_UPSTREAM_HELP = {
    "model_name_or_path": "Base model: a LLaVA or Vicuna folder or hub id.",
    "version": "Conversation template of the training text, 'v1' for LLaVA-1.5; upstream's default 'v0' adds a token, "
    "which LoRA checkpoints cannot hold.",
    "freeze_backbone": "Freeze the language model (upstream leaves its output layer, lm_head, trained, and LoRA too).",
    "tune_mm_mlp_adapter": "Train only the image projector (LLaVA's pretraining stage).",
    "vision_tower": "CLIP vision tower: folder or hub id.",
    "mm_vision_select_layer": "Layer of the vision tower whose features are used: as the base model's, -2 for "
    "LLaVA-1.5 (upstream's default, -1, is another).",
    "pretrain_mm_mlp_adapter": "mm_projector.bin to start the image projector from.",
    "mm_projector_type": "Image projector: 'linear', 'mlp2x_gelu' or 'identity'; as the base model's, where it has one "
    "(upstream writes another into the config without a word).",
    "mm_use_im_start_end": "Put <im_start> and <im_end> around the image token. With LoRA only for a base that has "
    "these tokens: upstream does not save new embeddings.",
    "mm_use_im_patch_token": "Add the <im_patch> token to the vocabulary. Pass False with LoRA: upstream does not save "
    "its embedding.",
    "mm_vision_select_feature": "'patch' for patch features, 'cls_patch' with the class token.",
    "lazy_preprocess": "Kept by LLaVA for compatibility; data is always read lazily.",
    "image_folder": "Folder that the records' image and landmark paths are relative to.",
    "image_aspect_ratio": "'pad' (to a square) or 'square' (crop); for 'anyres' upstream would train on one crop only.",
    "cache_dir": "Where hub downloads are kept.",
    "freeze_mm_mlp_adapter": "Do not train the image projector.",
    "mpt_attn_impl": "Attention implementation of MPT models.",
    "lora_enable": "Train LoRA adapters instead of the whole language model.",
    "lora_r": "LoRA rank (paper: 128).",
    "lora_alpha": "LoRA alpha (paper: 256).",
    "lora_dropout": "LoRA dropout.",
    "mm_projector_lr": "Learning rate of the image projector (paper: 2e-5); default: --learning_rate.",
    "group_by_modality_length": "Batches of similar length, image records and text-only records apart.",
    "optim": "Optimizer.",
}


def _with_help(cls: Any) -> Any:
    """Give the fields of an argument class the help that upstream left out, and hide those that have no use here.

    The fields are the class's own: those that it has inherited stay as they are.
    """
    fields = cls.__dataclass_fields__
    for name, inherited in list(fields.items()):
        declared = fields[name] = copy.copy(inherited)
        if name in HIDDEN:
            declared.metadata = {**declared.metadata, "help": argparse.SUPPRESS}
        elif name in _UPSTREAM_HELP and "help" not in declared.metadata:
            declared.metadata = {**declared.metadata, "help": _UPSTREAM_HELP[name]}
    return cls


def emola_model_arguments(original: Any) -> Any:
    """LLaVA's ModelArguments with the flags of the facial prior."""

    @dataclass
    class EmolaModelArguments(original):
        facial_prior_expert: str | None = field(
            default=None,
            metadata={
                "help": "Facial prior expert that made the priors, recorded in the checkpoint; several joined by '+' "
                "(mediapipe-478+blendshapes-52); 'precomputed' for the records' own vectors, 'none' for plain LLaVA on "
                "the same data."
            },
        )
        facial_prior_size: int | None = field(
            default=None,
            metadata={"help": "Numbers in a prior; needed only for 'precomputed', where the default is 212."},
        )
        facial_prior_projector_type: str | None = field(
            default=None,
            metadata={
                "help": "Prior projector: 'linear', 'mlpNx_gelu' or 'identity'; default: as --mm_projector_type."
            },
        )
        facial_prior_normalization: str | None = field(
            default=None,
            metadata={
                "help": "What is done to a prior before the projector: 'none' (the paper), 'standardize' (per "
                "coordinate, fitted on the training set), 'pose' (similarity pose removed, then standardized; priors "
                "that are x, y pairs only); of several experts one for all, or one each, joined by '+'. "
                "Default: 'pose' for experts that give x, y points, else 'standardize' "
                "(docs/measurements/demo-ablation.md)."
            },
        )
        facial_prior_tokens: str | None = field(
            default=None,
            metadata={
                "help": "How a prior becomes tokens: 'global' (one, the paper; the default), 'experts' (one for each "
                "of several), 'regions' (one for each region of the face), 'regions+global', 'cross_attention' (none: "
                "the picture's tokens attend to the regions'), 'guided_cross_attention' (to near regions more than to "
                "far ones; pictures padded to a square)."
            },
        )
        attn_implementation: str | None = field(
            default=None,
            metadata={"help": "'eager', 'sdpa' or 'flash_attention_2'; default: what transformers chooses."},
        )
        pretrain_facial_prior_projector: str | None = field(
            default=None,
            metadata={
                "help": "landmark_feature_projector.bin, non_lora_trainables.bin, or a folder that holds one of them, "
                "to start the prior projector from."
            },
        )

        def __post_init__(self) -> None:
            remember(self)
            self._facial_prior_sizes: list[int] = []
            self._facial_prior_regions: list[Any] = []
            if self.facial_prior_tokens not in (None, *KINDS):
                raise UserError(
                    f"--facial_prior_tokens '{self.facial_prior_tokens}' is unknown; choose one of {', '.join(KINDS)}."
                )
            if self.facial_prior_expert in (None, NO_PRIOR):
                self._check_normalization(1)
            if self.facial_prior_expert is not None:
                check_version(self.version)
            if self.facial_prior_expert in (None, NO_PRIOR):
                self.facial_prior_size = None
                return
            self._resolve_expert()

        def _resolve_expert(self) -> None:
            wanted = self.facial_prior_size
            if self.facial_prior_expert == "precomputed" and wanted is None:
                wanted = 212  # FABA-Instruct's landmark vectors
            name = str(self.facial_prior_expert)
            names, classes = part_names(name), part_classes(name)
            self._check_normalization(len(names))
            if len(names) == 1:
                sizes = [_prior_size(name, classes[0], wanted)]
            else:
                sizes = [_prior_size(*part, None) for part in zip(names, classes, strict=True)]
                if wanted not in (None, sum(sizes)):
                    raise UserError(
                        f"--facial_prior_size {wanted}: expert '{name}' gives {sum(sizes)} numbers; leave the flag out."
                    )
            self.facial_prior_size, self._facial_prior_sizes = sum(sizes), sizes
            if self.facial_prior_normalization is None:
                self.facial_prior_normalization = joined_methods([_default_normalization(cls) for cls in classes])
            kind = self.facial_prior_tokens or GLOBAL
            if kind != GLOBAL:
                table = expert_regions if kind == "experts" else face_regions
                self._facial_prior_regions = table(names, classes, sizes)
            for part, cls, size, method in zip(names, classes, sizes, self._methods(), strict=True):
                if method == "pose":
                    _check_pose(part, cls, size)

        def _methods(self) -> list[str]:
            return methods(str(self.facial_prior_normalization), len(self._facial_prior_sizes))

        def _check_normalization(self, parts: int) -> None:
            if self.facial_prior_normalization is None:
                return
            try:
                self.facial_prior_normalization = joined_methods(methods(self.facial_prior_normalization, parts))
            except ValueError as error:
                raise UserError(
                    f"--facial_prior_normalization {error}; choose one of {', '.join(METHODS)}, or for several experts "
                    "one each, joined by '+'."
                ) from None

        def facial_prior_config(self) -> dict[str, Any]:
            """The keys that go into the checkpoint's config.json."""
            values: dict[str, Any] = {
                "facial_prior_expert": self.facial_prior_expert,
                "facial_prior_normalization": self.facial_prior_normalization,
            }
            if self._facial_prior_regions:
                values |= {TOKENS_KEY: self.facial_prior_tokens, REGIONS_KEY: self._facial_prior_regions}
            if len(self._facial_prior_sizes) > 1:
                values[SIZES_KEY] = self._facial_prior_sizes
            if self.facial_prior_projector_type is not None:
                values["facial_prior_projector_type"] = self.facial_prior_projector_type
            return values

    return _renamed(_with_help(EmolaModelArguments), original)


def _default_normalization(cls: type[PriorExpert]) -> str:
    return "pose" if _gives_points(cls) else "standardize"


def _gives_points(cls: type[PriorExpert]) -> bool:
    """Whether an expert's priors are x, y pairs of points, and nothing else."""
    return issubclass(cls, LandmarkExpert) and cls.dimensions == 2


def _check_pose(name: str, cls: type[PriorExpert], size: int) -> None:
    """'pose' reads a prior as x, y pairs. What is none turns into other numbers without a word.

    Vectors that come without an expert that tells ('precomputed', the authors') are taken for what the user says.
    """
    if name in ("precomputed", REFERENCE_EXPERT) and size % 2 == 0:
        return
    if not _gives_points(cls):
        what = f"x, y, z points ({size} numbers)" if issubclass(cls, LandmarkExpert) else f"{size} numbers"
        raise UserError(
            f"--facial_prior_normalization pose reads a prior as x, y pairs, and expert '{name}' gives {what}: pass "
            "--facial_prior_normalization standardize (of several experts one each, such as pose+standardize)."
        )


def _prior_size(name: str, cls: type[PriorExpert], wanted: int | None) -> int:
    """An expert's prior size, without making the expert where its class tells: its weights may be elsewhere."""
    if not issubclass(cls, LandmarkExpert):
        return create_expert(name, size=wanted).size
    size = cls.points * cls.dimensions
    if wanted not in (None, size):
        raise UserError(f"--facial_prior_size {wanted}: expert '{name}' gives {size} numbers; leave the flag out.")
    return size


def emola_data_arguments(original: Any) -> Any:
    """LLaVA's DataArguments with the flags of the FABA dataset."""

    @dataclass
    class EmolaDataArguments(original):
        facial_prior_store: str | None = field(
            default=None,
            metadata={
                "help": "Store made by 'llava-faba priors extract'; without it the records' own .npy files are read."
            },
        )
        facial_prior_compare_all: bool = field(
            default=False,
            metadata={
                "help": "Compare every picture with the one that the store's prior was made from, before training; "
                "without it, 256 of them."
            },
        )
        skip_bad_records: bool = field(
            default=False,
            metadata={"help": "Leave out records with problems and report them, instead of stopping."},
        )
        allow_outside: bool = field(
            default=False,
            metadata={"help": "Also read images that records name outside --image_folder, by a path or by links."},
        )

    return _renamed(_with_help(EmolaDataArguments), original)


def emola_training_arguments(original: Any) -> Any:
    """LLaVA's TrainingArguments with the flags of EmoLA's optimizer."""

    @dataclass
    class EmolaTrainingArguments(original):
        facial_prior_projector_lr: float | None = field(
            default=None,
            metadata={"help": "Learning rate of the prior projector; default: --learning_rate, as the paper."},
        )
        tune_facial_prior_projector: bool = field(
            default=False,
            metadata={
                "help": "Without --lora_enable: train the prior projector alone (with --tune_mm_mlp_adapter both "
                "projectors), a stage like LLaVA's pretraining. With LoRA it is trained anyway, as the authors do."
            },
        )
        freeze_facial_prior_projector: bool = field(
            default=False, metadata={"help": "Do not train the prior projector."}
        )
        faba_eval_annotations: str | None = field(
            default=None, metadata={"help": "Evaluation records to answer and score while training."}
        )
        faba_eval_task: str = field(default="au", metadata={"help": "Task of those records: 'au' or 'emotion'."})
        faba_eval_protocol: str = field(
            default="faba", metadata={"help": "Protocol of the score, as for 'faba-bench score'."}
        )
        faba_eval_steps: int = field(
            default=500, metadata={"help": "Validate every so many optimizer steps, and after the last."}
        )
        faba_eval_image_folder: str | None = field(
            default=None, metadata={"help": "Folder of those records' paths; default: --image_folder."}
        )
        faba_eval_store: str | None = field(
            default=None,
            metadata={
                "help": "Store with those images' priors; default: --facial_prior_store, and without it the records' "
                "own .npy files."
            },
        )
        faba_eval_max_new_tokens: int = field(default=512, metadata={"help": "Longest answer, in tokens."})
        vision_tower_dtype: str | None = field(
            default=None,
            metadata={
                "help": "'float32', 'float16' or 'bfloat16' for the frozen vision tower; default: as LLaVA, bfloat16 "
                "with --bf16 and float16 without. On a CPU float32 is some twenty times faster."
            },
        )

        def __post_init__(self) -> None:
            try:
                super().__post_init__()
            except (ValueError, ImportError) as error:  # transformers' words for flags that do not go together
                raise UserError(str(error)) from error
            if self.bits in (4, 8) and importlib.util.find_spec("bitsandbytes") is None:
                raise UserError(f"--bits {self.bits} needs bitsandbytes: pip install bitsandbytes.")
            if self.tune_facial_prior_projector and self.freeze_facial_prior_projector:
                raise UserError("--tune_facial_prior_projector and --freeze_facial_prior_projector exclude each other.")
            if self.faba_eval_task not in ("au", "emotion"):
                raise UserError(f"--faba_eval_task '{self.faba_eval_task}': choose au or emotion.")
            if self.faba_eval_steps < 1:
                raise UserError(f"--faba_eval_steps {self.faba_eval_steps}: must be 1 or more.")
            if self.vision_tower_dtype not in (None, "float32", "float16", "bfloat16"):
                raise UserError(
                    f"--vision_tower_dtype '{self.vision_tower_dtype}': choose float32, float16 or bfloat16."
                )
            hold_output(self.output_dir)

    return _renamed(_with_help(EmolaTrainingArguments), original)


def _renamed(cls: Any, original: Any) -> Any:
    """Let pickle, which the Trainer saves its arguments with, find the class where LLaVA has it."""
    cls.__name__ = cls.__qualname__ = original.__name__
    cls.__module__ = original.__module__
    return cls
