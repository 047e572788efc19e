"""What a large dataset costs without its pictures: a store's index, merge, verify, and the start of a training.

``python tests/benchmarks/bench_entries.py --entries 250000 500000 1000000 2000000``: rows are generated, each size and
part in a process of its own; prints seconds of CPU, peak memory over what a process with the same imports takes, and
the ratio to the size before. Exit code 1 where a part grows more than a quarter beyond the entries' own ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PARTS = ("index", "open", "merge", "verify", "records", "start")
SIZE = 136
FILES = 1000  # pictures that are there; folders that are links to them make as many names as are wanted
MOST = 1.25  # times the ratio of the entries, for seconds
_AT_ONCE = 4096
QUESTION, ANSWER = (
    "What AUs are conveyed by this face?\n<image>",
    "AU12 - Lip corner puller: the lip corners are pulled up.",
)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--entries", type=int, nargs="+", default=[250_000, 500_000, 1_000_000, 2_000_000])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--folder", type=Path, help="where it works (default: a temporary folder)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        _print_one(args.one[0], int(args.one[1]), args.folder)
        return 0
    worst = True
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        pictures(Path(name))
        before: dict[str, tuple[int, float, float]] = {}
        for entries in args.entries:
            for part in args.parts:
                seconds, memory = _run(part, entries, Path(name))
                ratio = ""
                if part in before:
                    fewer, took, held = before[part]
                    times = entries / fewer
                    ratio = f"; x{times:.1f} entries: x{seconds / took:.2f} CPU, x{memory / max(held, 1):.2f} memory"
                    worst = worst and seconds / took <= times * MOST
                before[part] = (entries, seconds, memory)
                print(f"{entries:>9,} {part:<8} {seconds:8.1f} s CPU {memory:8.0f} MB{ratio}", flush=True)
            for store in Path(name).glob("store*"):
                shutil.rmtree(store)
    return 0 if worst else 1


def _run(part: str, entries: int, folder: Path) -> tuple[float, float]:
    words = [sys.executable, __file__, "--folder", str(folder), "--one", part, str(entries)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["memory"]


def _print_one(part: str, entries: int, folder: Path) -> None:
    import llava_faba.priors.merge
    import llava_faba.priors.verify

    if part == "start":
        from llava_faba.upstream import import_llava

        import_llava("llava.train.train")
        import llava_faba.data.module  # noqa: F401
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    globals()[f"_{part}"](folder, entries)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": time.process_time() - start, "memory": memory}))


def pictures(folder: Path) -> None:
    """A thousand files, and links to their folder: names without end."""
    (folder / "images" / "d0000").mkdir(parents=True)
    for index in range(FILES):
        (folder / "images" / "d0000" / name_of(index).rpartition("/")[2]).write_bytes(b"\xff\xd8")


def name_of(index: int) -> str:
    return f"d{index // FILES:04d}/face{index % FILES:04d}.jpg"


def rows(folder: Path, first: int, last: int) -> Iterator[list]:
    from llava_faba.priors.content import Content
    from llava_faba.priors.writer import Row

    content = Content.of(folder / "images" / name_of(0))  # of all of them

    features = np.random.default_rng(first).normal(size=(_AT_ONCE, SIZE)).astype(np.float32)
    for start in range(first, last, _AT_ONCE):
        stop = min(start + _AT_ONCE, last)
        yield [
            Row(name_of(index), features[index - start], "found", (240, 240), "", content)
            for index in range(start, stop)
        ]


def _write(store: Path, first: int, last: int) -> None:
    from llava_faba.priors.writer import PriorStoreWriter

    with PriorStoreWriter(store, expert="dlib-68", version="1", settings={}, size=SIZE) as writer:
        for block in rows(store.parent, first, last):
            assert not any(row.image in writer for row in block)
            writer.append(block, replacing=True)


def _index(folder: Path, entries: int) -> None:
    """What extraction does for each picture beside looking at it: is it there, write it."""
    _write(folder / "store", 0, entries)


def _open(folder: Path, entries: int) -> None:
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(folder / "store")
    assert len(store) == entries
    for index in np.random.default_rng(0).integers(entries, size=entries // 10):
        assert store.get(name_of(int(index))).shape == (SIZE,)


def _merge(folder: Path, entries: int) -> None:
    from llava_faba.priors.merge import merge

    _write(folder / "store-more", entries, entries + entries // 10)
    merge([folder / "store", folder / "store-more"], folder / "store-merged")


def _verify(folder: Path, entries: int) -> None:
    from llava_faba.priors.verify import verify

    assert verify(folder / "store") == []


def _records(folder: Path, entries: int) -> None:
    """The annotation file, written and not measured against anything."""
    for index in range(1, -(-entries // FILES)):
        link = folder / "images" / f"d{index:04d}"
        if not link.exists():
            link.symlink_to("d0000")
    with (folder / "train.json").open("w", encoding="utf-8") as file:
        for index in range(entries):
            turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]
            record = {"id": f"r{index}", "image": name_of(index), "conversations": turns}
            file.write(("[" if index == 0 else ",\n") + json.dumps(record))
        file.write("]")


def _start(folder: Path, entries: int) -> None:
    """Training's dataset: records read and checked, each picture there, each prior there."""
    from types import SimpleNamespace

    from llava_faba.data.module import FabaDataset
    from llava_faba.data.priors import StoredPriors

    settings = SimpleNamespace(
        image_folder=str(folder / "images"), facial_prior_store=str(folder / "store"), allow_outside=True,
        skip_bad_records=False, facial_prior_compare_all=False,
    )  # fmt: skip
    dataset = FabaDataset(str(folder / "train.json"), None, settings)
    assert len(dataset) == entries and isinstance(dataset.priors, StoredPriors)


if __name__ == "__main__":
    sys.exit(main())
