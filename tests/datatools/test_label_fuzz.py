"""Damaged label files through every converter: a sentence, or rows that add up; never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from small_trees import TREES

from llava_faba.datatools.convert import convert
from llava_faba.errors import UserError

PIECES = (b",", b";", b"\t", b'"', b"'", b"\n", b"\r", b"\xef\xbb\xbf", b"\0", b"9" * 400, b"-", b".0", b"../", b"\xff")


def damaged(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    place = rng.randrange(len(data))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == 1:
        return data[:place] + data[place + rng.randint(1, 30) :]
    if kind == 2:
        return data[:place] + rng.choice(PIECES) + data[place:]
    if kind == 3:
        return b"\n".join([*lines, rng.choice(lines)])
    if kind == 4:
        rng.shuffle(lines)
        return b"\n".join(lines)
    return data[:place]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TREES))
def test_damage_is_named_or_counted(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    ended = {"converted": 0, "refused": 0}
    for trial in range(80):
        tree = TREES[name](tmp_path / f"{trial}")
        table = rng.choice(tree.tables)
        for _ in range(rng.randint(1, 3)):
            table.write_bytes(damaged(table.read_bytes() or b"\n", rng))
        options = tree.given(duplicates=rng.choice(["error", "first", "last", "drop"]))
        try:
            report = convert(name, tree.root, tmp_path / f"{trial}-out", options)
        except UserError as error:
            assert len(str(error)) < 2000
            ended["refused"] += 1
            continue
        ended["converted"] += 1
        rows = report["rows"]
        assert rows["read"] == rows["used"] + sum(rows["left_out"].values())
        for split in report["splits"].values():
            assert split["train_before_sampling"] + split["eval_before_sampling"] == rows["used"]
    assert all(ended.values()), ended
