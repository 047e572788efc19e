"""Longest common subsequences of word lists, bit-parallel.

One Python integer holds one row of the usual table: bit ``j`` of a row is 0 exactly where the length
grows from column ``j`` to ``j + 1``.  A whole row then costs three operations on integers, and the rows
that are kept say everything that a trace back through the table needs (Hyyro, "Bit-parallel LCS-length
computation revisited", 2004, section 2; the trace back is ours).
"""

from __future__ import annotations

from collections.abc import Sequence

_BLOCK_BITS = 1024


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence of two word lists.

    Takes O(len(first) * len(second) / 64) time and O(len(second)) memory.
    """
    if not first or not second:
        return 0
    short = len(second) <= _BLOCK_BITS
    masks = _positions(second) if short else {}
    places = {} if short else _places(second)
    full = (1 << len(second)) - 1
    row = full
    for word in first:
        mask = masks.get(word)
        if mask is None and word in places:
            mask = _integer_of(places[word])
        if mask is not None:
            hit = row & mask
            row = ((row + hit) | (row - hit)) & full
    return len(second) - row.bit_count()


class SentenceBlock:
    """Several sentences side by side in one row, so that one pass over a reference serves them all.

    A guard bit between neighbours stays 0 in every mask, which keeps the carry of one sentence out of the
    next.  The size of a block is bounded so that cutting one sentence out of a row stays cheap.
    """

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        self._segments: list[tuple[int, int]] = []
        self._masks: dict[str, int] = {}
        # A long sentence is alone in its block. A mask for each of its words would take the square of its length.
        self._places: dict[str, list[int]] = {}
        if len(sentences) == 1 and len(sentences[0]) > _BLOCK_BITS:
            self._places = _places(sentences[0])
            self._full = (1 << len(sentences[0])) - 1
            self._segments.append((0, self._full))
            return
        self._full = 0
        offset = 0
        for words in sentences:
            for word, mask in _positions(words).items():
                self._masks[word] = self._masks.get(word, 0) | (mask << offset)
            ones = (1 << len(words)) - 1
            self._segments.append((offset, ones))
            self._full |= ones << offset
            offset += len(words) + 1

    def collect(self, reference: Sequence[str], into: set[str]) -> None:
        """Add the words of one LCS of ``reference`` with each sentence of the block to ``into``.

        Of several subsequences of the same length it takes the one that a trace back from the end finds
        when it prefers to go back in the sentence over going back in the reference.  Keeps one row for each
        word of the reference that the block has too.
        """
        steps: list[tuple[str, int, int]] = []
        made: dict[str, int] = {}
        row = full = self._full
        for word in reference:
            mask = self._masks.get(word)
            if mask is None and word in self._places:
                mask = made.setdefault(word, _integer_of(self._places[word]))
            if mask is None:
                continue  # no match in the row: it equals the one before, a trace back only passes through
            hit = row & mask
            row = ((row + hit) | (row - hit)) & full
            steps.append((word, mask, mask | (row ^ full)))
        if not steps:
            return
        steps.reverse()
        grown = row ^ full
        for offset, ones in self._segments:
            left = ((grown >> offset) & ones).bit_count()
            if left:
                _trace_back(steps, offset, ones, left, into)


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


def _positions(words: Sequence[str]) -> dict[str, int]:
    masks: dict[str, int] = {}
    bit = 1
    for word in words:
        masks[word] = masks.get(word, 0) | bit
        bit <<= 1
    return masks


def _places(words: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    return places


def _integer_of(bits: Sequence[int]) -> int:
    buffer = bytearray(bits[-1] // 8 + 1)
    for bit in bits:
        buffer[bit >> 3] |= 1 << (bit & 7)
    return int.from_bytes(buffer, "little")


def _trace_back(steps: Sequence[tuple[str, int, int]], offset: int, ones: int, left: int, into: set[str]) -> None:
    below = ones
    for word, mask, stops in steps:
        # The nearest column to the left at which the table matches (take it) or grows (go up a row).
        column = ((stops >> offset) & below).bit_length() - 1
        if column < 0:
            return
        if (mask >> (offset + column)) & 1:
            into.add(word)
            left -= 1
            if not left:
                return
            below = (1 << column) - 1
        else:
            below = (1 << (column + 1)) - 1
