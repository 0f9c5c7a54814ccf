"""
S-expressions, in which ALT's installer reads its answers: written, and read. Pure.

A Python list is a list, a string a string, a bool ``#t`` or ``#f``, an integer itself; ``Symbol``
and ``Pair`` are the rest of what installers are given.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_SYMBOL = r"[A-Za-z0-9!$%&*/:<=>?^_~+.@-]+"
_TOKEN = re.compile(rf'\s+|;[^\n]*|(\()|(\))|("(?:[^"\\]|\\["\\])*")|(#[tf])|({_SYMBOL})')


class Symbol(str):
    """A bare word."""


class Pair(NamedTuple):
    """A dotted pair, ``(first . rest)``; ``(a b . c)`` is ``Pair(a, Pair(b, c))``."""

    first: Any
    rest: Any


def written(value: Any) -> str:
    """
    Return a value as an S-expression in one line.

    value
        The value.
    """
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'
    if isinstance(value, Pair):
        before, rest = [value.first], value.rest
        while isinstance(rest, Pair):
            before.append(rest.first)
            rest = rest.rest
        return f"({' '.join(map(written, before))} . {written(rest)})"
    if isinstance(value, list):
        return f"({' '.join(map(written, value))})"
    return str(int(value))


def read(text: str) -> list[Any]:
    """
    Return the S-expressions of a text.

    text
        The text; comments begin with ``;``.

    Raises ``ValueError`` with what is wrong, and in which line.
    """
    open_lists: list[list[Any]] = [[]]
    opened: list[int] = []
    place = 0
    while place < len(text):
        line = text.count("\n", 0, place) + 1
        found = _TOKEN.match(text, place)
        if not found:
            raise ValueError(f"line {line}: {text[place]!r} cannot be read")
        place = found.end()
        start, end, string, truth, word = found.groups()
        if start:
            opened.append(line)
            open_lists.append([])
        elif end:
            if not opened:
                raise ValueError(f"line {line}: a ) closes nothing")
            opened.pop()
            done = open_lists.pop()
            open_lists[-1].append(_paired(done, line))
        elif string:
            open_lists[-1].append(re.sub(r"\\(.)", r"\1", string[1:-1]))
        elif truth:
            open_lists[-1].append(truth == "#t")
        elif word:
            number = re.fullmatch("-?[0-9]+", word)
            open_lists[-1].append(int(word) if number else Symbol(word))
    if opened:
        raise ValueError(f"line {opened[-1]}: a ( is not closed")
    return open_lists[0]


def _paired(items: list[Any], line: int) -> Any:
    """Return a list that was read, as a pair if it has a dot."""
    dots = [place for place, one in enumerate(items) if isinstance(one, Symbol) and one == "."]
    if not dots:
        return items
    if dots != [len(items) - 2] or len(items) < 3:
        raise ValueError(f"line {line}: a dot must stand before the last value of a list")
    found = items[-1]
    for one in reversed(items[:-2]):
        found = Pair(one, found)
    return found
