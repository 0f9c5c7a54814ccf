"""
The pillar checked against the table of keys: problems of single values, and defaults. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netboot_keys import KEYS, NAMES
from netboot_names import key, nearest
from netboot_patterns import not_written

Path = tuple[str, ...]

_ROWS = {tuple(row.path.split(".")): row for row in KEYS}
_NAME_CHECKS = {tuple(path.split(".")): check for path, check in NAMES.items()}
_CHILDREN: dict[Path, set[str]] = {}
for _path in _ROWS:
    for _depth, _part in enumerate(_path):
        _CHILDREN.setdefault(_path[:_depth], set()).add(_part)

# There may be thousands of hosts; a group's settings precede a host's defaults (netboot_hosts).
_NOT_COMPLETED = {("hosts",), ("groups",), ("dhcp", "leases")}


def problems(pillar: dict[str, Any]) -> list[str]:
    """
    Return the problems of single keys and values, one line each, starting with the key.

    pillar
        The pillar below the key ``netboot``.
    """
    return list(_walk(pillar, (), ()))


def _walk(value: Any, pattern: Path, path: tuple[Any, ...]) -> Iterator[str]:
    """Yield the problems of a value and of everything below it."""
    if pattern in _ROWS:
        wrong = _ROWS[pattern].check(value) or not_written(value)
        if wrong:
            yield f"{key(path)}: {wrong}"
        return
    known = _CHILDREN[pattern]
    if not isinstance(value, dict):
        words = "" if "*" in known else " of " + ", ".join(sorted(known))
        yield f"{key(path)}: must be a map{words}{_meant(value, pattern, path)}"
        return
    for name, below in value.items():
        if name in known and name != "*":
            yield from _walk(below, (*pattern, name), (*path, name))
        elif "*" in known:
            name_check = _NAME_CHECKS.get((*pattern, "*"))
            wrong = (name_check and name_check(name)) or not_written(name)
            if wrong:
                yield f"{key((*path, name))}: {wrong}"
            yield from _walk(below, (*pattern, "*"), (*path, name))
        else:
            hint = nearest(name, known) or ", known keys: {}".format(", ".join(sorted(known)))
            yield f"{key((*path, name))}: unknown key{hint}"
    for name in _missing(value, pattern):
        yield f"{key((*path, name))}: is missing"


def _meant(value: Any, pattern: Path, path: tuple[Any, ...]) -> str:
    """Return the only key of a map that takes a value, as a question for a message."""
    if not path or value is True or not isinstance(value, (str, int)):
        return ""
    rows = {name: _ROWS.get((*pattern, name)) for name in _CHILDREN[pattern] - {"*"}}
    if "password" in rows:
        return ""  # the value may be one, which no message repeats
    takes = [name for name, row in rows.items() if row and not row.check(value)]
    if len(takes) != 1 or not_written(value):
        return ""
    shown = "off" if value is False else value  # YAML reads a bare off as false
    return f", did you mean {path[-1]}: {{{takes[0]}: {shown}}}?"


def _missing(settings: dict[Any, Any], pattern: Path) -> Iterator[str]:
    for name in sorted(_CHILDREN[pattern]):
        row = _ROWS.get((*pattern, name))
        if row and row.required and settings.get(name) is None:
            if not (row.unless and settings.get(row.unless) is True):
                yield name


def wrong(path: str, value: Any) -> str | None:
    """
    Return what is wrong with the value of one key, or None.

    path
        Path of the key below ``netboot``, as in ``KEYS``.

    value
        The value.
    """
    return _ROWS[tuple(path.split("."))].check(value)


def default(path: str) -> Any:
    """
    Return the default of a key; a list is a new copy.

    path
        Path of the key below ``netboot``, as in ``KEYS``.
    """
    value = _ROWS[tuple(path.split("."))].default
    return list(value) if isinstance(value, tuple) else value


def defaults(path: str) -> dict[str, Any]:
    """
    Return the defaults of the keys in a map, by name; keys without a default are left out.

    path
        Path of the map below ``netboot``, as in ``KEYS``: ``hosts.*``.
    """
    names = (row.path.rpartition(".")[2] for row in KEYS if row.path.rpartition(".")[0] == path)
    found = {name: default(f"{path}.{name}") for name in names}
    return {name: value for name, value in found.items() if value is not None}


def completed(pillar: dict[str, Any]) -> dict[str, Any]:
    """
    Return a pillar with all its maps, and with defaults for the keys that it leaves out.

    Keys without a default stay absent. Hosts, groups and leases stay as they are, and so do values
    of the wrong type.

    pillar
        The pillar below the key ``netboot``.
    """
    done: dict[str, Any] = _completed(pillar, ())
    return done


def _completed(value: Any, pattern: Path) -> Any:
    known = _CHILDREN[pattern]
    if pattern in _NOT_COMPLETED:
        return {} if value is None else value
    if not isinstance(value, dict) and value is not None:
        return value
    if known == {"*"}:
        below = (*pattern, "*")
        return {
            name: one if below in _ROWS else _completed(one, below)
            for name, one in (value or {}).items()
        }
    done = dict(value or {})
    for name in known:
        path = (*pattern, name)
        if path not in _ROWS:
            done[name] = _completed(done.get(name), path)
        elif done.get(name) is None:
            done.pop(name, None)
            if _ROWS[path].default is not None:
                done[name] = default(".".join(path))
    return done
