"""The pillar file of hosts that ``./netboot hosts import`` and ``adopt`` write: a line a host."""

import json
import os
import re
import tempfile
from pathlib import Path

import yaml

from . import slips
from .asking import AskError

NAME = "netboot_hosts"
PATH = Path(f"pillar/{NAME}.sls")
_TOP = Path("pillar/top.sls")
_HEAD = """\
# Hosts, a line each: written by `./netboot hosts import` and `adopt`, and yours to edit. Groups and
# other keys stay in netboot.sls.
netboot:
  hosts:
"""
_LINE = re.compile(
    r"    (?P<quote>['\"]?)(?P<name>[^'\"{}#]+)(?P=quote): \{.*\}(?P<comment>\s*(#.*)?)$"
)


class HostsError(AskError):
    """Nothing was written; the text says why, a line for each mistake."""


def read():
    """The hosts of the file: settings by name."""
    if not PATH.exists():
        return {}
    if found := slips.slips(PATH):
        raise HostsError("\n".join(found))
    try:
        text = PATH.read_text(encoding="utf-8")
    except OSError as err:
        raise HostsError(f"{PATH} cannot be read: {err.strerror}.") from None
    if slips.has_jinja(text):
        raise HostsError(f"{PATH} has Jinja; put these hosts into another file.")
    data = yaml.safe_load(text) or {}
    netboot = data.get("netboot") or {} if isinstance(data, dict) else data
    hosts = netboot.get("hosts") or {} if isinstance(netboot, dict) else netboot
    if not isinstance(hosts, dict) or not all(isinstance(one, dict) for one in hosts.values()):
        raise HostsError(f"{PATH}: it must have a map of hosts, each with its settings.")
    return {str(name): one for name, one in hosts.items()}


def line(name, settings):
    """The line of a host; texts in quotes, as YAML takes some MAC addresses for numbers."""
    key = name if re.fullmatch("[A-Za-z]+[0-9]+", name) else json.dumps(name, ensure_ascii=False)
    values = (f"{one}: {json.dumps(value, ensure_ascii=False)}" for one, value in settings.items())
    # No Jinja, whatever the values are.
    flow = ", ".join(values).replace("{", "\\u007b")
    return f"    {key}: {{{flow}}}"


def write(hosts):
    """
    Put hosts into the file, each in the line that it has or below the others.

    hosts
        Settings by name.
    """
    before = PATH.read_text(encoding="utf-8") if PATH.exists() else ""
    lines = (before if before.strip() else _HEAD).splitlines()
    found = [(number, _LINE.match(one)) for number, one in enumerate(lines)]
    there = {match["name"]: (number, match["comment"]) for number, match in found if match}
    for name in set(read()) & set(hosts):
        if name not in there:
            wanted = line(name, hosts[name]).strip()
            raise HostsError(f"{PATH}: {name} must be in a line of its own, such as {wanted}")
    if lines and lines[-1].strip() == "hosts: {}":
        lines[-1] = "  hosts:"
    for name, settings in hosts.items():
        if name in there:
            number, comment = there[name]
            lines[number] = line(name, settings) + comment
        else:
            lines.append(line(name, settings))
    text = "\n".join(lines) + "\n"
    try:
        written = yaml.safe_load(text)["netboot"]["hosts"]
    except (yaml.YAMLError, KeyError, TypeError):
        written = {}
    if any(written.get(name) != settings for name, settings in hosts.items()):
        raise HostsError(f"{PATH} does not end with its hosts; move what follows them up.")
    _replace(PATH, text)


def _replace(path, text):
    """Write a file at once; it keeps its owner and mode."""
    known = path.stat() if path.exists() else path.parent.stat()
    mode = known.st_mode & 0o777 if path.exists() else known.st_mode & 0o666
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def name_in_top():
    """
    Name the file in the pillar's top file, after ``netboot``; returns what remains to be done by
    hand, or an empty string.
    """
    by_hand = f"Name it in {_TOP}: `- {NAME}` for the machines that serve these hosts."
    if not _TOP.exists():
        return by_hand
    text = _TOP.read_text(encoding="utf-8")
    if re.search(rf"^\s*- {NAME}\s*(#.*)?$", text, re.MULTILINE):
        return ""
    found = re.findall(r"^(\s*)- netboot\s*$", text, re.MULTILINE)
    if len(found) != 1:
        return by_hand
    _replace(_TOP, re.sub(r"(?m)^(\s*)- netboot[ \t]*$", rf"\g<0>\n\1- {NAME}", text))
    return ""
