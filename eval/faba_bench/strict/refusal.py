"""Sentences that refuse the task: what they name is neither claimed nor denied."""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re

from faba_bench.strict.folded import folded

_CANNOT = (
    r"(?:can\s?not|can't|cant|cannot|could\s?n't|could not|am\s+(?:not\s+able|unable)|'m\s+(?:not\s+able|unable)|not\s+able|unable|"
    r"won't|will\s+not|do\s+not|don't|must\s+decline|decline|refuse|not\s+(?:allowed|permitted|comfortable|capable|going)|"
    r"(?:are|is)\s+(?:not\s+able|unable)|not\s+possible(?:\s+for\s+me)?|impossible(?:\s+for\s+me)?|not\s+appropriate(?:\s+for\s+me)?)"
)
_TASK = (
    r"(?:help|assist|compl(?:y|ete)|fulfil+|provide|process|analy[sz]e|perform|engage|support|view|access|open|interpret|answer|"
    r"identify|identifying|recogni[sz]e|determine|determining|tell|say|infer|assess|assessing|judge|classify|evaluate|decide|conclude|know|"
    r"detect|describe|speculate|make|guess|comment|discern|see\s+(?:the\s+|any\s+)?(?:image|picture|photo)|read|give|have\s+the\s+ability|do\s+(?:that|this))"
)
_ABOUT = (
    r"(?:emotions?|feelings?|expressions?|people|person|individuals?|who|faces?|facial|whether|if|images?|pictures?|photos?|requests?|"
    r"that|this|it|you|identit|humans?|how\s+(?:he|she|they|someone)|what\s+(?:he|she|they|someone|emotion))"
)
_SPEAKER = r"(?:\bI\b|\bI'm\b|\bwe\b|\bsorry\b|apolog|\bAI\b|language\s+model|assistant|\bit\s+is\b|\bit's\b|unfortunately|regret|\bunable\b|\bcannot\b|\bcan't\b)"
_REFUSAL = re.compile(
    rf"{_SPEAKER}[^.!?\n]{{0,160}}?{_CANNOT}\s+(?:(?:to|really|directly|currently|be\s+able\s+to|accurately|reliably|definitively|confidently|"
    rf"for\s+me\s+to|at\s+this\s+time|in|on|with|able\s+to|comfortable)\s+){{0,4}}{_TASK}\b(?P<rest>[^.!?\n]*)|"
    rf"^\s*{_CANNOT}\s+(?:to\s+)?(?:determine|tell|identify|say|assess)\b(?P<rest2>[^.!?\n]*)",
    re.IGNORECASE,
)
_ABOUT_TASK = re.compile(rf"\b{_ABOUT}", re.IGNORECASE)
_ALWAYS = re.compile(r"\b(?:help|assist|comply|fulfil+|provide|process|engage|analy[sz]e|answer)\b", re.IGNORECASE)
_POLICY = re.compile(
    r"\b(?:against\s+(?:my|our|the)\s+(?:policy|policies|guidelines)|as\s+an\s+AI\b[^.!?\n]{0,160}\b(?:not|n't|unable)|"
    r"i'?\s?m\s+sorry\s*[,.;:—–-]?\s*(?:but\b)?[^.!?\n]{0,160}\b(?:no|not|n't|unable|against)\b|my\s+(?:guidelines|policy)|"
    r"content\s+polic|not\s+something\s+i\s+can)",
    re.IGNORECASE,
)
_LONGEST = 600
_SENTENCE = re.compile(r"(?:[^.!?\n]|[.!?](?!\s|$))*(?:[.!?]+(?=\s|$)|\n|$)")
#: No refusal without one of these.
_HINTS = (
    "sorry", "apolog", "unable", "cannot", "can not", "can\nnot", "cant", "can't", "couldn't", "could not", "not able", "declin", " ai", "n ai", "ai\n",
    "impossible", "not possible", "guidelines", "polic", "won't", "don't", "do not", "not comfortable", "will not", "not something",
)  # fmt: skip
_EVIDENTIAL = re.compile(
    r"\b(?:see|observe|detect|find|spot|notice|make\s+out)\b\s+(?!the\s+(?:image|picture|photo)|any\s+(?:image|picture|photo))",
    re.IGNORECASE,
)


def without_refusals(text: str) -> tuple[str, bool]:
    """The text without its refusing sentences, and whether there were any.

    "I can't see AU4" is an observation and stays; "I can't help with identifying emotions such as anger" goes.
    """
    low = folded(text)
    if not any(hint in low for hint in _HINTS):
        return text, False
    kept: list[str] = []
    refused = False
    for match in _SENTENCE.finditer(text):
        sentence = match.group()
        if not sentence:
            continue
        if refuses(sentence):
            refused = True
            # "I can't tell who this is, but AU12 is active": what follows the "but" is an answer.
            behind = re.search(
                r"[,;]\s*(?:but|however|though)\b(?!\s+I\s+(?:can|am|'m))(?P<rest>.*)",
                sentence,
                re.IGNORECASE | re.DOTALL,
            )
            if (
                behind
                and not refuses(behind["rest"])
                and not re.match(r"(?is)\s*(?:I'?\s?m\s+)?sorry\b", behind["rest"])
            ):
                kept.append(behind["rest"])
            else:
                kept.append("\n" if sentence.endswith("\n") else " ")
        else:
            kept.append(sentence)
    return "".join(kept), refused


def refuses(sentence: str) -> bool:
    """Whether a sentence refuses the task."""
    sentence = sentence[:_LONGEST]
    match = _REFUSAL.search(sentence)
    if match:
        rest = match["rest"] or match["rest2"] or ""
        if (
            _ALWAYS.search(match.group()[: len(match.group()) - len(rest)])
            or _ABOUT_TASK.search(rest)
            or not rest.strip()
        ):
            return not _EVIDENTIAL.search(match.group()[: len(match.group()) - len(rest)])
    found = _POLICY.search(sentence)
    return found is not None and not _EVIDENTIAL.search(sentence)
