"""Sizes, times and tables for people."""

import datetime
import re
import shutil
import sys
import textwrap

GAP = "  "


def table(head, rows):
    """Lines with columns; on a terminal they are cut to its width. Head: titles of the columns."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    width = _width()
    cut = sys.stdout.isatty()  # programs that read a pipe want all of it
    lines = []
    for row in (head, *rows):
        line = GAP.join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip()
        lines.append(f"{line[: width - 3]}..." if cut and len(line) > width else line)
    return lines


def wrapped(lines):
    """Sentences; on a terminal they continue on the next line, indented."""
    if not sys.stdout.isatty():
        return lines
    return [
        part for line in lines for part in textwrap.wrap(line, _width(), subsequent_indent="    ")
    ]


def _width():
    return max(shutil.get_terminal_size((120, 24)).columns, 60)


def named(pairs):
    """Lines with a name before each text; later lines of a text stand below its first."""
    width = max(len(name) for name, _text in pairs)
    return [
        f"{name if number == 0 else '':{width}}{GAP}{line}"
        for name, text in pairs
        for number, line in enumerate(text.split("\n"))
    ]


def size(number):
    """Bytes, as disks are sold: 4.7 GB, 350 MB."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if number >= 10**power:
            value = number / 10**power
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{number} bytes"


def when(iso8601):
    """A time in UTC as one of this machine's clock: 2026-11-26 14:30; "" if there is none."""
    if not iso8601:
        return ""
    there = datetime.datetime.strptime(iso8601, "%Y-%m-%dT%H:%M:%SZ")
    local = there.replace(tzinfo=datetime.timezone.utc).astimezone()
    return f"{local:%Y-%m-%d %H:%M}"


def lasting(seconds):
    """Seconds as 40 s, 5 min, 2 h 10 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def ours(text):
    """What servers say, with the commands of ./netboot for those of Salt."""
    text = re.sub(r"state\.apply netboot(?![.\w])", "./netboot apply", text)
    text = re.sub(r"\bhost=(?=['\w])", "", re.sub(r"\bgroup=(?=\w)", "--group ", text))
    return text.replace("state.apply netboot.", "./netboot apply netboot.")


def several(number, word):
    """1 image, 2 images."""
    return f"{number} {word}{'' if number == 1 else 's'}"
