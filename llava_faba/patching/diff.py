"""A patch: a header for people, then a unified diff, which is applied strictly.

Every line of a hunk, context included, must be in the file as the patch has it, in one place only. The place may have
moved (another patch may have added lines above it); lines that differ, or that are there twice, are an error. A hunk
with no context before (or after) its changes stands at the beginning (or end) of the file, as ``git apply`` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unidiff import PatchSet
from unidiff.patch import Hunk as ParsedHunk

from llava_faba.errors import UserError


class PatchError(UserError):
    """A patch cannot be applied or taken back: the message names patch, file and hunk. Nothing was written."""


@dataclass(frozen=True)
class Hunk:
    """One place of a file: ``old`` and ``new`` are the lines (ends included) before and after, context and all."""

    label: str
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    at_start: bool
    at_end: bool

    def places(self, lines: Sequence[bytes], *, reverse: bool) -> list[int]:
        """Where in a file its lines before (``reverse``: after) the change begin, counted from 0."""
        block = list(self.new if reverse else self.old)
        last = len(lines) - len(block)
        starts = range(last if self.at_end else 0, 1 if self.at_start else last + 1)
        return [start for start in starts if start >= 0 and lines[start : start + len(block)] == block]


@dataclass(frozen=True)
class Patch:
    """``files`` maps paths, relative to the folder that holds the package ``llava``, to their hunks in order."""

    name: str
    summary: str
    files: dict[str, tuple[Hunk, ...]]

    def apply(self, read: Callable[[str], bytes], *, reverse: bool = False, halfway: bool = False) -> dict[str, bytes]:
        """The new content of every file of the patch; ``read`` gives the present one and raises OSError.

        ``halfway``: files that are as wanted already stay so, as when a process was killed while it wrote.
        Raises PatchError at the first hunk that does not fit.
        """
        changed = {}
        for path, hunks in self.files.items():
            try:
                content = read(path)
                is_done = halfway and not _fits(content, hunks, reverse) and _fits(content, hunks, not reverse)
                changed[path] = content if is_done else _apply(content, hunks, reverse)
            except OSError as error:
                raise PatchError(f"patch '{self.name}', file {path}: cannot be read ({error.strerror}).") from error
            except _DoesNotFit as error:
                raise PatchError(f"patch '{self.name}', file {path}, {error}") from error
        return changed


class _DoesNotFit(Exception):
    pass


def _fits(content: bytes, hunks: Sequence[Hunk], reverse: bool) -> bool:
    try:
        _apply(content, hunks, reverse)
    except _DoesNotFit:
        return False
    return True


def _apply(content: bytes, hunks: Sequence[Hunk], reverse: bool) -> bytes:
    lines = content.splitlines(keepends=True)
    done: list[bytes] = []
    end = 0  # of the hunk before
    for hunk in hunks:
        places = hunk.places(lines, reverse=reverse)
        if len(places) != 1 or places[0] < end:
            found = f"are there {len(places)} times" if len(places) > 1 else "are not there in this form and order"
            raise _DoesNotFit(f"{hunk.label}: the lines that it {'would take back' if reverse else 'changes'} {found}.")
        done += [*lines[end : places[0]], *(hunk.old if reverse else hunk.new)]
        end = places[0] + len(hunk.new if reverse else hunk.old)
    return b"".join([*done, *lines[end:]])


def parse(name: str, text: str) -> Patch:
    """The patch in ``text``. Raises ValueError for one that adds, removes or renames files: pip would not know."""
    files = {}
    for file in PatchSet(text):
        if not file.is_modified_file or file.is_rename:
            raise ValueError(f"patch '{name}': {file.path} is not just modified")
        files[file.path] = tuple(_hunk(number, hunk) for number, hunk in enumerate(file, 1))
    return Patch(name, text.partition("\n")[0], files)


def _hunk(number: int, hunk: ParsedHunk) -> Hunk:
    old = tuple(line.value.encode() for line in hunk if line.is_context or line.is_removed)
    new = tuple(line.value.encode() for line in hunk if line.is_context or line.is_added)
    label = f"hunk {number} (line {hunk.source_start})"
    return Hunk(label, old, new, at_start=not hunk[0].is_context, at_end=not hunk[-1].is_context)
