"""An argparse parser whose old spellings work for one release, each with a warning that names the new one.

Abbreviations are off: ``--im`` would mean another flag as soon as a second one starts with the same letters.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from faba_bench.console.output import warn

REMOVED_IN = "0.3.0"
"""The release in which today's old spellings stop working."""

Rewrite = Callable[[list[str]], list[str]]


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` for commands that keep old spellings; sub-parsers are of this class as well.

    `old`: what worked before and what is written now, for the documentation, as pairs.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        parents = options.get("parents", ())
        super().__init__(*args, **{"allow_abbrev": False, **options})
        self.old: list[tuple[str, str]] = []
        self._rewrites: list[Rewrite] = []
        for parent in parents:
            self.old += getattr(parent, "old", [])
            self._rewrites += getattr(parent, "_rewrites", [])
            for name, action in parent._option_string_actions.items():
                self._option_string_actions.setdefault(name, action)

    def option(self, *names: str, old: Sequence[str] = (), within: Any = None, **options: Any) -> argparse.Action:
        """`add_argument` for an option that was called `old` before. `within`: the group that it belongs to."""
        container = within or self
        kind = self._registry_get("action", options.get("action"), options.get("action"))
        action: argparse.Action = container.add_argument(*names, **{**options, "action": _warning(kind)})
        for name in old:
            # Known to the parser, shown neither in the help nor in its errors.
            self._option_string_actions[name] = action
            self.old.append((name, names[0]))
        return action

    def formerly(self, old: str, new: str) -> None:
        """The positional argument `new` was the option `old` before, of one value."""
        self.old.append((old, new))
        self._rewrites.append(lambda words: _to_front(words, old, new))

    def rewrite(self, change: Rewrite) -> None:
        """Let `change` see, and replace, this command's words before they are parsed."""
        self._rewrites.append(change)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._rewrites:
            import sys

            words = list(sys.argv[1:] if args is None else args)
            for change in self._rewrites:
                words = change(words)
            args = words
        return super().parse_known_args(args, namespace)


def warn_old(old: str, new: str) -> None:
    """Say on standard error that `old` was understood as `new`."""
    warn(f"{old} is the old spelling of {new}; it works until {REMOVED_IN}.")


def split_option(word: str) -> tuple[str, str | None]:
    """``--name=value`` in two, ``--name`` with None."""
    name, equals, value = word.partition("=")
    return name, value if equals else None


def _warning(kind: type[argparse.Action]) -> type[argparse.Action]:
    class Warning_(kind):  # type: ignore[valid-type,misc]
        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            if option_string is not None and option_string not in self.option_strings:
                warn_old(option_string, self.option_strings[0])
            super().__call__(parser, namespace, values, option_string)

    return Warning_


def _to_front(words: list[str], old: str, new: str) -> list[str]:
    moved: list[str] = []
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        name, value = split_option(word)
        if word == "--":
            left += [word, *rest]
        elif name != old:
            left.append(word)
        elif value is not None or (value := next(rest, None)) is not None:
            warn_old(old, new)
            moved.append(value)
    return [*moved, *left]
