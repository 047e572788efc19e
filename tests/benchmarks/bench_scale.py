"""Memory and time of ``faba_bench.score`` by the number of answers: ``python tests/benchmarks/bench_scale.py [N ...]``.

Each size is a process of its own that scores N answers to N records (BP4D's task: 12 AUs, 41 people, a converter's
texts) from files, and writes the result as JSON. Prints peak memory, CPU time, and the ratio of times to
the smallest size.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


def write_inputs(folder: Path, count: int, seed: int = 0) -> None:
    """``eval.json`` (a JSON list, as the converters write it) and ``answers.jsonl``."""
    rng = random.Random(seed)
    with (folder / "eval.json").open("w") as records, (folder / "answers.jsonl").open("w") as answers:
        records.write("[")
        for number in range(count):
            truth = [au for au in AUS if rng.random() < 0.3]
            said = [au for au in AUS if (au in truth) != (rng.random() < 0.2)]
            record = {
                "image": f"F{number % 41:03d}/T1/{number}.jpg",
                "id": f"BP4D/F{number % 41:03d}/T1/{number}",
                "label": ", ".join(map(str, truth)),
                "gpt4": " ".join(f"AU{au} is active." for au in truth) or "No action units are conveyed by this face.",
                "subject": f"F{number % 41:03d}",
            }
            records.write(("," if number else "") + json.dumps(record))
            text = " ".join(f"AU{au} is active." for au in said) or "No action unit is active."
            answers.write(json.dumps({"question_id": record["id"], "text": text}) + "\n")
        records.write("]")


def measured(folder: Path, bootstrap: int) -> dict[str, float]:
    """Score the files of `folder` in this process: seconds, and peak memory in MB."""
    import faba_bench
    from faba_bench.files.atomic import write_json

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = time.process_time()  # of this process alone: other programs do not count
    result = faba_bench.score("au", "bp4d", folder / "eval.json", folder / "answers.jsonl", bootstrap=bootstrap)
    scored = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(folder / "result.json", result)
    return {
        "n": result["n"],
        "seconds": scored,
        "peak_mb": peak,
        "peak_mb_written": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seconds_written": time.process_time() - begun,
        "base_mb": base,
    }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    sizes = [int(word) for word in sys.argv[1:]] or [25_000, 50_000, 100_000]
    first = None
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_inputs(Path(folder), size)
            command = [sys.executable, __file__, "--one", folder, "100"]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or found
        print(
            f"{size:>8} answers: {found['peak_mb']:.0f} MB at most, {found['peak_mb_written']:.0f} with the result, "
            f"{found['seconds']:.1f} s; per answer {1e6 * found['seconds'] / size:.0f} us, "
            f"{1024 * 1024 * (found['peak_mb'] - found['base_mb']) / size:.0f} B; "
            f"{size / first['n']:.1f} times the answers in {found['seconds'] / first['seconds']:.2f} times the time",
            flush=True,
        )


if __name__ == "__main__":
    main()
