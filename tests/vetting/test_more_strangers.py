"""Further members of the kinds that the other files of this folder try."""

from __future__ import annotations

import pytest
from support import ADAPTER, edit_config

import llava_faba
from llava_faba.cli.main import main
from llava_faba.errors import CheckpointError
from llava_faba.vetting.families import pinpoints


@pytest.mark.parametrize(
    "value",
    [
        "(" * 4000,
        "[[1, 2",
        "1",
        "[]",
        "[(0, 2)]",
        "[('a', 2)]",
        "[(1, 2)] * 99",
        "__import__('os').system('true')",
        "[(\uff11, 2)]",
        "[(336, 99999)]",
        [[336, 10**6]],
        [[336, 336]] * 300,
        {"a": 1},
    ],
    ids=lambda value: str(value)[:24],
)
def test_resolutions_are_a_short_list_of_pairs(value, copied):
    """LLaVA evaluates their text as a Python literal when a picture is prepared."""
    edit_config(copied / ADAPTER, image_aspect_ratio="anyres", image_grid_pinpoints=value)
    with pytest.raises(CheckpointError, match="image_grid_pinpoints must be"):
        llava_faba.load_model(copied / ADAPTER)


@pytest.mark.parametrize("value", ["[(336, 672), (672, 336)]", "((336,672,),)", "[[56, 112]]", [[336, 672]]])
def test_resolutions_in_every_spelling_of_llava_are_read(value):
    assert pinpoints(value) == value


def test_an_older_sentencepiece_converts(golden, tmp_path, capsys):
    """sentencepiece 0.1's own protobuf classes do not import beside the protobuf that LLaVA's stack has."""
    assert (
        main(["checkpoint", "to-transformers", "--model-path", str(golden / ADAPTER), "--out", str(tmp_path / "x")])
        == 0
    )
    assert "tokens of SentencePiece" in capsys.readouterr().out
