"""A strict reader of S-expressions, as in autoinstall.scm and vm-profile.scm.

Only what public examples hold is read: strings, ``#t`` and ``#f``, symbols, whole numbers, lists
and pairs with a dot, comments after ``;``. That strings may have ``\\"`` and ``\\\\`` is assumed.
"""

import re


class Refused(Exception):
    """What ALT's installer is not known to take; the message is one sentence."""


class Symbol(str):
    """A name without quotes."""

    __slots__ = ()


class Dotted(list):
    """``(a b . tail)``: a list that ends in something else than the empty list."""

    def __init__(self, items, tail):
        super().__init__(items)
        self.tail = tail


def same(one, other):
    """Whether two values are equal in type too: a symbol is no string, ``#t`` no number."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Dotted) and not same(one.tail, other.tail):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


_TOKEN = re.compile(
    r"""\s+ | ;[^\n]* | (?P<punctuation>[()]) | (?P<string>"(?:[^"\\]|\\["\\])*")"""
    r"""| (?P<other>[^\s()";]+)""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"-?\d+")
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9/_-]*")
DOT = object()


def read(text):
    """All expressions of a text, each as (line where it begins, value).

    Strings become str, lists list, symbols Symbol, ``#t`` and ``#f`` bool, numbers int.
    Raises Refused, with the line, when a parenthesis or a quote is missing or too many, and on
    everything that the public examples do not have.
    """
    expressions, open_lists = [], []
    for line, word, kind in _tokens(text):
        if word == "(" and kind == "punctuation":
            open_lists.append((line, []))
            continue
        if word == ")" and kind == "punctuation":
            if not open_lists:
                raise Refused(f"line {line}: ) without (")
            begun, items = open_lists.pop()
            value = _list(items, line)
        else:
            begun, value = line, _atom(word, kind, line)
        if open_lists:
            open_lists[-1][1].append(value)
        elif value is DOT:
            raise Refused(f"line {line}: a dot outside of a list")
        else:
            expressions.append((begun, value))
    if open_lists:
        raise Refused(f"line {open_lists[0][0]}: ( without )")
    return expressions


def _tokens(text):
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        match = _TOKEN.match(text, position)
        if not match:
            what = text[position : position + 20].split("\n")[0]
            raise Refused(f'line {line}: {what} is no string that ends, with \\" and \\\\ alone')
        if match.lastgroup:
            yield line, match[0], match.lastgroup
        position = match.end()


def _atom(word, kind, line):
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
    if word in ("#t", "#f"):
        return word == "#t"
    if word == ".":
        return DOT
    if _NUMBER.fullmatch(word):
        return int(word)
    if _SYMBOL.fullmatch(word):
        return Symbol(word)
    raise Refused(f"line {line}: {word} is no string, number, symbol, #t or #f")


def _list(items, line):
    if not any(item is DOT for item in items):
        return items
    if len(items) < 3 or items[-2] is not DOT or sum(item is DOT for item in items) > 1:
        raise Refused(f"line {line}: a dot must have one value after it, the last of its list")
    return Dotted(items[:-2], items[-1])
