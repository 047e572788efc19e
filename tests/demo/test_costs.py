"""What a prior costs, counted on models whose priors make different tokens."""

from __future__ import annotations

import json
from pathlib import Path

from tiny import make_emola

from llava_faba.demo.costs import table
from llava_faba.demo.programs import main
from llava_faba.experts.dlib68 import Dlib68Expert
from llava_faba.experts.regions import face_regions


def test_tokens_parameters_and_time_of_each(tmp_path: Path) -> None:
    regions = face_regions(["dlib-68"], [Dlib68Expert], [136])
    kinds = ["global", "regions", "cross_attention"]
    checkpoints = [
        make_emola(
            tmp_path / kind,
            **({} if kind == "global" else {"facial_prior_tokens": kind, "facial_prior_regions": regions}),
        )
        for kind in kinds
    ]
    (tmp_path / "out").mkdir()
    words = ["costs", "--out", str(tmp_path / "out"), "--checkpoints", *map(str, checkpoints), "--names", *kinds]
    assert main(words) == 0
    rows = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert [row["tokens"] for row in rows] == [1, 9, 0]
    # mlp2x: 136 and 64 numbers to 64; nine layers of 136 numbers in all; those and five square layers and a norm.
    assert [row["parameters"] for row in rows] == [
        (136 + 1) * 64 + 65 * 64,
        136 * 64 + 9 * 64,
        136 * 64 + 9 * 64 + 5 * 65 * 64 + 2 * 64,
    ]
    assert rows[0]["step"] == 1 and all(0.1 < row["step"] < 10 for row in rows)
    assert table(rows) == (tmp_path / "out" / "costs.md").read_text() and "| regions | 9 |" in table(rows)
    assert main([*words[:-1]]) == 2  # a name too few
