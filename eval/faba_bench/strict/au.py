"""Action units, read carefully: many spellings, FACS names, structure first and then prose."""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from faba_bench.parsing import AUParse
from faba_bench.strict import facs
from faba_bench.strict.auprose import read_prose
from faba_bench.strict.final import final_answer
from faba_bench.strict.forms import structure_of
from faba_bench.strict.ledger import Ledger
from faba_bench.strict.mentions import Mention, find_mentions
from faba_bench.strict.nested import joined
from faba_bench.strict.normal import normal
from faba_bench.strict.refusal import without_refusals
from faba_bench.strict.structure import Structure
from faba_bench.strict.values import decide

_FLUFF = re.compile(
    r"(?i)\b(?:is|are|the|present|active|intensity|presence|activation|facial|action|unit|code|au|c|r|visible|detected|score|level|value|of|"
    r"left|right|upper|lower|face|facs)\b|[^\w]|_"
)
_BARE_NUMBER = re.compile(r"\s*(?:AU\s*)?0*(\d{1,2})\s*\Z", re.IGNORECASE)
_BARE_LIST = re.compile(r"\s*\d{1,2}(?:\s*(?:[,;+/&]|and)\s*\d{1,2})+\s*\.?\s*\Z")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MARKED = re.compile(r"[✓✔✅☑✗✘❌✕✖×☐⬜👍👎🟢🔴]|\[[ xX]?\]")
_NOTHING = re.compile(
    r"\s*(?:(?:(?:active|present|detected|visible|observed|identified)\s+)?(?:aus?|action\s+units?)\s*[:=]\s*)?(?:\[\s*\]|\{\s*\}|\(\s*\)|none|no|nothing|nil|n/?a|zero|0|no\s+aus?|无|なし|없음|-|/)\s*[.!]?\s*\Z",
    re.IGNORECASE,
)


_EITHER = re.compile(r"\s*(?:either\s+)?AU\s?\d{1,2}(?:\s+or\s+(?:AU\s?)?\d{1,2})+\s*[.?]?\s*\Z", re.IGNORECASE)
_PLUS_MINUS = re.compile(r"\s*[+-]\s?\S")
_PLUS_MINUS_MARK = re.compile(r"(?m)^\s*([+-])\s")
_NUMBER_VALUE = re.compile(
    r"\s*\d{1,2}\s*(?:[:=]|-+|–|—|->|→)\s*(?:yes|no|present|absent|active|inactive|true|false|[01](?=\s*(?:$|\n)))\b",
    re.IGNORECASE,
)
#: "1 = 0, 2 = 0, 4 = 1", and "Prediction: 6 12 25".
_SUFFIXED = re.compile(r"(?<![A-Za-z])(?P<unit>AU\s?\d{1,2}[LR]?)(?P<sign>[+-])(?=[\s,;]|\Z)", re.IGNORECASE)
_CODED = re.compile(r"\s*\d{1,2}\s*[:=]\s*[01](?:\s*[,;]\s*\d{1,2}\s*[:=]\s*[01]){1,40}\s*\.?\s*")
_PREDICTED = re.compile(
    r"\s*(?:prediction|predicted(?:\s+aus)?|answer|result|output|codes?|labels?)\s*[:=]\s*(?P<list>\d{1,2}(?:[,\s]+\d{1,2}){1,20})\s*",
    re.IGNORECASE,
)
#: Equal answers are read once: models repeat themselves.
_REMEMBERED = 2048


class AULabels:
    """Labels of the AU task, for the readers of structure."""

    def cell(self, text: str, bare: bool = False) -> tuple[Any, ...] | None:
        """AU numbers of a cell that holds nothing else; with `bare` also of a number or a list of numbers."""
        if len(text) > 120 or not text or _MARKED.search(text):
            return None
        if bare:
            match = _BARE_NUMBER.match(text)
            if match:
                return (int(match.group(1)),)
            if _BARE_LIST.match(text):
                return tuple(int(digits) for digits in re.findall(r"\d+", text))
        elif text.strip().isdigit():
            return None
        found = list(find_mentions(text))
        if not found and " " not in text:  # "inner_brow_raiser", "innerBrowRaiser"
            text = _HUMPS.sub(" ", text).replace("_", " ")
            found = list(find_mentions(text))
        if not found:
            return None
        rest = list(text)
        for item in found:
            rest[item.start : item.end] = " " * (item.end - item.start)
        left = _FLUFF.sub(" ", re.sub(r"_?[a-eA-E]?\s*$", "", "".join(rest)).replace("_", " ")).strip()
        if left and not re.fullmatch(r"\s*(?:and|or|[a-eA-E])?\s*", left):
            return None
        return tuple(number for item in found for number in item.numbers)

    def spans(self, text: str) -> Sequence[tuple[int, int, tuple[Any, ...]]]:
        """Places of AU numbers and names; a bare list of numbers is one place."""
        if _BARE_NUMBER.match(text) or _BARE_LIST.match(text):
            return [(0, len(text), tuple(int(digits) for digits in re.findall(r"\d+", text)))]
        return [(item.start, item.end, item.numbers) for item in find_mentions(text)]


_LABELS = AULabels()


def read_aus(text: str, vocabulary: Collection[int]) -> AUParse:
    """AU numbers that a text says are present.

    Understands "AU 4", "au4", "AU04", "AU1+2", "AU25/26", "AUs 6 and 12", "AU12R", "AU6B", FACS names, everyday
    descriptions where no unit is named, and a bare list of numbers as the whole answer.  Lists, tables, JSON and other
    "label: value" answers are read by their structure, the rest as prose.  A number outside the vocabulary is left out.
    A unit that the text denies in every place ("AU4 is not present", "Absent: AU4") is left out; one that it affirms
    anywhere is in.  `parsed` is False when the text says nothing about action units at all, refuses, or gives a structure
    that cannot be told; `ambiguous` then says why.
    """
    return _read(text, tuple(vocabulary))


@lru_cache(maxsize=_REMEMBERED)
def _read(text: str, vocabulary: tuple[int, ...]) -> AUParse:
    text = final_answer(normal(text))
    text, refused = without_refusals(text)
    text = _with_labels(text)
    ledger = Ledger()
    if _NOTHING.match(text):
        return AUParse((), True, "says that there are none")
    if not text.strip():
        return AUParse((), False, "refuses" if refused else "names no action unit")
    if _EITHER.match(text):
        return AUParse((), False, "one or the other", "one or the other")
    text = joined(text, _LABELS)
    structure = structure_of(text, _LABELS)
    if structure is not None:
        trouble = _enter(structure, ledger)
        if trouble:
            return AUParse((), False, trouble, trouble)
        for piece in structure.texts:
            read_prose(piece, ledger)
    else:
        read_prose(text, ledger)
    if ledger.unclear:
        reason = "unclear: " + ", ".join(f"AU{number}" for number in list(ledger.unclear)[:10])
        return AUParse((), False, reason, reason)
    value, parsed = ledger.result(structure is not None and structure.found)
    if not parsed:
        return AUParse((), False, "refuses" if refused else "names no action unit")
    known = set(vocabulary)
    kept = tuple(number for number in value if number in known)
    gone = tuple(number for number in ledger.denied if number not in value)
    return AUParse(kept, True, _evidence(kept, value, gone, known), denied=gone)


def _with_labels(text: str) -> str:
    """The text with "+ AU4" as "+AU4" where lines are marked so, and "4 - yes" as "AU4 - yes"."""
    if "+ " in text and "- " in text and all(_PLUS_MINUS.match(line) for line in text.split("\n") if line.strip()):
        return _PLUS_MINUS_MARK.sub(r"\1", text)
    if "+ " in text and "-" in text and not _SUFFIXED.sub("", text).strip(" \n,;."):
        return _SUFFIXED.sub(lambda match: f"{match['unit']}: {int(match['sign'] == '+')},", text)  # "AU4+ AU6-"
    lines = [line for line in text.split("\n") if line.strip()]
    if 1 < len(lines) <= 60 and all(_NUMBER_VALUE.match(line) for line in lines):
        numbers = [int(line.split()[0].rstrip(":-=").strip()) for line in lines]
        if all(number in facs.NAMES for number in numbers) and numbers != list(range(1, len(numbers) + 1)):
            return "\n".join(f"AU{line.strip()}" for line in lines)
    if _CODED.fullmatch(text):
        numbers = [int(digits) for digits in re.findall(r"(\d+)\s*[:=]", text)]
        if all(number in facs.NAMES for number in numbers) and numbers != list(range(1, len(numbers) + 1)):
            return re.sub(r"(?=\b\d+\s*[:=])", "AU", text)
    answer = _PREDICTED.fullmatch(text)
    if answer and all(int(digits) in facs.NAMES for digits in re.findall(r"\d+", answer["list"])):
        return answer["list"]
    return text


def mentions(text: str) -> list[Mention]:
    """Places where a text names action units, by number or name."""
    return find_mentions(normal(text))


def _enter(structure: Structure, ledger: Ledger) -> str:
    """Write a structure's entries into the ledger; returns why it cannot be told, or ""."""
    if structure.ambiguous:
        return structure.ambiguous
    coded = {number for entry in structure.entries if entry.source == "c" for number in entry.labels}
    entries = [
        entry for entry in structure.entries if not (entry.source == "r" and any(n in coded for n in entry.labels))
    ]
    plain = [entry for entry in entries if entry.source not in ("r", "c")]
    states = dict(zip(map(id, plain), decide([entry.value for entry in plain], structure.intensities), strict=True))
    said: dict[int, bool] = {}
    for entry in entries:
        state = states.get(id(entry), entry.value.state)
        if entry.value.unseen:
            continue
        for number in entry.labels:
            if state is None:
                return f"AU{number}: neither present nor absent"
            if said.setdefault(number, state) != state:
                return f"AU{number} is both present and absent"
    for number, state in said.items():
        ledger.structured(number, state)
    return ""


def _evidence(value: Sequence[int], affirmed: Collection[int], gone: Sequence[int], known: Collection[int]) -> str:
    parts = [", ".join(f"AU{number}" for number in value) or "none affirmed"]
    if gone:
        parts.append("denied: " + ", ".join(f"AU{number}" for number in gone[:20]))
    strange = [number for number in affirmed if number not in known]
    if strange:
        parts.append("not in the vocabulary: " + ", ".join(f"AU{number}" for number in strange[:20]))
    return "; ".join(parts)
