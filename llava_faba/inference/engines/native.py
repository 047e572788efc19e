"""The engine "transformers": a native folder in this process, batch after batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llava_faba.emola.versions import check_transformers
from llava_faba.errors import UserError
from llava_faba.images import open_image
from llava_faba.inference.engines.asking import PriorSource, message, prompt_of, tokenizing
from llava_faba.inference.engines.base import Answer, BatchEngine, Question, Statuses
from llava_faba.inference.engines.kinds import settings_of
from llava_faba.inference.engines.native_reader import NativeReader
from llava_faba.inference.sampling import GumbelNoise
from llava_faba.inference.settings import GenerateSettings


@dataclass(frozen=True)
class Prepared(Statuses):
    """``inputs``: what the processor made, on the CPU, left-padded."""

    inputs: Any
    statuses: list[str | None]


class NativeEngine(BatchEngine[Prepared]):
    """The model of a native folder. Raises UserError for what it cannot use, as ``PriorSource`` does."""

    def __init__(
        self,
        model_path: str,
        model_base: str | None,
        image_folder: str | Path,
        settings: GenerateSettings,
        gpu: int = 0,
    ) -> None:
        check_transformers()
        settings_of(model_path)
        if model_base is not None:
            raise UserError("--model-base is for LoRA folders of LLaVA's home; a folder of transformers is whole.")
        if settings.device == "cuda" and torch.cuda.device_count() <= gpu:
            raise UserError(
                f"worker {gpu + 1} needs a GPU of its own, but this machine shows {torch.cuda.device_count()}; pass a "
                "smaller --workers, or --device cpu."
            )
        from transformers import AutoModelForImageTextToText, AutoProcessor

        import llava_faba.native  # noqa: F401 - the Auto classes learn the names

        self.settings, self.folder = settings, Path(image_folder)
        device = f"cuda:{gpu}" if settings.device == "cuda" else settings.device
        self.processor = AutoProcessor.from_pretrained(model_path)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(
            model_path, dtype=getattr(torch, settings.dtype), use_safetensors=True
        )
        self.model = self.model.to(device).eval()
        self.priors = PriorSource(model_path, settings.store)

    def prepare(self, questions: Sequence[Question]) -> Prepared:
        pictures = [open_image(self.folder / question["image"]) for question in questions]
        prompts = [prompt_of(self.processor, [message(question["text"], {"type": "image"})]) for question in questions]
        priors, statuses = self.priors.of([question["image"] for question in questions], pictures)
        inputs = self.processor(
            images=[[picture] for picture in pictures],
            text=prompts,
            facial_priors=priors,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            **tokenizing(self.processor, prompts[0]),
        )
        return Prepared(inputs, statuses)

    def decode(
        self, prepared: Prepared, *, with_logits: bool = False, seeds: Sequence[int] | None = None
    ) -> tuple[list[Answer], list[Any] | None]:
        from transformers import LogitsProcessorList

        inputs = {name: value.to(self.model.device) for name, value in prepared.inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        more: dict[str, Any] = {"return_dict_in_generate": True, "output_scores": True} if with_logits else {}
        if seeds is not None:
            more["logits_processor"] = LogitsProcessorList([GumbelNoise(seeds)])
        with torch.inference_mode():
            made = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.settings.max_new_tokens, **more)
        rows = (made.sequences if with_logits else made)[:, inputs["input_ids"].shape[1] :].tolist()
        stops = self._stops()
        ended = [_up_to_end(row, stops) for row in rows]
        answers = [
            Answer(text, row, is_cut=not (row and row[-1] in stops))
            for text, row in zip(self.texts(ended), ended, strict=True)
        ]
        return answers, list(made.scores) if with_logits else None

    def reader(self, prepared: Prepared) -> NativeReader:
        return NativeReader(self.model, self.processor, prepared.inputs)

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        tokenizer = self.processor.tokenizer
        return [tokenizer.decode(list(row), skip_special_tokens=True).strip() for row in rows]

    def _stops(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list | tuple) else {ends}


def _up_to_end(row: list[int], stops: set[int]) -> list[int]:
    end = next((index for index, token in enumerate(row) if token in stops), None)
    return row if end is None else row[: end + 1]
