"""What a model card says of results: only those whose answers the card's own checkpoint gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faba_bench.result import load_result
from faba_bench.tables import drawn, markdown_document

from llava_faba.errors import UserError
from llava_faba.model.fingerprint import fingerprint, model_folders

NOTHING = """\
Nothing. Say here on which pictures of which people it was tried, and how it does by group:
`llava-faba bench generate`, `faba-bench score --group FIELD --output result.json`, then this card again with
`--result result.json`."""


def section(results: Sequence[Path], model_path: str | Path, model_base: str | None) -> str:
    """Markdown: the tables of result files of ``faba-bench score``, or what to do where there are none.

    Raises UserError for a result of another model's answers, or of answers that do not name their model; ResultError
    for a file that is no result.
    """
    if not results:
        return NOTHING
    read = [(path, load_result(path)) for path in results]
    this = fingerprint(model_folders(str(model_path), model_base))
    for path, result in read:
        models = result.get("answered_by", [])
        if not models:
            raise UserError(
                f"{path}: the answers that it measures do not say which model gave them (metadata.model_sha256), so "
                "it cannot stand in this model's card. 'llava-faba bench generate' writes it; then score again."
            )
        if models != [this]:
            named = ", ".join(digest[:12] for digest in models)
            raise UserError(f"{path}: its answers were given by the model {named}, this checkpoint is {this[:12]}.")
    return "\n\n".join(
        f"{markdown_document(result).rstrip()}\n\n{result['n']} samples; 95% intervals resample {drawn(result)}."
        for _, result in read
    )
