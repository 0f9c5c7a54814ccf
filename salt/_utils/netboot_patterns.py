"""
What the checks of pillar values are made of: the words for what a pattern refuses, and the JSON
Schema (draft 2020-12) of a check. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Callable, Optional

Wrong = Optional[str]
Check = Callable[[Any], Wrong]

# YAML refuses the other characters (yaml.org/spec/1.2.2, c-printable), and so does Salt, which
# writes YAML; U+007F to U+009F are control characters too.
_UNWRITTEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
#: The same for JSON Schema: its patterns may be matched by UTF-16 units.
WRITTEN = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufffe\uffff]*$"


def like(**schema: Any) -> Callable[[Check], Check]:
    """
    Attach to a check the part of its rule that JSON Schema can express.

    schema
        The JSON Schema.
    """

    def give(check: Check) -> Check:
        check.schema = schema  # type: ignore[attr-defined]
        return check

    return give


def list_of(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """
    Return the JSON Schema of a list.

    schema
        That of its items.

    more
        Other words, such as ``minItems``.
    """
    return {"type": "array", "items": schema, **more}


def shown(characters: Iterable[str], most: int = 3) -> str:
    """
    Return characters as a message shows them, each once.

    characters
        The characters.

    most : 3
        How many are shown.
    """
    different = list(dict.fromkeys(characters))
    names = [
        repr(char) if char.isprintable() or char in "\t\n" else f"U+{ord(char):04X}"
        for char in different[:most]
    ]
    return ", ".join(names) + (", ..." if len(different) > most else "")


def others(value: str, allowed: str) -> str:
    """
    Return the characters of a value that are not allowed, as a message shows them; or "".

    value
        The value.

    allowed
        The inside of a character class of a regular expression.
    """
    return shown(re.findall(f"[^{allowed}]", value, re.DOTALL))


def refused(value: Any, rule: str, allowed: str = "") -> str:
    """
    Return what is wrong with a value: the rule, and what breaks it.

    value
        The value.

    rule
        The rule for users, such as ``must be a path``.

    allowed
        The characters of a string that its pattern allows, see ``others``; empty: all.
    """
    odd = others(value, allowed) if isinstance(value, str) and allowed else ""
    found = odd or _kind(value)
    # They look like Latin ones.
    cyrillic = " (Cyrillic)" if re.search("[\u0400-\u04ff]", found) else ""
    return f"{rule}, not {found}{cyrillic}"


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return (
            repr(value if len(value) < 61 else f"{value[:57]}...") if value else "an empty string"
        )
    kinds = {dict: "a map", list: "a list", type(None): "empty"}
    return kinds.get(type(value)) or repr(value)[:60]


def not_written(value: Any) -> Wrong:
    """
    Return which character of a value Salt cannot write, or None.

    value
        Any value of the pillar.
    """
    if isinstance(value, str):
        odd = shown(_UNWRITTEN.findall(value))
        return f"contains characters that Salt cannot write: {odd}" if odd else None
    below = [*value, *value.values()] if isinstance(value, dict) else value
    if isinstance(below, (list, tuple)):
        return next(filter(None, map(not_written, below)), None)
    return None


def each(
    values: Iterable[Any], check: Check, name: Callable[[Any], Any] = lambda one: one
) -> Wrong:
    """
    Return what is wrong with the first wrong item of a list, or None.

    values
        The list.

    check
        The check of an item.

    name
        What the message shows of it.
    """
    return next((f"{name(one)!r} {wrong}" for one in values if (wrong := check(one))), None)


def duplicate(values: list[Any]) -> Wrong:
    """
    Return which item a list contains twice, or None.

    values
        The list.
    """
    for number, one in enumerate(values):
        if one in values[:number]:
            return f"contains a duplicate, {one!r}"
    return None
