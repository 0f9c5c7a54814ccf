"""
A netboot server as it is now: what the last apply put on record, joined with what clients do, what
is being fetched and which services run. Without Salt: ``netboot-status`` runs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import netboot_boots
import netboot_installing
import netboot_journal
import netboot_seen
import netboot_sockets
from netboot_journal import Journal
from netboot_names import in_order, iso8601, shown
from netboot_seen import Boot
from netboot_verdicts import LOOKED_AT, Context, Verdict, verdict

#: The version of the shape of ``status.json``, which docs/status.schema.json describes.
SCHEMA = 1
#: Clients are shown that were seen in these seconds, the newest so many.
SEEN_S = 7 * 86400
MOST_CLIENTS = 200
# The end of a client's file has its last boots: those of its last day, and one that may have begun
# before. That of the log has what all clients did last.
_DAY_S = 30 * 3600
_TAIL_BYTES = 1 << 20
# Of all clients together.
_ALL_BYTES = 48 << 20
_LOG_BYTES = 32 << 20
_LATE_S = 86400
# Paths that are open to whoever knows them.
_TOKEN = re.compile(r"/(once|host)/[^\s/\"',;]+")


class Seen(NamedTuple):
    """A boot, the name of its host in the pillar, and what it came to."""

    boot: Boot
    host: str
    how: Verdict


class Live(NamedTuple):
    """
    ``status`` is what ``status.json`` contains; ``boots``: the oldest first; ``asked``: what
    firmware asked for in the last 24 hours.
    """

    status: dict[str, Any]
    boots: list[Seen]
    snapshot: dict[str, Any]
    asked: Journal


def look(records: str, now: float | None = None) -> Live:
    """
    Return how this machine is now.

    records
        The directory of the records.

    now : None
        Seconds since 1970. Default: the time now.

    Raises OSError or ValueError when nothing was applied to this machine yet.
    """
    now = time.time() if now is None else now
    snapshot = _read(f"{records}/applied/snapshot.json")
    if not isinstance(snapshot, dict):
        raise ValueError(f"{records}/applied/snapshot.json is not a map")
    with contextlib.suppress(OSError):
        snapshot["at"] = int(os.stat(snapshot["applied"]).st_mtime)
    hosts = _tried(f"{records}/applied/hosts.json")
    once = _once(records, now)
    command = [*netboot_journal.COMMAND[:-1], "-24hours"]
    asked = netboot_journal.put_together(said_by(*command).splitlines())
    context = _context(snapshot, once, len(hosts), now)
    boots = _boots(snapshot, netboot_boots.names(hosts), context, asked)
    fetches = _fetches(snapshot["staging"], now)
    status = {
        "schema": SCHEMA,
        "made": iso8601(now),
        "server": socket.gethostname(),
        "serves": snapshot["serves"],
        "url": snapshot["url"],
        "dhcp": snapshot["dhcp"],
        "version": snapshot["version"],
        "applied": {
            "at": iso8601(snapshot["at"]),
            "changed": _written(snapshot["changed_at"]),
            "failed": sorted(snapshot["failed"]),
            "late": _is_late(snapshot, now),
        },
        "out_of_service": _written(snapshot["out_of_service"]),
        "services": _services(snapshot["services"]),
        "findings": {"at": iso8601(snapshot["at"]), "list": snapshot["findings"]},
        "images": [_image(image, fetches) for image in snapshot["images"]],
        "entries": [
            {key: entry[key] for key in ("id", "image", "arch", "variant", "method")}
            for entry in snapshot["entries"]
        ],
        "menus": snapshot["menus"],
        "hosts": {
            "named": len(hosts),
            "new": sum(not one["armed"] for one in once.values()),
            "armed": sum(_is_armed(one) for one in once.values()),
            "booted": sum(bool(one["booted"]) for one in once.values()),
        },
        "armed": [
            {key: one[key] for key in ("host", "entry", "armed")}
            for one in sorted(once.values(), key=lambda one: in_order(one["host"]))
            if _is_armed(one)
        ],
        "installs": [
            {key: one[key] for key in ("host", "entry", "state", "step", "since")}
            for one in sorted(once.values(), key=lambda one: in_order(one["host"]))
            if one["state"] and one["state"] != "armed"
        ],
        "clients": _clients(boots, context),
        "disk": _disk(snapshot["root"]),
    }
    return Live(cleaned(status), boots, snapshot, asked)


def cleaned(value: Any) -> Any:
    """
    Return a value whose texts can be shown to anybody: printable, without secret paths, users and
    passwords in URLs.

    value
        A text, or maps and lists of them.
    """
    if isinstance(value, str):
        text = "".join(one if one.isprintable() else "\ufffd" for one in value)
        return _TOKEN.sub(r"/\1/...", shown(text) if "//" in text else text)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(one) for key, one in value.items()}
    return [cleaned(one) for one in value] if isinstance(value, list) else value


def _read(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _tried(path: str) -> dict[str, Any]:
    """Return a map of a file; an empty one if there is none, or it is damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = _read(path)
        if isinstance(value, dict):
            return value
    return {}


def _written(at: float | None) -> str | None:
    return None if at is None else iso8601(at)


def _is_late(snapshot: dict[str, Any], now: float) -> bool:
    """Return whether a schedule should have applied the states since, a day ago or longer."""
    every = snapshot["every_s"]
    return bool(every) and now - snapshot["at"] > every + _LATE_S


# -- clients --------------------------------------------------------------------------------------


def _context(snapshot: dict[str, Any], once: dict[str, Any], hosts: int, now: float) -> Context:
    return Context(
        {entry["id"]: entry for entry in snapshot["entries"]},
        once,
        now,
        connected=netboot_sockets.connected(snapshot["port"]),
        hosts=hosts,
        changed=_changed(snapshot["files"]),
        service=snapshot["service"],
        port=snapshot["port"],
        url=snapshot["url"],
        outage=netboot_boots.outage(
            said_by("systemctl", "show", snapshot["service"], netboot_boots.PROPERTIES), now
        ),
        lease_s=snapshot["lease_s"],
    )


def _changed(files: dict[str, list[Any]]) -> dict[str, float]:
    """Return the paths in URLs of files that are not what was verified, see netboot_images."""
    found = {}
    for path, (url, identity) in files.items():
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(path)
            size, mtime_ns, _ctime_ns, inode = identity
            # As netboot_files.is_written: not when its rights alone changed.
            if [there.st_size, there.st_mtime_ns, there.st_ino] != [size, mtime_ns, inode]:
                found[url] = there.st_ctime
    return found


def _boots(
    snapshot: dict[str, Any], names: dict[str, str], context: Context, asked: Journal
) -> list[Seen]:
    lines = _lines(_files(snapshot["clients"], snapshot["log"], context.now))
    made = netboot_seen.put_together(lines, ["127.0.0.1", *snapshot["own"]])
    made.sort(key=lambda boot: boot.started)
    by_mac = netboot_boots.by_mac(made, asked, netboot_boots.addresses())
    found = []
    for boots in [*by_mac.values(), *([boot] for boot in made if not boot.mac)]:
        for number, boot in enumerate(boots):
            if boot.last > context.now - SEEN_S:
                host = netboot_boots.name(boot, names)
                before = boots[max(0, number - LOOKED_AT) : number]
                found.append(Seen(boot, host, verdict(boot, context, host, before)))
    return sorted(found, key=lambda one: one.boot.started)


def _files(store: str, log: str, now: float) -> Iterator[tuple[str, int, int]]:
    """
    Yield the files, with how many bytes of each are read at most, and since when, in the order in
    which lines move, so that none is missed on its way.
    """
    yield from ((log, _LOG_BYTES, 0), (f"{log}.read", _LOG_BYTES, 0))
    with contextlib.suppress(FileNotFoundError):
        names = [name for name in os.listdir(store) if name.endswith(".jsonl")]
        most = min(_TAIL_BYTES, _ALL_BYTES // max(len(names), 1))
        for name in names:
            path = os.path.join(store, name)
            with contextlib.suppress(FileNotFoundError):
                seen = int(os.stat(path).st_mtime)
                if seen > now - SEEN_S:
                    yield path, most, seen - _DAY_S


def _lines(files: Iterable[tuple[str, int, int]]) -> Iterator[bytes]:
    for path, most, since in files:
        # Each line begins so, see netboot-clients.
        begin = b'{"t":%d' % since
        with contextlib.suppress(FileNotFoundError, IsADirectoryError), open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > most:
                file.seek(-most, os.SEEK_END)
                file.readline()
            yield from (line for line in file if line > begin)


def _clients(boots: list[Seen], context: Context) -> dict[str, Any]:
    """Return the last boot of each client, the newest first."""
    last = {one.boot.mac: one for one in boots if one.boot.mac}
    found = sorted(last.values(), key=lambda one: one.boot.last, reverse=True)
    states: dict[str, int] = {}
    for one in found:
        states[one.how.state] = states.get(one.how.state, 0) + 1
    return {
        "total": len(found),
        "since": iso8601(context.now - SEEN_S),
        "states": states,
        "list": [_client(one, context) for one in found[:MOST_CLIENTS]],
    }


def _client(one: Seen, context: Context) -> dict[str, Any]:
    boot, host, how = one
    client = netboot_boots.shown(boot, context, host, how)
    return {**client, "arch": boot.facts.get("arch", ""), "text": how.text, "advice": how.advice}


def _once(records: str, now: float) -> dict[str, dict[str, Any]]:
    """Return the hosts that boot once by name, as netboot_arming lists them."""
    found = {}
    for key, arming in _tried(f"{records}/owned/once.json").items():
        if isinstance(arming, dict) and not arming.get("dropped") and "/" not in key:
            boot = _tried(f"{records}/once/{key}.json")
            of_it = boot.get("arming") == arming["arming"]
            done = of_it and boot.get("booted_at", 0)
            armed = arming if arming["armed_at"] and not of_it else None
            install = netboot_installing.Installs(records, "", 0).read(key)
            state, step, since = netboot_installing.state(armed, install, now)
            found[arming["host"]] = {
                "host": arming["host"],
                "entry": arming["entry"],
                "armed": iso8601(arming["armed_at"]) if arming["armed_at"] else None,
                "booted": iso8601(done) if done else None,
                "state": state if arming.get("install") else "",
                "step": step,
                "since": iso8601(int(since)) if since else None,
            }
    return found


def _is_armed(one: dict[str, Any]) -> bool:
    return bool(one["armed"]) and not one["booted"]


# -- this machine ---------------------------------------------------------------------------------


def _fetches(staging: str, now: float) -> dict[str, dict[str, Any]]:
    """Return the fetches that go on by file name, as iso_part shows their progress."""
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError), open("/proc/locks", encoding="ascii") as file:
        locks = file.read()
        for name in os.listdir(staging):
            path = os.path.join(staging, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path)
                if name.endswith(".part") and f":{status.st_ino} " in locks:
                    note = _tried(f"{path}.json")
                    found[name[: -len(".part")]] = _progress(status.st_size, note, now)
    return found


def _progress(size: int, note: dict[str, Any], now: float) -> dict[str, Any]:
    total, seconds = note.get("total"), now - note.get("started", now)
    rate = max(0, size - note.get("from", size)) / seconds if seconds > 0 else 0
    return {
        "bytes": size,
        "total": total,
        "percent": 100 * size // total if total else None,
        "rate": int(rate) or None,
        "seconds_left": int((total - size) / rate) if total and rate else None,
    }


def _image(image: dict[str, Any], fetches: dict[str, dict[str, Any]]) -> dict[str, Any]:
    fetch = fetches.get(image["file"])
    state = "ready" if image["ready"] else "fetching" if fetch else "missing"
    if not image["in_pillar"]:
        state = "left over"
    kept = ("name", "arch", "bytes", "sha256", "elsewhere", "entries")
    return {
        **{key: image[key] for key in kept},
        "state": state,
        "verified": _written(image["verified_at"]),
        "fetch": fetch,
    }


def _services(units: list[str]) -> list[dict[str, str]]:
    """Return the state of units as systemd calls it: active, inactive, failed, activating, ..."""
    if not units:
        return []
    said = said_by("systemctl", "is-active", *units).split()
    said += ["unknown"] * (len(units) - len(said))
    return [{"name": unit, "state": state} for unit, state in zip(units, said)]


def said_by(*argv: str) -> str:
    """
    Return what a program prints, whether it fails or not; nothing if it cannot be started.

    argv
        Its command line.
    """
    try:
        return subprocess.run(
            argv,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        ).stdout
    except OSError:
        return ""


def _disk(root: str) -> dict[str, Any]:
    while not os.path.isdir(root):
        root = os.path.dirname(root)
    found = shutil.disk_usage(root)
    return {"path": root, "free": found.free, "total": found.total}
