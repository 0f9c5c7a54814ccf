"""
How a netboot server is: what it serves, what is missing, whether its services run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import iso_download
import netboot_arming
import netboot_findings
import netboot_images
import netboot_run
import netboot_timer
from netboot_names import VERSION, iso8601, some
from netboot_records import Records
from netboot_shapes import Entry


def status(records: Records, jobs: Mapping[str, Any] | None) -> dict[str, Any]:
    """
    Return how this machine is, see ``netboot.status``.

    records
        The records of this machine.

    jobs
        The schedule of the minion that runs, by the names of jobs.
    """
    config = records.config()
    run, out = records.run(), records.out_of_service()
    ready = netboot_images.ready(records)
    once = netboot_arming.listing(records)
    entries = netboot_images.built(records)["entries"]
    severities = [severity for _key, severity, _text in netboot_findings.findings(records)]
    root = config["root"]
    while not os.path.isdir(root):
        root = os.path.dirname(root)
    disk = shutil.disk_usage(root)
    return {
        "version": VERSION,
        "applied": {
            "version": config["version"],
            "at": run and iso8601(run["at"]),
            "failed": sorted(run["failed"]) if run else [],
        },
        "out_of_service": out and iso8601(out),
        "serves": [f"{one['address']} on {one['name']}" for one in config["interfaces"]],
        "dhcp": config["dhcp"]["mode"],
        "mirror": config["mirror"],
        "services": {name: _is_active(name) for name in records.names("services")},
        "images": {
            "ready": ready,
            "missing": netboot_images.missing(records),
        },
        "fetching": iso_download.running(config["paths"]["staging"]),
        "entries": _counted([entry["arch"] for entry in entries]),
        "hosts": {
            "named": len(records.hosts()),
            "new": sum(not one["armed"] for one in once),
            "armed": sum(bool(one["armed"]) and not one["booted"] for one in once),
            "booted": sum(bool(one["booted"]) for one in once),
        },
        "schedule": netboot_timer.schedule(records, jobs),
        "findings": _counted(severities),
        "disk": {"path": config["root"], "free": disk.free, "total": disk.total},
    }


def summary(records: Records, foretell: bool = False) -> list[str]:
    """
    Return what clients get now and what to do next, a sentence each.

    records
        The records of this machine.

    foretell : False
        Whether nothing was applied, as under ``test=True``.
    """
    config = records.config()
    ready = netboot_images.ready(records)
    missing = netboot_images.missing(records)
    entries = {entry["id"]: entry for entry in netboot_images.built(records)["entries"]}
    once = netboot_arming.listing(records)
    armed = [one for one in once if one["armed"] and not one["booted"] and config["arms"]]
    new = [one["host"] for one in once if not one["armed"]]
    wiped = [one["host"] for one in armed if _installs(entries.get(one["entry"]))]
    what = "Ready for other servers" if config["mirror"] == "only" else "Ready to boot"
    said = [f"{what}{' now' if foretell else ''}: {some(ready) or 'no image yet'}."]
    if missing:
        said.append(f"Not ready: {some(missing)}.")
    if wiped:
        are = "host is" if len(wiped) == 1 else "hosts are"
        said.append(f"{len(wiped)} {are} INSTALLED at the next network boot: {some(wiped)}.")
    if len(armed) > len(wiped):
        others = [one for one in armed if one["host"] not in wiped]
        shown = some(f"{one['host']} ({one['entry']})" for one in others)
        said.append(f"Armed: {shown}.")
    if new and config["arms"]:
        said.append(f"New and not armed: {some(new)}. To arm them: netboot.arm host=NAME.")
    if config["arms"]:
        said += [f"Cannot be installed: {one}." for one in netboot_arming.uninstallable(records)]
    return said


def _installs(entry: Entry | None) -> bool:
    return entry is not None and entry["variant"] == "install"


def _counted(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in dict.fromkeys(words)}


def _is_active(service: str) -> bool:
    return netboot_run.tried("systemctl", "is-active", "--quiet", service).returncode == 0
