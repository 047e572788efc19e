"""A LLaVA source tree on disk: finding it, telling the code bases apart, and changing all of its files or none."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from faba_bench.files.atomic import drafted

from llava_faba import upstream
from llava_faba.patching.diff import PatchError
from llava_faba.upstream import CODE_BASES

_TOWER = Path("llava/model/multimodal_encoder/clip_encoder.py")


def find_root(tree: Path | None) -> Path:
    """The folder that holds the package ``llava``: ``tree`` itself, the parent of ``tree`` if that is the package, or,
    for None, where the installed LLaVA lies. Raises PatchError when there is none.
    """
    if tree is None:
        spec = importlib.util.find_spec("llava")
        if spec is None or spec.origin is None:
            raise PatchError("LLaVA is not installed; name a checkout with --tree.")
        return Path(spec.origin).resolve().parents[1]
    for root in (tree, tree.parent):
        if (root / _TOWER).is_file() and (root == tree or tree.name == "llava"):
            return root.resolve()
    raise PatchError(f"{tree}: no LLaVA source tree (there is no {_TOWER} in it).")


def find_code_base(root: Path) -> str:
    """ "wheel" or "git", by what the files hold: both carry the same version. Raises PatchError for another project."""
    found = upstream.find_code_base(root / "llava")
    if found == "next":
        raise PatchError(f"{root}: this is LLaVA-NeXT, another code base; the patches are for LLaVA 1.2.2.post1.")
    if found not in CODE_BASES:
        raise PatchError(f"{root}: no LLaVA source tree (there is no {_TOWER} in it).")
    return found


def write_files(root: Path, contents: Mapping[str, bytes]) -> None:
    """Replace the files by their new contents, keeping their permissions; all of them or, after an error, none.

    Old and new contents lie beside the files, on the same disk, before the first is replaced: what can still fail
    then, and going back, is only renaming. Raises PatchError, naming the file.
    """
    staged: dict[Path, tuple[Path, Path]] = {}
    path = root
    with contextlib.ExitStack() as drafts:
        try:
            for name, content in contents.items():
                path = root / name
                pair = [_write_beside(path, one, drafts) for one in (path.read_bytes(), content)]
                staged[path] = pair[0], pair[1]
            replaced = []
            try:
                for path, (backup, new) in staged.items():
                    new.replace(path)
                    replaced.append((path, backup))
            except OSError:
                for done, backup in replaced:
                    backup.replace(done)
                raise
        except OSError as error:
            raise PatchError(f"{path}: cannot be written ({error.strerror}); nothing was changed.") from error


def _write_beside(path: Path, content: bytes, drafts: contextlib.ExitStack) -> Path:
    """A temporary file beside ``path``, with its permissions, safely on disk."""
    draft = drafts.enter_context(drafted(path))
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, draft)
    return draft
