"""``data validate`` on 20,000 records with images: seconds, memory, and two worker processes over one, in one run.

python tests/benchmarks/bench_validate.py [--records 20000] [--side 256]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make(folder: Path, count: int, side: int) -> Path:
    """``count`` different JPEG files cut from one portrait, their priors, and a file of AU records for them."""
    from PIL import Image
    from skimage.data import astronaut

    random = np.random.default_rng(0)
    portrait = Image.fromarray(astronaut())
    records = []
    for number in range(count):
        size = int(random.integers(180, 400))
        left, top = (int(random.integers(0, 512 - size)) for _ in range(2))
        crop = portrait.crop((left, top, left + size, top + size)).resize((side, side))
        noisy = np.asarray(crop, dtype=np.int16) + random.integers(-20, 21, 3)
        name = f"{number // 1000}/{number}.jpg"
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name, quality=90)
        np.save(folder / f"{name}.npy", random.standard_normal(212).astype(np.float32))
        records.append(
            {
                "id": str(number),
                "image": name,
                "landmark": f"{name}.npy",
                "conversations": [
                    {"from": "human", "value": "What AUs are conveyed by this face?\n<image>"},
                    {"from": "gpt", "value": "AU1 and AU12 are active: the inner brows are raised over a smile."},
                ],
                "label": "1, 12",
            }
        )
    path = folder / "train_au_anno.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def part(path: Path, count: int) -> Path:
    """The first ``count`` records as a file of their own."""
    shorter = path.with_name("part_au_anno.json")
    shorter.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))[:count]), encoding="utf-8")
    return shorter


def seconds(path: Path, workers: int) -> float:
    from llava_faba.datatools.validate import validate

    start = time.perf_counter()
    report = validate([path], image_folder=path.parent, workers=workers)
    if not report.ok:
        raise SystemExit(f"problems in data that has none, the first one: {report.problems[0]}")
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--side", type=int, default=256, help="pixels (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = make(Path(scratch), args.records, args.side)
        shorter = part(path, args.records // 10)
        one, two = seconds(shorter, 1), seconds(shorter, 2)
        whole = seconds(path, 2)
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"{args.records} records, images of {args.side} pixels: {whole:.0f} s with two worker processes")
    print(f"peak memory {own:.0f} MB, largest worker {workers:.0f} MB")
    print(f"two worker processes over one, {args.records // 10} records: ratio {one / two:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
