"""Longest common subsequences of word lists, bit-parallel, in memory that grows with the texts' length.

One Python integer holds one row of the usual table: bit ``j`` of a row is 0 exactly where the length
grows from column ``j`` to ``j + 1``.  A whole row then costs three operations on integers, and the rows
say everything that a trace back through the table needs (Hyyro, "Bit-parallel LCS-length computation
revisited", 2004, section 2; the trace back is ours).

All rows of two long texts would take the square of their length.  So a trace back keeps a few of them and
computes those between two of them again when it comes there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_BLOCK_BITS = 1024
# Rows of a stretch are held at once when they take no more than this; a longer stretch is cut into so many parts.
_HELD_BYTES = 1 << 22
_PARTS = 64
_KEPT_MASKS = 512


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence of two word lists.

    Takes O(len(first) * len(second) / 64) time and O(len(first) + len(second)) memory.
    """
    if not first or not second:
        return 0
    masks = _masks(second)
    row = full = (1 << len(second)) - 1
    for word in first:
        if word in masks:
            row = _next(row, masks[word], full)
    return len(second) - row.bit_count()


class SentenceBlock:
    """Several sentences side by side in one row, so that one pass over a reference serves them all.

    A guard bit between neighbours stays 0 in every mask, which keeps the carry of one sentence out of the
    next.  The size of a block is bounded so that cutting one sentence out of a row stays cheap.
    """

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        self._segments: list[tuple[int, int]] = []
        self._masks: dict[str, int] | _LongMasks
        if len(sentences) == 1:
            self._masks = _masks(sentences[0])
            self._full = (1 << len(sentences[0])) - 1
            self._segments.append((0, self._full))
            return
        together: dict[str, int] = {}
        self._masks = together
        self._full = 0
        offset = 0
        for words in sentences:
            for word, mask in _positions(words).items():
                together[word] = together.get(word, 0) | (mask << offset)
            ones = (1 << len(words)) - 1
            self._segments.append((offset, ones))
            self._full |= ones << offset
            offset += len(words) + 1

    def collect(self, reference: Sequence[str], into: set[str]) -> None:
        """Add the words of one LCS of ``reference`` with each sentence of the block to ``into``.

        Of several subsequences of the same length it takes the one that a trace back from the end finds
        when it prefers to go back in the sentence over going back in the reference.  Memory grows with the
        length of the two, not with its square.
        """
        # Without a match in the row it equals the one before: a trace back only passes through.
        words = [word for word in reference if word in self._masks]
        if not words:
            return
        traces: list[_Trace] | None = None
        for rows in self._stretches(words, 0, len(words), self._full):
            if traces is None:
                grown = rows[-1] ^ self._full
                traces = [_Trace(offset, ones, grown) for offset, ones in self._segments]
            start = len(words) - len(rows)
            steps = self._steps(words, start, rows)
            traces = [trace for trace in traces if trace.go_back(steps, into)]
            if not traces:
                return
            del words[start:]

    def _steps(self, words: Sequence[str], start: int, rows: Sequence[int]) -> list[tuple[str, int, int]]:
        full, masks = self._full, self._masks
        steps = []
        for word, row in zip(words[start:], rows, strict=True):
            mask = masks[word]
            steps.append((word, mask, mask | (row ^ full)))
        steps.reverse()
        return steps

    def _stretches(self, words: Sequence[str], start: int, end: int, row: int) -> Iterator[list[int]]:
        """The rows of ``words[start:end]`` in stretches, the last one first. ``row`` is the one before ``start``."""
        full, masks = self._full, self._masks
        count = end - start
        if count <= _PARTS or count * (full.bit_length() // 8 + 1) <= _HELD_BYTES:
            rows = []
            for word in words[start:end]:
                row = _next(row, masks[word], full)
                rows.append(row)
            yield rows
            return
        length = -(-count // _PARTS)
        kept: list[tuple[int, int]] = []
        for at in range(start, end):
            if (at - start) % length == 0:
                kept.append((at, row))
            row = _next(row, masks[words[at]], full)
        while kept:
            at, row = kept.pop()
            yield from self._stretches(words, at, min(at + length, end), row)


def sentence_blocks(sentences: Sequence[Sequence[str]]) -> list[SentenceBlock]:
    """Group sentences into blocks of about a thousand words; a longer sentence makes a block of its own."""
    blocks: list[SentenceBlock] = []
    pending: list[Sequence[str]] = []
    bits = 0
    for words in sentences:
        if pending and bits + len(words) > _BLOCK_BITS:
            blocks.append(SentenceBlock(pending))
            pending, bits = [], 0
        pending.append(words)
        bits += len(words) + 1
    if pending:
        blocks.append(SentenceBlock(pending))
    return blocks


def _next(row: int, mask: int, full: int) -> int:
    hit = row & mask
    return ((row + hit) | (row - hit)) & full


def _masks(words: Sequence[str]) -> dict[str, int] | _LongMasks:
    return _positions(words) if len(words) <= _BLOCK_BITS else _LongMasks(words)


def _positions(words: Sequence[str]) -> dict[str, int]:
    masks: dict[str, int] = {}
    bit = 1
    for word in words:
        masks[word] = masks.get(word, 0) | bit
        bit <<= 1
    return masks


class _LongMasks:
    """The masks of a long sentence's words, each made when it is asked for; some hundred of them are kept.

    A mask for each word would take the square of the sentence's length.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._length = len(words)
        self._places: dict[str, list[int]] = {}
        for place, word in enumerate(words):
            self._places.setdefault(word, []).append(place)
        # Masks of frequent words are dear to make, and no more than these can be frequent.
        self._frequent = {
            word: self._made(places) for word, places in self._places.items() if len(places) * _KEPT_MASKS > len(words)
        }

    def __contains__(self, word: str) -> bool:
        return word in self._places

    def __getitem__(self, word: str) -> int:
        mask = self._frequent.get(word)
        return self._made(self._places[word]) if mask is None else mask

    def _made(self, places: list[int]) -> int:
        if len(places) < 16:
            return sum(1 << place for place in places)
        bits = np.zeros(self._length, np.uint8)
        bits[places] = 1
        return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


class _Trace:
    """The way back through the table of one sentence: from its last column and the reference's last word."""

    def __init__(self, offset: int, ones: int, grown: int) -> None:
        self._offset = offset
        self._below = ones
        self._left = ((grown >> offset) & ones).bit_count()

    def go_back(self, steps: Sequence[tuple[str, int, int]], into: set[str]) -> bool:
        """Go through the steps of one stretch; False when the way has ended."""
        offset, below, left = self._offset, self._below, self._left
        if not left:
            return False
        for word, mask, stops in steps:
            # The nearest column to the left at which the table matches (take it) or grows (go up a row).
            column = ((stops >> offset) & below).bit_length() - 1
            if column < 0:
                return False
            if (mask >> (offset + column)) & 1:
                into.add(word)
                left -= 1
                if not left:
                    return False
                below = (1 << column) - 1
            else:
                below = (1 << (column + 1)) - 1
        self._below, self._left = below, left
        return True
