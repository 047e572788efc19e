"""The files of a converted folder, looked at before transformers reads them.

transformers follows links and names in an index wherever they lead, takes another folder's weights where an
``adapter_config.json`` names them, passes over pipes, and ends in a traceback for JSON of another form than it expects.
"""

from __future__ import annotations

import os
from pathlib import Path

from faba_bench.files.paths import regular_file

from llava_faba.errors import CheckpointError
from llava_faba.vetting.kinds import read
from llava_faba.vetting.side_files import inside_folder, shards

_READ = (".json", ".jinja", ".safetensors", ".bin", ".model")
_OBJECTS = (
    *("config", "generation_config", "processor_config", "preprocessor_config", "video_preprocessor_config"),
    *("tokenizer_config", "tokenizer", "special_tokens_map", "added_tokens", "vocab", "chat_template"),
    "audio_tokenizer_config",
)
_TEMPLATE_LIMIT = 1 << 18  # bytes
ADAPTER = "adapter_config.json"


def vet_folder(folder: str | Path) -> None:
    """Look at every file at the top of ``folder`` that is read there; a name that is no folder is a hub id.

    Raises CheckpointError for what is no regular file, leads out of the folder (after links), is no JSON object where
    one is read, or names shards elsewhere, and for an adapter's settings beside a whole model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    if os.path.lexists(folder / ADAPTER) and os.path.lexists(folder / "config.json"):
        raise CheckpointError(
            f"{folder}: {ADAPTER} beside a whole model: transformers would take the model that it names instead. Keep "
            "adapters in folders of their own."
        )
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, also those that are no text
        if not name.endswith(_READ) or name.startswith("."):
            continue
        path = inside_folder(folder, name, what=str(folder))
        limit = _TEMPLATE_LIMIT if name.endswith(".jinja") else None
        regular_file(path, limit=limit, error=CheckpointError)
        if name.endswith(".index.json"):
            shards(path)
        elif name.removesuffix(".json") in _OBJECTS:
            read(path)
