"""Answers per second of the fast path over a loop that does what the reference does, on one checkpoint, in one run.

python tests/benchmarks/bench_generate.py                       # after 'make demo'; exit code 1 below 4
python tests/benchmarks/bench_generate.py CHECKPOINT DATA       # DATA: eval_{au,emotion}_anno.json and images

The reference's loop (and LLaVA's ``model_vqa``) takes one image at a time: open, preprocess, prompt, ``generate``; its
prior comes from a file for each image, ours from a store; or both compute it (``--compute-priors``). One
process and one thread for torch on both sides, float32, loading the model not counted on either. Blocks of both take
turns, so that a busy machine slows down both. The texts are compared as well.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIRED = 4.0


@dataclass
class Side:
    """One way of answering: seconds spent and texts by question id."""

    seconds: float
    texts: dict[str, str]

    def timed(self, answer: Callable[[], dict[str, str]]) -> None:
        start = time.perf_counter()
        texts = answer()
        self.seconds += time.perf_counter() - start
        self.texts |= texts


def reference_loop(
    loaded: Any, questions: list[dict[str, Any]], folder: Path, priors: dict[str, Path] | None, tokens: int
) -> dict[str, str]:
    """One image at a time, written against LLaVA alone; ``priors``: an .npy file for each image."""
    import numpy as np
    import torch
    from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
    from llava.conversation import conv_templates
    from llava.mm_utils import process_images, tokenizer_image_token
    from PIL import Image

    tokenizer, model, processor, _ = loaded
    texts = {}
    for question in questions:
        conversation = conv_templates["llava_v1"].copy()
        conversation.append_message(conversation.roles[0], DEFAULT_IMAGE_TOKEN + "\n" + question["text"])
        conversation.append_message(conversation.roles[1], None)
        ids = tokenizer_image_token(conversation.get_prompt(), tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")
        image = Image.open(folder / question["image"]).convert("RGB")
        pixels = process_images([image], processor, model.config)
        prior = {}
        if priors is not None:
            prior["facial_priors"] = torch.from_numpy(np.load(priors[question["image"]]))[None]
        with torch.inference_mode():
            output = model.generate(
                ids[None],
                images=pixels,
                image_sizes=[image.size],
                do_sample=False,
                max_new_tokens=tokens,
                use_cache=True,
                **prior,
            )
        texts[str(question["question_id"])] = tokenizer.batch_decode(output, skip_special_tokens=True)[0].strip()
    return texts


def fast_path(answerer: Any, questions: list[dict[str, Any]], size: int) -> dict[str, str]:
    """What a worker of ``llava-faba bench generate`` does."""
    from llava_faba.compat.package_versions import remembered_package_versions
    from llava_faba.inference.workers import batches_by_length

    with remembered_package_versions():
        results = list(answerer.answer_all(iter(batches_by_length(questions, size))))
    failed = [result.error for result in results if result.error]
    if failed:
        raise SystemExit(f"{len(failed)} questions failed, the first one: {failed[0]}")
    return {result.question_id: result.text for result in results}


def demo_questions(data: Path, count: int) -> list[dict[str, Any]]:
    """The first ``count`` questions of the test sets, half of them of each task."""
    from llava_faba.records.questions import questions_of

    chosen = []
    for task in ("au", "emotion"):
        records = json.loads((data / f"eval_{task}_anno.json").read_text(encoding="utf-8"))
        chosen += questions_of(records[: count // 2], task)
    return chosen


def prior_files(store_path: Path, images: set[str], folder: Path) -> dict[str, Path]:
    """A .npy file for each image, as the reference keeps them."""
    import numpy as np

    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(store_path)
    files = {}
    for index, image in enumerate(sorted(images)):
        files[image] = folder / f"{index}.npy"
        np.save(files[image], store.get(image))
    return files


def store_of_test_pictures(data: Path, images: set[str], folder: Path, checkpoint: Path) -> Path:
    """A priors store for the test pictures, made by the checkpoint's own expert (not timed)."""
    from llava_faba.priors.extract import extract

    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    extract(sorted(images), data, folder / "priors", expert=config["facial_prior_expert"])
    return folder / "priors"


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, default=Path("runs/demo/llava-v1-emola-lora"))
    parser.add_argument("data", nargs="?", type=Path, default=Path("runs/demo/data"))
    parser.add_argument("--compute-priors", action="store_true", help="both sides compute the prior of every image")
    parser.add_argument("--questions", type=int, default=192, help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=3, help="turns that both sides take (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=100, help="(default: %(default)s)")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    questions = demo_questions(args.data, args.questions)
    images = {question["image"] for question in questions}
    with tempfile.TemporaryDirectory() as scratch:
        store, files = None, None
        if not args.compute_priors:
            store = store_of_test_pictures(args.data, images, Path(scratch), args.checkpoint)
            files = prior_files(store, images, Path(scratch))
        return compare(args, questions, store, files)


def compare(
    args: argparse.Namespace, questions: list[dict[str, Any]], store: Path | None, files: dict[str, Path] | None
) -> int:
    from llava_faba.inference.answering import Answerer
    from llava_faba.inference.settings import GenerateSettings

    settings = GenerateSettings(
        max_new_tokens=args.max_new_tokens, batch_size=args.batch_size, store=str(store) if store else None
    )
    answerer = Answerer(str(args.checkpoint), None, args.data, settings)
    reference_loop(answerer.loaded, questions[:2], args.data, files, args.max_new_tokens)  # warm both up
    fast_path(answerer, questions[: args.batch_size], args.batch_size)
    slow, fast = Side(0, {}), Side(0, {})
    for block in range(args.blocks):
        part = questions[block :: args.blocks]
        slow.timed(lambda part=part: reference_loop(answerer.loaded, part, args.data, files, args.max_new_tokens))
        fast.timed(lambda part=part: fast_path(answerer, part, args.batch_size))
    equal = sum(fast.texts[name] == text for name, text in slow.texts.items())
    ratio = slow.seconds / fast.seconds
    print(f"{len(questions)} questions, priors {'computed' if store is None else 'stored'}, one process, one thread")
    print(f"one image at a time   {len(questions) / slow.seconds:7.1f} answers/s")
    print(f"batches of {args.batch_size:<10d} {len(questions) / fast.seconds:7.1f} answers/s")
    print(f"ratio {ratio:.2f} (required: {REQUIRED:g}); equal texts {equal} of {len(questions)}")
    return 0 if ratio >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
