"""What experts' priors tell of action units without a language model: one logistic regression for each AU, on the
demo's pictures. ``python tests/benchmarks/bench_prior_probe.py --data runs/demo/data --out probe.json``.

Macro F1 over the AUs that the faba protocol scores; the gain over the first row with a paired bootstrap over the test
pictures. Also milliseconds a picture of each extraction, and the pictures in which a face was found.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from llava_faba.emola.normalization import PriorNormalizer, fit_statistics
from llava_faba.experts import create_expert
from llava_faba.priors.reading import read_picture

AUS = (1, 2, 4, 5, 6, 10, 12, 17, 24, 25, 26, 43)
ROWS = (
    ("dlib-68", "none"),
    ("dlib-68", "standardize"),
    ("dlib-68", "pose"),
    ("mediapipe-478", "pose"),
    ("blendshapes-52", "standardize"),
    ("mediapipe-478+blendshapes-52", "pose+standardize"),
    ("dlib-68+blendshapes-52", "pose+standardize"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    train = json.loads((args.data / "train_au_anno.json").read_text())[: args.train]
    test = json.loads((args.data / "eval_au_anno.json").read_text())[: args.test]
    known = np.array([_aus(record["conversations"][1]["value"]) for record in train])
    wanted = np.array([_aus(" ".join(f"AU{number}" for number in record["label"].split(", "))) for record in test])
    names = [record["image"] for record in (*train, *test)]
    extracted: dict[str, tuple[np.ndarray, float]] = {}
    report: list[dict[str, object]] = []
    predictions: list[np.ndarray] = []
    for expert, method in ROWS:
        if expert not in extracted:
            extracted[expert] = _extract(expert, args.data, names)
        features, milliseconds = extracted[expert]
        sizes = create_expert(expert).sizes
        statistics = fit_statistics(method, features[: len(train)], sizes)
        normalized = PriorNormalizer(method, statistics, features.shape[1], sizes)(torch.from_numpy(features)).numpy()
        predictions.append(_predicted(normalized[: len(train)], known, normalized[len(train) :]))
        gain = _gain(predictions[-1], predictions[0], wanted)
        found = int(features.any(axis=1).sum())
        row = {"expert": expert, "normalization": method, "found": found, "of": len(names)}
        report.append({**row, "ms": round(milliseconds, 2), "f1": _f1(predictions[-1], wanted), "gain": gain})
        print(json.dumps(report[-1]), flush=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")


def _aus(text: str) -> list[bool]:
    found = {int(number) for number in re.findall(r"AU(\d+)", text)}
    return [number in found for number in AUS]


def _extract(name: str, folder: Path, images: list[str]) -> tuple[np.ndarray, float]:
    expert = create_expert(name)
    expert.load()
    rows, spent = [], 0.0
    for image in images:
        picture = read_picture(folder / image).picture
        assert picture is not None, image
        began = time.process_time()
        rows.append(expert.extract([picture]).features[0])
        spent += time.process_time() - began
    return np.stack(rows), spent / len(images) * 1000


def _predicted(train: np.ndarray, known: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    columns = []
    for column in range(len(AUS)):
        if len(set(known[:, column])) < 2:
            columns.append(np.full(len(test), known[0, column]))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # raw points do not converge: that is what is measured
            model = LogisticRegression(max_iter=300).fit(train, known[:, column])
        columns.append(model.predict(test))
    return np.stack(columns, axis=1)


def _f1(predicted: np.ndarray, wanted: np.ndarray) -> float:
    hits, said, there = (predicted & wanted).sum(0), predicted.sum(0), wanted.sum(0)
    return round(float(np.mean(200 * hits / np.maximum(said + there, 1))), 1)


def _gain(one: np.ndarray, other: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Difference of macro F1 with its 95% interval."""
    random, gains = np.random.default_rng(0), []
    for _ in range(1000):
        rows = random.integers(0, len(wanted), len(wanted))
        gains.append(_f1(one[rows], wanted[rows]) - _f1(other[rows], wanted[rows]))
    low, high = np.percentile(gains, [2.5, 97.5])
    return [round(value, 1) for value in (_f1(one, wanted) - _f1(other, wanted), float(low), float(high))]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
