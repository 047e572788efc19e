"""What can be read from a vision tower's patches, and from a facial prior, by a linear probe on the demo's faces.

``python tests/benchmarks/bench_towers.py DATA --priors STORE --tower NAME=DIR ...``: DATA and STORE as the demo makes
them (``runs/demo/data``, ``runs/demo/priors``). A ridge regression for each action unit on all patches of a tower's
last but one layer, its strength chosen on people that it was not fitted on; macro F1 on the test people, with a 95%
interval by drawing people. It tells what a model behind a frozen tower has to work with; it is no score of a model.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("data", type=Path)
    parser.add_argument("--priors", type=Path)
    parser.add_argument("--tower", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()

    truth = json.loads((args.data / "identities.json").read_text(encoding="utf-8"))["images"]
    names = {split: sorted(name for name in truth if f"/{split}/" in name) for split in ("train", "test")}
    names = {"train": names["train"][: args.train], "test": names["test"][: args.test]}
    units = sorted({int(unit) for name in names["train"] for unit in truth[name]["units"]})
    labels = {
        split: np.array([[float(str(unit) in truth[name]["units"]) for unit in units] for name in chosen])
        for split, chosen in names.items()
    }
    people = {split: np.array([truth[name]["identity"] for name in chosen]) for split, chosen in names.items()}
    print(f"{len(names['train'])} pictures to fit, {len(names['test'])} to test, {len(units)} action units")
    readers: dict[str, Callable[[list[str]], np.ndarray]] = {}
    for entry in args.tower:
        name, _, folder = entry.partition("=")
        readers[name] = lambda images, folder=folder: patches(Path(folder), args.data, images, args.batch)
    if args.priors:
        readers["prior"] = lambda images: priors(args.priors, images)
    for name, reader in readers.items():
        start = time.process_time()
        features = {split: reader(chosen) for split, chosen in names.items()}
        said = probe(features, labels, people["train"])
        value, low, high = interval(said, labels["test"], people["test"])
        seconds = time.process_time() - start
        size = features["train"].shape[1]
        print(
            f"{name}: macro F1 {value:.3f} [{low:.3f}, {high:.3f}], {size} numbers a picture, {seconds:.0f} s CPU",
            flush=True,
        )
    everyone = np.ones_like(labels["test"])
    value, low, high = interval(everyone, labels["test"], people["test"])
    print(f"every unit said of every picture: macro F1 {value:.3f} [{low:.3f}, {high:.3f}]")


def patches(folder: Path, data: Path, images: list[str], batch: int) -> np.ndarray:
    """All patches of the last but one layer, (pictures, patches * width), in bfloat16's precision."""
    import torch
    from PIL import Image
    from transformers import AutoModel, CLIPImageProcessor, CLIPVisionModel

    dino = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "dinov2"
    model = (AutoModel if dino else CLIPVisionModel).from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
    processor = CLIPImageProcessor.from_pretrained(folder)
    rows = []
    for start in range(0, len(images), batch):
        pictures = [Image.open(data / name).convert("RGB") for name in images[start : start + batch]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"].to(torch.bfloat16)
        with torch.no_grad():
            states = model(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        rows.append(states.float().flatten(1).numpy())
    return np.concatenate(rows)


def priors(store: Path, images: list[str]) -> np.ndarray:
    """The store's vectors, each with its own mean and size taken out; zeros where no face was found."""
    from llava_faba.priors.store import PriorStore

    opened = PriorStore.open(store)
    vectors = np.stack([np.asarray(opened.get(name), dtype=np.float64) for name in images])
    points = vectors.reshape(len(images), -1, 2)
    points = points - points.mean(axis=1, keepdims=True)
    sizes = np.sqrt((points**2).mean(axis=(1, 2), keepdims=True))
    return (points / np.where(sizes > 0, sizes, 1)).reshape(len(images), -1)


def probe(features: dict[str, np.ndarray], labels: dict[str, np.ndarray], people: np.ndarray) -> np.ndarray:
    """0 or 1 for each test picture and unit. A fifth of the people decides strength and thresholds."""
    mean, scale = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-6
    train, test = ((features[split] - mean) / scale for split in ("train", "test"))
    everyone = np.unique(people)
    held = np.isin(people, everyone[::5])
    best: tuple[float, float, np.ndarray] = (-1.0, 0.0, np.zeros(0))
    for strength in STRENGTHS:
        scores = ridge(train[~held], labels["train"][~held], train[held], strength)
        thresholds = np.array([cut(scores[:, unit], labels["train"][held][:, unit]) for unit in range(scores.shape[1])])
        value = macro_f1(scores > thresholds, labels["train"][held])
        if value > best[0]:
            best = (value, strength, thresholds)
    scores = ridge(train, labels["train"], test, best[1])
    return (scores > best[2]).astype(float)


def ridge(train: np.ndarray, labels: np.ndarray, test: np.ndarray, strength: float) -> np.ndarray:
    """Predictions of ridge regression, solved over pictures: there are fewer of them than numbers in each."""
    kernel = train @ train.T
    centre = labels.mean(axis=0)
    weights = np.linalg.solve(kernel + strength * np.trace(kernel) / len(kernel) * np.eye(len(kernel)), labels - centre)
    found: np.ndarray = test @ train.T @ weights + centre
    return found


def cut(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the best F1."""
    options = np.quantile(scores, np.linspace(0.02, 0.98, 49))
    return float(max(options, key=lambda value: f1(scores > value, labels)))


def f1(said: np.ndarray, labels: np.ndarray) -> float:
    both = float((said * labels).sum())
    return 2 * both / max(float(said.sum() + labels.sum()), 1.0)


def macro_f1(said: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([f1(said[:, unit], labels[:, unit]) for unit in range(labels.shape[1])]))


def interval(said: np.ndarray, labels: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """Macro F1, and the 95% interval of 1000 draws of people with replacement."""
    random, everyone = np.random.default_rng(0), np.unique(people)
    rows = {person: np.flatnonzero(people == person) for person in everyone}
    draws = []
    for _ in range(1000):
        chosen = np.concatenate([rows[person] for person in random.choice(everyone, len(everyone))])
        draws.append(macro_f1(said[chosen], labels[chosen]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return macro_f1(said, labels), float(low), float(high)


if __name__ == "__main__":
    main()
