"""What the upstream stack's tokenizer makes of some texts; as a program, it writes data/tokens/upstream.json there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

STORED = Path(__file__).parents[1] / "data" / "tokens" / "upstream.json"
LEGACY = {"legacy": True, "not legacy": False, "not said": None}
TEXTS = [
    "A chat",
    "A chat </s>USER: hi</s> x  y",
    "",
    "  lead",
    "ends ",
    "</s>",
    "<s>A",
    "<s> B </s> C<im_patch>d <im_patch>",
    "a\n\nb\tc",
    "é 🙂 ▁x",
    "USER: <unk> z </s></s>",
    "What AUs are conveyed by this face?\nASSISTANT: AU4, brow lowerer.</s>",
]


def tokenize(base: Path, folder: Path, legacy: bool | None) -> list[dict[str, Any]]:
    """Ids and decoded texts of ``TEXTS``, by the golden tokenizer with another ``legacy`` in its settings.

    ``base``: the golden base's folder; ``folder``: where its changed copy goes.
    """
    from transformers import AutoTokenizer

    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.bin"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["legacy"] = legacy
    if legacy is None:
        del settings["legacy"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=False)
    tokenizer.add_tokens(["<im_patch>"], special_tokens=True)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        words = tokenizer.decode(ids, skip_special_tokens=True)
        rows.append({"text": text, "ids": ids, "all": tokenizer.decode(ids), "words": words})
    return rows


if __name__ == "__main__":
    import tempfile

    golden = Path(__file__).parents[1] / "data" / "golden" / "emola_checkpoint" / "base"
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: tokenize(golden, Path(scratch) / name, value) for name, value in LEGACY.items()}
    STORED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
