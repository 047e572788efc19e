"""Grey pictures in place of photographs: ``python -m llava_faba.recipe.blank IMAGES OUT``.

A model that is trained and asked with them sees nothing: what it answers comes from the prior (the row "prior only"
of the
paper's ablation). Each keeps the name and size of its photograph; priors of the photographs reach it through
``priors export --npy`` and ``priors import``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from faba_bench.console.program import run
from faba_bench.files.atomic import replacing

from llava_faba.errors import UserError

_GREY = (122, 116, 104)  # CLIP's mean pixel: zeros for its tower


def main(images: Path, out: Path) -> int:
    """Write the grey pictures; returns the exit code. Raises UserError where there is no picture."""
    from PIL import Image
    from tqdm import tqdm

    from llava_faba.images import open_image
    from llava_faba.priors.sources import images_below

    names = images_below(images)
    if not names:
        raise UserError(f"{images}: no pictures")
    for name in tqdm(names, unit="picture", mininterval=2):
        size = open_image(images / name).size
        with replacing(out / name) as partial:
            Image.new("RGB", size, _GREY).save(partial, format=Image.registered_extensions()[Path(name).suffix.lower()])
    return 0


if __name__ == "__main__":
    sys.exit(run("recipe blank", lambda: main(Path(sys.argv[1]), Path(sys.argv[2])), errors=(UserError,)))
