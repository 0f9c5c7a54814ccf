"""
What only an apply knows, put on record for the program ``netboot-status``, which runs without Salt:
it joins that with what clients do now.
"""

from __future__ import annotations

import os
import time
from typing import Any

import netboot_files
import netboot_findings
import netboot_images
import netboot_menus
import netboot_run
from netboot_names import VERSION
from netboot_records import Records
from netboot_shapes import Entry

_UNITS = {"hours": 3600, "minutes": 60}


def write(records: Records) -> None:
    """
    Put on record what this apply knows, if the configuration has a use for it.

    records
        The records of this machine.
    """
    config = records.config()
    if not (config["status"]["allow"] or config["metrics"]["file"] or config["events"]):
        return
    old, new = records.read("applied", "snapshot") or {}, snapshot(records)
    # A run that changes nothing writes no record.
    changed = {**new, "at": 0} != {**old, "at": 0}
    if changed:
        records.write("applied", "snapshot", new)
    stamp = config["paths"]["applied"]
    netboot_files.make_directory(os.path.dirname(stamp))
    with open(stamp, "w", encoding="ascii"):
        os.utime(stamp)
    if changed and netboot_run.has("systemctl"):
        # Now, not in a minute; it is not waited for, and may not be there yet.
        netboot_run.tried("systemctl", "start", "--no-block", "netboot-status.service")


def snapshot(records: Records) -> dict[str, Any]:
    """
    Return what this apply knows; nothing secret, as a page shows it.

    records
        The records of this machine.
    """
    config, run = records.config(), records.run()
    entries = netboot_images.offered(records)[0]
    schedule = config["schedule"]
    subnets = config["dhcp"]["subnets"] if config["dhcp"]["mode"] == "server" else []
    return {
        "at": int(time.time()),
        "version": VERSION,
        "changed_at": run["at"] if run else None,
        "failed": run["failed"] if run else {},
        "out_of_service": records.out_of_service(),
        "every_s": sum(_UNITS.get(unit, 1) * number for unit, number in schedule.items()),  # type: ignore[misc, operator]
        "serves": [
            {"interface": one["name"], "address": one["address"]} for one in config["interfaces"]
        ],
        "url": config["http"]["url"],
        "dhcp": config["dhcp"]["mode"],
        "services": records.names("services"),
        "images": _images(records, entries),
        "entries": [_entry(entry) for entry in entries],
        "menus": _menus(records, entries),
        "boot_files": {one["file"]: one["kind"] for one in config["firmware"]},
        "findings": [
            {"key": key, "severity": severity, "text": text}
            for key, severity, text in netboot_findings.findings(records)
        ],
        "others": _others(records),
        # Where the program looks, and what it leaves out.
        "service": config["platform"]["nginx"]["service"],
        "lease_s": min((subnet["lease_s"] for subnet in subnets), default=0),
        "files": _files(records),
        "root": config["root"],
        "applied": config["paths"]["applied"],
        "staging": config["paths"]["staging"],
        "clients": config["paths"]["clients"],
        "log": config["clients_log"],
        "port": config["http"]["port"],
        "own": sorted({config["address"], *(one["address"] for one in config["interfaces"])}),
    }


def _others(records: Records) -> dict[str, Any]:
    """Return when DHCP servers were asked last, and which others offered a boot."""
    last = records.owned("probe", {})
    asked_at = last.get("network_at", 0)
    return {"at": asked_at, "servers": sorted(set(last["others"]))} if asked_at else {}


def _images(records: Records, entries: list[Entry]) -> list[dict[str, Any]]:
    config = records.config()
    ready = {image["label"] for image in records.ready()}
    on_record: dict[str, Any] = {image["label"]: image for image in records.images()}
    named: dict[str, Any] = {image["label"]: image for image in config["images"]}
    elsewhere: dict[str, Any] = {image["label"]: image for image in config["elsewhere"]}
    found = []
    for label, image in sorted({**on_record, **named, **elsewhere}.items()):
        file = on_record.get(label, image)["file"]
        iso = None if label in elsewhere else records.iso(file)
        facts = (on_record.get(label) or elsewhere.get(label) or {}).get("facts", {})
        found.append(
            {
                "name": image["name"],
                "arch": facts.get("arch", ""),
                "file": image["file"],
                "bytes": iso["size"] if iso else None,
                "sha256": iso["digests"]["sha256"] if iso else None,
                "verified_at": iso["verified_at"] if iso else None,
                "in_pillar": label in named or label in elsewhere,
                "elsewhere": label in elsewhere,
                "ready": label in ready,
                "entries": [entry["id"] for entry in entries if entry["label"] == label],
            }
        )
    return found


def _files(records: Records) -> dict[str, list[Any]]:
    """Return what clients fetch: the path in its URL, and what shows that it is unchanged."""
    root = records.config()["root"]
    kept = ("size", "mtime_ns", "ctime_ns", "inode")
    return {
        path: [path[len(root) :], [identity[key] for key in kept]]
        for path, identity in netboot_images.identities(records).items()
        if identity
    }


def _entry(entry: Entry) -> dict[str, Any]:
    stage = {"path": entry["stage"]["path"], "bytes": entry["stage"]["bytes"]}
    keys = (
        *("id", "image", "arch", "variant", "method", "memory_mib"),
        *("kernel", "initrd", "secure_lacks"),
    )
    return {**{key: entry[key] for key in keys}, "stage": stage}  # type: ignore[literal-required]


def _menus(records: Records, entries: list[Entry]) -> list[dict[str, Any]]:
    """Return the menu of each architecture that a boot loader here leads to."""
    config = records.config()
    tftp = config["paths"]["tftp"]
    kinds: dict[str, list[str]] = {}
    for firmware in config["firmware"]:
        if os.path.exists(os.path.join(tftp, firmware["file"])):
            kinds.setdefault(firmware["arch"], []).append(firmware["kind"])
    return [
        {"arch": arch, "firmware": kinds[arch], **netboot_menus.view(config, arch, entries)}
        for arch in netboot_menus.MENUS
        if arch in kinds
    ]
