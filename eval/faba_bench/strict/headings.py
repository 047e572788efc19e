"""Headings inside a line: "Absent: ...", "AU4 (Brow Lowerer): ...", "Present - ..."."""

from __future__ import annotations

from collections.abc import Sequence

from faba_bench.strict import frames, words
from faba_bench.strict.tokens import Token
from faba_bench.strict.verbs import finite


def segments(sentence: Sequence[Token]) -> list[list[Token]]:
    """Parts of a sentence that may each have a heading: cut at semicolons, and before "absent:" behind a comma."""
    cut: list[list[Token]] = []
    current: list[Token] = []
    headed = any(token.kind == "p" and token.text == ":" for token in sentence)
    if not headed:
        return [list(sentence)]
    depth = 0
    for index, token in enumerate(sentence):
        if token.kind == "p":
            depth += (token.text in "([" and 1) or (token.text in ")]" and -1) or 0
        opens = token.text == ";" or (
            token.text in (",", "and", "|", "-", "/") and token.kind != "m" and _opens_heading(sentence, index + 1)
        )
        if opens and not depth:
            if current:
                cut.append(current)
            current = []
        else:
            current.append(token)
    if current:
        cut.append(current)
    return cut


def _opens_heading(sentence: Sequence[Token], index: int) -> bool:
    for token in sentence[index : index + 6]:
        if token.kind == "p" and token.text == ":":
            return True
        if token.kind not in ("absent", "present", "not", "g", "deny", "word") and token.text not in ("and",):
            return False
    return False


def heading_of(segment: Sequence[Token], line: str) -> tuple[list[Token], list[Token], str, int]:
    """What a segment begins with: an item ("AU4 (Brow Lowerer): ..."), a list's heading ("Absent: ..."), or neither."""
    colon = next((i for i, token in enumerate(segment) if token.kind == "p" and token.text == ":"), -1)
    if colon < 0:
        dash = next(
            (
                i
                for i, token in enumerate(segment)
                if token.kind == "p" and token.text in "-–—" and i and _free(line, token)
            ),
            -1,
        )
        if dash > 0:
            pre = segment[:dash]
            if _is_item_head(pre) and not _only_mentions(segment[dash + 1 :]):
                return [t for t in pre if t.kind == "m"], list(segment[dash + 1 :]), "item", 1
            if (
                not any(t.kind == "m" for t in pre)
                and len(pre) <= 5
                and any(t.kind in ("absent", "present", "not", "deny") for t in pre)
            ):
                return [], list(segment[dash + 1 :]), "list", heading_sign(pre)
        head = _bracketed_head(segment)
        if head:
            return head
        if (
            (
                not any(token.kind == "m" for token in segment)
                and len(segment) <= 7
                and not any(finite(segment, i) for i in range(len(segment)))
            )
            and any(token.kind in ("absent", "present", "not", "deny", "g") for token in segment)
            and _title(segment)
        ):
            return [], [], "list", heading_sign(segment)
        return [], [], "", 1
    pre, body = list(segment[:colon]), list(segment[colon + 1 :])
    if _is_item_head(pre):
        return [token for token in pre if token.kind == "m"], body, "item", 1
    if not any(token.kind == "m" and token.payload.how == "named" for token in pre) and len(pre) <= 14:
        if any(token.kind == "m" for token in pre):
            return [], [], "", 1
        return [], body, "list", heading_sign(pre)
    return [], [], "", 1


def _title(segment: Sequence[Token]) -> bool:
    """A line such as "Absent action units", as against "No smile"."""
    return all(
        token.kind in ("absent", "present", "not", "deny", "g", "p")
        or token.text in ("the", "following", "facial", "clearly", "of", "list")
        for token in segment
    ) and any(token.kind in ("absent", "present") for token in segment)


def _free(line: str, token: Token) -> bool:
    return line[token.start - 1 : token.start].isspace() and line[token.end : token.end + 1].isspace()


def _only_mentions(tokens: Sequence[Token]) -> bool:
    return all(token.kind == "m" or token.text in (",", "and", "+", "/", "&", "(", ")", ":") for token in tokens)


def _bracketed_head(segment: Sequence[Token]) -> tuple[list[Token], list[Token], str, int] | None:
    if len(segment) > 4 and segment[0].text in ("(", "[") and segment[1].kind == "m" and segment[2].text in (")", "]"):
        return [segment[1]], list(segment[3:]), "item", 1
    return None


def _is_item_head(pre: Sequence[Token]) -> bool:
    marks = [token for token in pre if token.kind == "m" and token.payload.how == "named"]
    if not marks or any(token.kind == "m" and token.payload.how != "named" for token in pre):
        return False
    depth = 0
    for token in pre:
        if token.text in ("(", "["):
            depth += 1
        elif token.text in (")", "]"):
            depth -= 1
        elif token.text in (">", "<", "=") or (
            not depth
            and token.kind not in ("m", "p", "number")
            and token.text not in ("and", "the", "action", "unit", "g")
        ):
            return False
    return True


def denies_itself(body: Sequence[Token]) -> bool:
    """ "The nose is calm: no AU9": behind its heading a list denies on its own."""
    return bool(body) and body[0].kind in ("deny", "not") and any(token.kind in ("m", "g") for token in body)


def heading_sign(tokens: Sequence[Token]) -> int:
    """-1 for a heading that denies what stands under it, else 1."""
    sign = 1
    negated = False
    for index, token in enumerate(tokens):
        if token.kind in ("absent", "dverb") or (token.kind == "rest" and frames.predicative(tokens, index)):
            sign = -sign
        elif token.kind in ("not", "deny") and not negated:
            negated = True
            sign = -sign
        elif token.text in ("plenty", "much", "lots") and tokens[index - 1].text in (",", "and", "but"):
            sign, negated = 1, False  # "No activity in the brows, plenty in the mouth:"
    if len(tokens) == 1 and tokens[0].text in words.NO:
        return -1
    return sign
