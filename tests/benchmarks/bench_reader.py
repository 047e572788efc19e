"""The strict reader against the reference mode's, on one set of answers in one run; and memory per answer.

python tests/benchmarks/bench_reader.py                      # prints both times per answer and their ratio
python tests/benchmarks/bench_reader.py --memory 200000      # reads a generated file of that many answers line by line
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "eval"))

VOCABULARY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26, 27, 43)
CLASSES = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")
READINGS = ROOT / "tests" / "data" / "field" / "readings"


def sentences(task: str) -> list[str]:
    """Texts of the test data's prose, as written there."""
    found = []
    for path in sorted(READINGS.glob(f"{task}_prose_*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            found.append(line.partition("\t")[2].replace("\\n", "\n").replace("\\t", "\t"))
    return [text for text in found if text]


def answers(task: str, count: int, seed: int = 0) -> Iterator[str]:
    """Answers of four such texts each; no two are equal."""
    generator = random.Random(seed)
    pool = sentences(task)
    for number in range(count):
        yield " ".join(generator.sample(pool, 4)) + f" Picture {number + 1000}."


def compare(task: str, count: int, rounds: int) -> float:
    """Median ratio of the strict reader's CPU time to that of the reference mode (its parser and its ROUGE-L)."""
    from faba_bench.reference import au, emotion
    from faba_bench.reference.rouge import rouge_l_reference
    from faba_bench.strict.au import read_aus
    from faba_bench.strict.emotion import read_emotion

    texts = list(answers(task, count))
    references = texts[1:] + texts[:1]
    ratios = []
    for number in range(rounds):
        fresh = [f"{text}{' ' * (number + 1)}" for text in texts]  # nothing is read from memory
        start = time.process_time()
        for text in fresh:
            read_aus(text, VOCABULARY) if task == "au" else read_emotion(text, CLASSES)
        middle = time.process_time()
        for text, reference in zip(fresh, references, strict=True):
            au.read_aus(text, VOCABULARY) if task == "au" else emotion.read_emotion(text)
            rouge_l_reference(text, reference)
        end = time.process_time()
        ratios.append((middle - start) / (end - middle))
        scale = 1e6 / count
        print(
            f"{task}: strict reader {(middle - start) * scale:.0f} us, "
            f"reference mode {(end - middle) * scale:.0f} us an answer"
        )
    return statistics.median(ratios)


def memory(task: str, count: int) -> None:
    """Peak memory and time of reading a file of `count` answers, one at a time, at a tenth of it and whole."""
    from faba_bench.strict.au import read_aus
    from faba_bench.strict.emotion import read_emotion

    for size in (count // 10, count):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "answers.jsonl")
            with path.open("w", encoding="utf-8") as stream:
                for number, text in enumerate(answers(task, size)):
                    stream.write(json.dumps({"question_id": number, "text": text}) + "\n")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.process_time()
            with path.open(encoding="utf-8") as stream:
                for line in stream:
                    text = json.loads(line)["text"]
                    read_aus(text, VOCABULARY) if task == "au" else read_emotion(text, CLASSES)
            seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{task}: {size} answers in {seconds:.1f} s of CPU, peak {peak / 1024:.0f} MB, "
            f"{(peak - before) * 1024 / size:.0f} bytes an answer more than before"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="also read a file of this many answers")
    arguments = parser.parse_args()
    for task in ("au", "emotion"):
        print(f"{task}: ratio {compare(task, arguments.answers, arguments.rounds):.2f}")
        if arguments.memory:
            memory(task, arguments.memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
