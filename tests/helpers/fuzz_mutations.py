"""Damage to files: bytes, JSON values, and the tensors of a weights file. Each choice is drawn from one ``Random``."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

# What no reader of ours may take for something else: wrong kinds, extremes, and what other languages write.
STRANGE: list[Any] = [
    None, True, False, -1, 0, 10**6, 2**63, -(2**40), 1e308, -1e-300, "", "x", "\0", "../..", "/etc/passwd", "\ud800",
    "a" * 5000, [], {}, [[]], {"a": 1}, ["x", 1, None], {"__class__": "x"}, "nan", "${HOME}", "%s%n", "<script>", "1e9",
]  # fmt: skip
RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1" * 5000,
    "[" * 5000,
    '{"a":' * 3000,
    "\x00",
    "1.0e",
    "tru",
    '"\\ud800"',
    "{",
    "",
]


def damage_bytes(data: bytes, random: Random) -> bytes:
    """One of: cut off, emptied, bits flipped, a stretch zeroed, doubled or taken out, something put in."""
    kind = random.randrange(8)
    if not data or kind == 0:
        return data[: random.randrange(len(data) + 1)]
    if kind == 1:
        return b""
    at = random.randrange(len(data))
    until = min(len(data), at + random.choice((1, 8, 100)))
    if kind in (2, 3):
        changed = bytearray(data)
        for _ in range(random.choice((1, 3, 20))):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == 4:
        return data[:at] + b"\0" * (until - at) + data[until:]
    if kind == 5:
        return data[:until] + data[at:]
    if kind == 6:
        return data[:at] + data[until:]
    inserted = random.choice(
        (b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\x1b[2J", b"\xed\xa0\x80", b"{", b'"', b"\xe2\x80\xa8")
    )
    return data[:at] + inserted + data[at:]


def damage_json(value: Any, random: Random) -> tuple[str, str]:
    """The text of ``value`` with one place changed, and what was done."""
    places = list(_places(value))
    if not places or random.random() < 0.08:
        return random.choice(RAW), "all of it replaced"
    holder, key = random.choice(places)
    kind = random.randrange(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
        return _text(value), f"{key} taken out"
    if kind == 1:
        mark = "\x01here\x01"
        holder[key] = mark
        return _text(value).replace(json.dumps(mark), random.choice(RAW), 1), f"{key} made raw"
    if kind == 2 and isinstance(holder, dict):
        text = _text(value)
        return text[:-1].rstrip(
            "}\n "
        ) + f", {json.dumps(str(key))}: {_text(random.choice(STRANGE))}" + "}", f"{key} twice"
    if kind == 3 and isinstance(holder, dict):
        holder[random.choice(("auto_map", "unknown", "__proto__", "trust_remote_code", str(key) + " "))] = (
            random.choice(STRANGE)
        )
        return _text(value), "a key added"
    holder[key] = random.choice(STRANGE)
    return _text(value), f"{key} is {holder[key]!r:.40}"


def damage_json_file(path: Path, random: Random) -> str:
    value = json.loads(path.read_text())
    text, done = damage_json(value, random)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"{path.name}: {done}"


def damage_tensors(path: Path, random: Random) -> str:
    """One tensor of a .bin taken out, renamed, cut, transposed, emptied, with NaN, of another kind, or doubled."""
    import torch

    state: dict[str, Any] = torch.load(path, weights_only=True)
    name = random.choice(sorted(state))
    value = state[name]
    kind = random.randrange(9)
    if kind == 0:
        del state[name]
    elif kind == 1:
        state[name + random.choice(("_", ".x", "x"))] = state.pop(name)
    elif kind == 2:
        state[name] = value[:-1].clone()
    elif kind == 3:
        state[name] = value.flatten().clone() if value.ndim > 1 else value[None].clone()
    elif kind == 4:
        state[name] = torch.zeros(0)
    elif kind == 5:
        state[name] = value.clone()
        state[name].view(-1)[random.randrange(value.numel())] = random.choice(
            (float("nan"), float("inf"), float("-inf"))
        )
    elif kind == 6:
        state[name] = random.choice((None, "text", [1.0], {"a": torch.ones(1)}, 3))
    elif kind == 7:
        state["base_model.model.model.layers.9.extra.weight"] = value.clone()
    else:
        state.clear()
    torch.save(state, path)
    done = ("taken out", "renamed", "cut", "flattened", "emptied", "NaN", "no tensor", "extra", "all gone")
    return f"{path.name}: {name} {done[kind]}"


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:50]):
            yield value, index
            yield from _places(inner)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
