"""What a converter shows before it says "done": tokens as SentencePiece's, logits of eight prompts as the source's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llava_faba.conversion import plain_forward
from llava_faba.conversion.conversations import Conversation
from llava_faba.conversion.names import EMBEDDINGS, to_native
from llava_faba.conversion.plain_forward import PICTURE, Example, Weights, difference
from llava_faba.conversion.shards import Reader, readers
from llava_faba.conversion.source import Source
from llava_faba.conversion.tokens import IMAGE_TOKEN
from llava_faba.errors import CheckpointError

TOLERANCE = 1e-5
RUNNABLE = 300 * 10**6  # numbers, 1.2 GB in float32; a larger model is proved layer by layer alone

QUESTIONS = (
    "What AUs are conveyed by this face?",
    "What emotions are conveyed by this face?",
    "What is the emotion of this face? Answer in one word.",
    "Describe the person's facial expression, action unit by action unit.",
    "Is AU12 (lip corner puller) active?",
    "How does this person feel, and why do you think so?",
    "Which muscles of the upper face are contracted?",
    "What is the emotion of this face?",
)
_TEXTS = (
    "AU1 - Inner Brow Raiser: the inner corners of the eyebrows are raised. AU25 - Lips part.",
    "The emotion is happiness: the lip corners are pulled up and the cheeks are raised (AU6+AU12).",
    "Not present: AU4, AU9; AU17/24 (chin raiser, lip pressor) at intensity B.",
    "naïve café façade, Zürich, smörgåsbord — “quoted” ‘words’ … 50% of 3×4 = 12",
    "微笑 is a smile; улыбка тоже; ابتسامة; 笑顔です。",
    "emoji 🙂😡 and a ligature ﬁ, full width ＡＵ１２, a soft\u00adhyphen",
    "tabs\tand\nline breaks\n\nand  two   three    spaces",
    '1. one\n2. two\n- item\n* item: `code` {"a": [1, 2.5e-3]} <b>html</b> $x^2$',
    "UPPER lower MiXeD, e.g. Dr. No's isn't; http://example.org/a?b=c#d",
    "special tokens that someone types: </s> and <s>, <unk>; even</s>without<s>spaces<unk>, or twice </s></s>",
    "</s>in front, and behind</s>",
)


@dataclass
class Report:
    """``tokens``: texts whose ids were equal. ``logits``: prompts, and their largest difference from the source's.

    ``rounding``: by how much the type of the written files moved the logits, None where nothing is rounded.
    ``ran_model``: whether transformers' own class gave them as well. ``notes``: what the user must know.
    """

    tokens: int = 0
    prompts: int = 0
    logits: float = 0.0
    rounding: float | None = None
    ran_model: bool = False
    notes: list[str] = field(default_factory=list)


def corpus(conversation: Conversation, texts: Sequence[str] = ()) -> list[str]:
    """Prompts with their picture, whole conversations of two turns, and what both homes must tokenize alike."""
    found = []
    for index, question in enumerate((*QUESTIONS, *_TEXTS, *texts)):
        answer = (*_TEXTS, *QUESTIONS, *texts)[index]
        asked = f"{IMAGE_TOKEN}\n{question}"
        found.append(conversation.prompt([(asked, None)]))
        found.append(conversation.prompt([(asked, answer), (answer, question)]))
    return found


def llava_ids(text: str, slow: Any) -> list[int]:
    """Token ids as ``llava.mm_utils.tokenizer_image_token`` makes them: each stretch between pictures by itself."""
    stretches = [slow(stretch).input_ids for stretch in text.split(IMAGE_TOKEN)]
    beginning = [slow.bos_token_id] if stretches[0] and stretches[0][0] == slow.bos_token_id else []
    ids = list(beginning)
    for number, stretch in enumerate(stretches):
        ids += ([PICTURE] if number else []) + stretch[len(beginning) :]
    return ids


def prove_tokens(fast: Any, slow: Any, placeholder: int, texts: Sequence[str]) -> int:
    """Compare a fast tokenizer (of ``tokenizers``) with SentencePiece. Raises CheckpointError where they differ."""
    for text in texts:
        expected = [placeholder if one == PICTURE else one for one in llava_ids(text, slow)]
        found = fast.encode(text).ids
        if found != expected:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
                min(len(found), len(expected)),
            )
            raise CheckpointError(
                f"the converted tokenizer differs from tokenizer.model on {text[:60]!r}...: token {at} is "
                f"{found[at : at + 1]}, not {expected[at : at + 1]}; this tokenizer cannot be carried over."
            )
        ids = [one for one in expected if one != placeholder]
        if fast.decode(ids).strip() != slow.decode(ids, skip_special_tokens=True).strip():
            raise CheckpointError(f"the converted tokenizer gives another text back for {text[:60]!r}...")
    return len(texts)


def examples(source: Source, slow: Any, conversation: Conversation, processor: Any) -> list[Example]:
    """Eight prompts with made-up pictures and priors, one of them without a face."""
    random = np.random.default_rng(0)
    size = int(source.config["landmark_feature_hidden_size"])
    statistics = source.config.get("facial_prior_statistics") or {}
    mean = np.asarray(statistics.get("mean", np.zeros(size)), dtype=np.float32)
    scale = np.asarray(statistics.get("scale", np.full(size, 0.5)), dtype=np.float32)
    found = []
    for index, question in enumerate(QUESTIONS):
        ids = llava_ids(conversation.prompt([(f"{IMAGE_TOKEN}\n{question}", None)]), slow)
        high, wide = (64, 64) if index % 2 == 0 else (64 + 8 * index, 96)
        picture = random.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        prior = mean + scale * random.standard_normal(size).astype(np.float32)
        prior = np.zeros(size, dtype=np.float32) if index == 7 else prior
        found.append(Example(ids, processor(picture), (high, wide), torch.from_numpy(prior)))
    return found


def prove_logits(
    source: Source,
    folder: Path,
    native: dict[str, Any],
    prompts: list[Example],
    report: Report,
    dtype: torch.dtype | None = None,
) -> None:
    """Compare the written folder with the source, in float32. Raises CheckpointError when they differ.

    ``dtype``: what the weights were written in, None for the source's own; rounding to it is reported by itself.
    """
    mine = readers(folder)
    exact = dtype is None and all(source.tensors[name]().dtype == torch.float32 for name in source.lora)
    llava, tower = source.config, source.tower.config
    unmerged = plain_forward.logits(Weights(lambda name: source.tensors[name](), source.lora), llava, tower, prompts)
    expected = unmerged
    if not exact:
        expected = plain_forward.logits(Weights(lambda name: source.read(name, dtype), {}), llava, tower, prompts)
        report.rounding = max(difference(a, b) for a, b in zip(unmerged, expected, strict=True))
    rows = expected[0].shape[-1]  # the written embeddings have one more, the placeholder's

    def read(name: str) -> torch.Tensor:
        value = mine[str(to_native(name))]()
        return value[:rows] if name in EMBEDDINGS else value

    written = plain_forward.logits(Weights(read, {}), llava, tower, prompts)
    report.prompts = len(prompts)
    report.logits = max(difference(a, b) for a, b in zip(expected, written, strict=True))
    if can_run(mine.values()):
        ran = by_transformers(folder, native, prompts)
        kept = int(native["image_token_index"])  # a tokenizer may be smaller than its embeddings
        report.logits = max(
            report.logits, *(difference(a[:, :kept], b[:, :kept]) for a, b in zip(expected, ran, strict=True))
        )
        report.ran_model = True
    else:
        why = "it is large" if _is_new_enough() else "this transformers is too old for it"
        report.notes.append(f"The files were proved layer by layer; the model's class was not run, for {why}.")
    if not report.logits <= TOLERANCE:
        raise CheckpointError(
            f"{source.checkpoint.folder}: the converted model's logits differ from the source's by {report.logits:.2g} "
            f"(allowed: {TOLERANCE:g}); nothing was written. Please report this."
        )


def can_run(tensors: Iterable[Reader]) -> bool:
    """Whether the model's class can run here, and is small enough to be run in passing."""
    return _is_new_enough() and sum(reader().numel() for reader in tensors) <= RUNNABLE


def _is_new_enough() -> bool:
    from llava_faba.emola.versions import is_new_enough

    return is_new_enough()


@torch.no_grad()
def by_transformers(
    folder: Path, native: dict[str, Any], prompts: list[Example], *, adapter: Path | None = None
) -> list[torch.Tensor]:
    """Logits of each prompt by the model's class in float32, with a PEFT ``adapter`` where one is given."""
    from llava_faba.native import EmolaForConditionalGeneration

    model: Any = EmolaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    placeholder, found = int(native["image_token_index"]), []
    for one in prompts:
        at = one.ids.index(PICTURE)
        sizes = torch.tensor([one.size])
        features = model.get_image_features(one.pixels[None], image_sizes=sizes, facial_priors=one.prior[None])
        count = len(features.pooler_output[0])
        ids = [*one.ids[:at], *[placeholder] * count, *one.ids[at + 1 :]]
        output = model(
            input_ids=torch.tensor([ids]),
            pixel_values=one.pixels[None],
            image_sizes=sizes,
            facial_priors=one.prior[None],
        )
        found.append(output.logits[0])
    return found
