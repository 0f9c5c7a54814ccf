"""
Hosts by the dozen: a CSV file into the pillar, a machine that asked becomes a host.

What is to be written is shown and checked first, by the same rules as an apply.
"""

import csv
import difflib
import io
import json
import re
import sys
from pathlib import Path

import yaml

from . import host_file
from .asking import AskError
from .host_file import HostsError
from .words import several, table

_STATES = Path(__file__).parents[1] / "salt"
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_FLAGS = ("once", "menu")
_NUMBERS = ("timeout_s",)
_COLUMNS = ("name", "mac", "uuid", "serial", "hostname", "group", "image", "install", "variant")
_COLUMNS += ("entry", *_FLAGS, *_NUMBERS, "kernel_over", "nic", "arguments")


def from_csv(path):
    """
    Return settings by host of a CSV file; a setting that is None is to be removed.

    path
        The file: its first line names the columns, by keys of the pillar; , ; or tabs between.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HostsError(f"{path}: there is no such file.") from None
    except (OSError, UnicodeDecodeError) as err:
        raise HostsError(f"{path} cannot be read ({err}); save it as CSV in UTF-8.") from None
    lines = (line for line in text.splitlines() if line.strip(" ,;\t") and line[0] != "#")
    first = next(lines, "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    head, mistakes, hosts = None, [], {}
    for row in _rows(path, reader):
        cells = [" ".join(cell.split()) for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        at = f"{path} line {reader.line_num}"
        if head is None:
            head = _head(at, cells)
            continue
        if len(cells) > len(head) and any(cells[len(head) :]):
            mistakes.append(f"{at}: has {len(cells)} columns, the first line {len(head)}")
            continue
        settings = dict(zip(head, cells))
        name = settings.pop("name", "")
        if not name:
            mistakes.append(f"{at}: has no name")
        elif name in hosts:
            mistakes.append(f"{at}: {name} is there twice")
        hosts[name] = {key: _value(at, key, cell, mistakes) for key, cell in settings.items()}
    if head is None:
        mistakes.append(f"{path}: is empty; its first line names the columns: name,mac,group")
    if mistakes:
        raise HostsError("\n".join(mistakes))
    return hosts


def _rows(path, reader):
    try:
        yield from reader
    except csv.Error as err:
        raise HostsError(f"{path} line {reader.line_num}: {err}") from None


def _head(at, cells):
    head = [cell.lower() for cell in cells]
    while head and not head[-1]:
        head.pop()
    twice = [cell for cell in head if cell and head.count(cell) > 1]
    if twice:
        raise HostsError(f"{at}: the column {twice[0]} is there twice")
    wrong = [cell for cell in head if cell not in _COLUMNS]
    if wrong or "name" not in head:
        near = difflib.get_close_matches(wrong[0], _COLUMNS, 1) if wrong else []
        hint = f", did you mean {near[0]}?" if near else f"; columns are {', '.join(_COLUMNS)}"
        what = f"{wrong[0]!r} is not a column{hint}" if wrong else "no column is named name"
        raise HostsError(f"{at}: {what}")
    return head


def _value(at, key, cell, mistakes):
    if not cell:
        return None
    if key in _FLAGS:
        if cell.lower() not in _YES + _NO:
            mistakes.append(f"{at}: {key} is true or false, not {cell!r}")
        return cell.lower() in _YES
    if key in _NUMBERS:
        if not re.fullmatch("[0-9]{1,9}", cell):
            mistakes.append(f"{at}: {key} is a number, not {cell!r}")
            return None
        return int(cell)
    if key == "mac" and " " in cell:
        return cell.split()
    return cell


def plan(asker, hosts):
    """
    Return the hosts to write, by name, and lines that show them.

    asker
        Asks the server whose pillar it is.

    hosts
        Settings by name, see ``from_csv``.

    Raises HostsError for whatever an apply would refuse.
    """
    mine = host_file.read()
    pillar = _pillar(asker)
    elsewhere = {name: one for name, one in (pillar.get("hosts") or {}).items() if name not in mine}
    if taken := [name for name in hosts if name in elsewhere]:
        raise HostsError(
            "\n".join(
                f"{name} is in another file of the pillar; change it there." for name in taken
            )
        )
    made = {name: _merged(mine.get(name, {}), settings) for name, settings in hosts.items()}
    problems = _problems(asker, pillar, {**elsewhere, **mine, **made})
    if problems:
        raise HostsError("\n".join(problems))
    changed = {name: one for name, one in made.items() if mine.get(name) != one}
    words = {name: "changed" if name in mine else "new" for name in changed}
    rows = [
        (name, _is(one), one.get("group", ""), _rest(one), words[name])
        for name, one in changed.items()
    ]
    lines = table(("HOST", "IS", "GROUP", "SETTINGS", ""), rows) if rows else []
    same, others = len(made) - len(changed), len(set(mine) - set(made))
    counts = [f"{list(words.values()).count(word)} {word}" for word in ("new", "changed")]
    counts = [count for count in counts if not count.startswith("0 ")]
    counts += [f"{same} as before"] if same else []
    counts += [f"{several(others, 'other host')} stay as they are"] if others else []
    return changed, [*lines, "", f"{', '.join(counts)}: {host_file.PATH}"]


def _pillar(asker):
    try:
        answers = asker.ask("pillar.get", "netboot", unmask=True)
    except AskError:
        answers = asker.ask("pillar.get", "netboot")  # Salt before 3008 masks nothing
    return next(iter(answers.values())) or {}


def _merged(before, settings):
    return {key: value for key, value in {**before, **settings}.items() if value is not None}


def _is(settings):
    kinds = ("mac", "uuid", "serial", "hostname")
    given = [settings[kind] for kind in kinds if kind in settings]
    return ", ".join(" ".join(one) if isinstance(one, list) else str(one) for one in given)


def _rest(settings):
    shown = {"mac", "uuid", "serial", "hostname", "group"}
    return ", ".join(
        f"{key}: {json.dumps(value, ensure_ascii=False) if isinstance(value, bool) else value}"
        for key, value in settings.items()
        if key not in shown
    )


def _problems(asker, pillar, hosts):
    """What an apply with these hosts would refuse, but not what it refuses without them."""
    # The libraries of the states, as the pillar of hundreds of hosts is no argument of a command.
    sys.path.insert(0, str(_STATES / "_utils"))
    import netboot_pillar  # noqa: PLC0415

    target = next(iter(asker.ask("netboot.target").values()))
    platforms = yaml.safe_load((_STATES / "netboot/platforms.yaml").read_text(encoding="utf-8"))
    before = netboot_pillar.resolve(pillar, target, platforms)["problems"]
    after = netboot_pillar.resolve({**pillar, "hosts": hosts}, target, platforms)["problems"]
    return [problem for problem in after if problem not in before]


def write(hosts):
    """Write the hosts; returns what is next."""
    if not hosts:
        return ["Nothing to write."]
    Path("pillar").mkdir(exist_ok=True)
    host_file.write(hosts)
    hand = host_file.name_in_top()
    again = "./netboot apply (or ./netboot ssh TARGET)"
    return [f"{several(len(hosts), 'host')} written. {hand or f'Next: {again}'}"]


def lines(hosts):
    """The lines to add where the pillar is not in this checkout."""
    return ["netboot:", "  hosts:", *(host_file.line(name, one) for name, one in hosts.items())]
