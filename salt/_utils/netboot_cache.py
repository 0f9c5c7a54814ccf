"""
What clients load beside what this machine has for that: its links, and memory for the page cache,
into which the files are read ahead.

:platform: Linux
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import Any

from salt.exceptions import SaltInvocationError

import netboot_capacity
import netboot_files
import netboot_images
from netboot_capacity import Link
from netboot_entries import MOUNTING
from netboot_records import Records
from netboot_shapes import Config, Entry

# Of what is available: the rest is for what else runs.
_SHARE = 2
# Another one each time that the machine boots.
_BOOT = "/proc/sys/kernel/random/boot_id"
# At a call the kernel reads no more than the disk's read-ahead, 128 KiB unless somebody changed it:
# asked for 419 MB at once, it read 8; in pieces, all of them.
_PIECE = 128 * 1024
#: An apply is not held longer by a slow disk.
_MOST_S = 20


def files(config: Config, entries: list[Entry]) -> dict[str, int]:
    """
    Return the files that clients load of the entries, with their sizes, the newest image first.

    config
        The applied configuration.

    entries
        The boot entries.
    """
    found: dict[str, tuple[float, int]] = {}
    for entry in entries:
        paths = [config["root"] + entry["stage"]["path"]]
        paths += [
            config["paths"]["tftp"] + entry[what]
            for what in ("kernel", "initrd")
            if entry[what].startswith("/")
        ]
        for path in paths:
            try:
                stat = os.stat(path)
            except OSError:  # on another server, or gone meanwhile
                continue
            found[path] = (stat.st_ctime, stat.st_size)
    return {path: found[path][1] for path in newest_first(found)}


def newest_first(found: dict[str, tuple[float, int]]) -> list[str]:
    """
    Return files in the order in which they are read ahead; of one minute, small ones first: all
    clients need the kernel, in whatever way they get the rest.

    found
        When each was last changed, and its size, by path.
    """
    return sorted(found, key=lambda path: (-(found[path][0] // 60), found[path][1]))


def available() -> int:
    """Return how many bytes the page cache can hold without harm to what else runs."""
    for line in (netboot_files.read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 // _SHARE
    return 0


def warm(records: Records) -> str:
    """
    Have the kernel read what clients load into the page cache, the newest image first, as far as
    there is room; not again before something changed, or the machine booted.

    records
        The records of this machine.

    Returns a sentence.
    """
    there = files(records.config(), netboot_images.offered(records)[0])
    known = {path: netboot_files.identity(path) for path in there}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    mark = {"boot": (netboot_files.read(_BOOT) or "").strip(), "files": digest}
    if records.read("owned", "cached") == mark:
        return "Nothing has changed since the files of the menu were read ahead."
    room, asked, until = available(), 0, time.monotonic() + _MOST_S
    for path, size in there.items():
        if size <= room and time.monotonic() < until:
            done = _read_ahead(path, size, until)
            room, asked = room - done, asked + done
    records.write("owned", "cached", mark)
    whole = sum(there.values())
    return f"Read ahead: {asked / 1e6:.0f} of {whole / 1e6:.0f} MB that the menu offers."


def _read_ahead(path: str, size: int, until: float) -> int:
    """Return for how many bytes the kernel was asked."""
    asked = 0
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        while asked < size and time.monotonic() < until:
            os.posix_fadvise(file.fileno(), asked, _PIECE, os.POSIX_FADV_WILLNEED)
            asked += _PIECE
    return min(asked, size)


def link(interface: str) -> Link:
    """
    Return the speed of an interface; where the kernel does not know it, an assumed one.

    interface
        Its name.
    """
    try:
        mbit = int(netboot_files.read(f"/sys/class/net/{interface}/speed") or 0)
    except (OSError, ValueError):  # it is down, or has no such thing
        mbit = 0
    known = mbit > 0
    speed = mbit if known else netboot_capacity.ASSUMED_MBIT
    return {"interface": interface, "mbit": speed, "assumed": not known}


def plan(records: Records, clients: int, mbit: int | None) -> dict[str, Any]:
    """
    Return how long clients take that boot together, see ``netboot.plan``.

    records
        The records of this machine.

    clients, mbit
        As ``netboot.plan`` gets them.
    """
    for name, value, most in (("clients", clients, 100_000), ("link", mbit, 1_000_000)):
        if not (name == "link" and value is None) and not (
            type(value) is int and 0 < value <= most
        ):
            raise SaltInvocationError(f"{name}: must be an integer from 1 to {most}.")
    config = records.config()
    entries = netboot_images.offered(records)[0]
    line = link(config["interface"])
    if mbit is not None:
        line = {**line, "mbit": mbit, "assumed": False}
    loads = [
        netboot_capacity.load(
            entry,
            _loader(config, entry["arch"]),
            config["kernel_over"].get(entry["arch"]) == "tftp",
        )
        for entry in entries
    ]
    memory = {"files": sum(files(config, entries).values()), "available": available()}
    names = [
        f"{entry['label']}-{config['default_variant'].get(entry['arch'])}"
        for entry in entries
        if config["default_image"].get(entry["arch"]) == entry["image"]
    ]
    return netboot_capacity.plan(
        loads,
        clients,
        line,
        memory,  # type: ignore[arg-type]
        default=next((name for name in names if any(one["id"] == name for one in loads)), ""),
        at_once=config["http"].get("clients_at_once", 0),
        mountable=bool(entries) and not set(config["serves"]) & MOUNTING,
    )


def _loader(config: Config, arch: str) -> int:
    """Return the bytes of the largest boot loader of an architecture, and of its menu."""
    tftp = config["paths"]["tftp"]
    loaders = [
        one[name]
        for one in config["firmware"]
        for name in ("file", "plain")
        if arch in one["boots"]
    ]
    sizes = [_size(os.path.join(tftp, name)) for name in loaders if name]
    return max(sizes, default=0) + _size(os.path.join(tftp, f"config-{arch}.ipxe"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
