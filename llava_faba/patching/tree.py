"""A LLaVA source tree on disk: finding it, telling the code bases apart, and changing all of its files or none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
    try:
        for name, content in contents.items():
            path = root / name
            backup = _write_beside(path, path.read_bytes())
            staged[path] = backup, backup  # so that it is removed should the next line fail
            staged[path] = backup, _write_beside(path, content)
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
    finally:
        for temporary in {file for pair in staged.values() for file in pair}:
            temporary.unlink(missing_ok=True)


def _write_beside(path: Path, content: bytes) -> Path:
    """A temporary file beside ``path``, with its permissions, safely on disk."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, name)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)
