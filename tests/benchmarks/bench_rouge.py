"""ROUGE-L of the reference mode against the PyPI package `rouge`, at 200-word texts, in one run.

python tests/benchmarks/bench_rouge.py            # prints the ratio; exit code 1 below 10 or if values differ
python tests/benchmarks/bench_rouge.py --answers 100000   # also times scoring that many answers
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "eval"))

REQUIRED = 10.0


def texts(count: int, seed: int, words: int = 200) -> list[str]:
    """Texts of `words` words in sentences of 8 to 22 words, with word frequencies as in speech (1 / rank)."""
    generator = random.Random(seed)
    vocabulary = [f"word{rank}" for rank in range(1, 400)]
    weights = [1.0 / rank for rank in range(1, 400)]
    made = []
    for _ in range(count):
        drawn = generator.choices(vocabulary, weights, k=words)
        left = generator.randint(8, 22)
        for index in range(words):
            left -= 1
            if not left or index == words - 1:
                drawn[index] += "."
                left = generator.randint(8, 22)
        made.append(" ".join(drawn))
    return made


def compare(pairs: int, rounds: int) -> tuple[float, bool]:
    """Median ratio of the package's time to ours over `rounds`, and whether all values were equal."""
    from faba_bench import rouge_l_reference
    from rouge import Rouge

    package = Rouge(metrics=["rouge-l"])
    hypotheses, references = texts(pairs, 1), texts(pairs, 2)
    ratios, equal = [], True
    for _ in range(rounds):
        start = time.perf_counter()
        theirs = [
            package.get_scores(hypothesis, reference)[0]["rouge-l"]["f"]
            for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]
        middle = time.perf_counter()
        ours = [rouge_l_reference(*pair) for pair in zip(hypotheses, references, strict=True)]
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        equal = equal and ours == theirs
        per_text = 1000 / pairs
        print(f"rouge {(middle - start) * per_text:.3f} ms, ours {(end - middle) * per_text:.3f} ms a text pair")
    return statistics.median(ratios), equal


def time_scoring(count: int) -> None:
    """Time ``score`` (both modes, 1000 resamples) on `count` answers of 200 words, and at a tenth of that."""
    from faba_bench import score

    pool = texts(500, 3)
    for size in (count // 10, count):
        with tempfile.TemporaryDirectory() as folder:
            annotations, answers = Path(folder, "eval.json"), Path(folder, "answers.jsonl")
            records = [{"label": "1, 4", "gpt4": pool[index % 500]} for index in range(size)]
            annotations.write_text(json.dumps(records))
            del records
            with answers.open("w") as stream:
                for index in range(size):
                    text = f"AU1 is active. {pool[(index * 7 + 1) % 500]}"
                    stream.write(json.dumps({"question_id": index, "text": text}) + "\n")
            start, cpu = time.perf_counter(), time.process_time()
            score("au", "faba", annotations, answers)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"score: {size} answers in {seconds:.1f} s ({cpu:.1f} s of CPU), peak {memory:.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=0, help="also time scoring of this many answers")
    arguments = parser.parse_args()
    ratio, equal = compare(arguments.pairs, arguments.rounds)
    print(f"ratio {ratio:.1f} (required {REQUIRED:.0f}), values {'equal' if equal else 'DIFFER'}")
    if arguments.answers:
        time_scoring(arguments.answers)
    return 0 if ratio >= REQUIRED and equal else 1


if __name__ == "__main__":
    sys.exit(main())
