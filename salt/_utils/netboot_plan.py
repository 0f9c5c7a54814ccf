"""
What clients should get from a server: its boot loaders, menus and entries with the bytes on record,
as ``netboot_probe`` compares them with what comes over the network. JSON, as another machine may
compare.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import random
from collections.abc import Iterator
from typing import Any, BinaryIO

import netboot_grub
import netboot_images
import netboot_machine
from netboot_firmware import started
from netboot_names import some
from netboot_paths import in_url
from netboot_records import Records
from netboot_shapes import Config, Entry

#: How much of a file is compared by default: its beginning, its end, and two places between.
_SAMPLE_BYTES = 65536
_CHUNK_BYTES = 1 << 20


def plan(records: Records, whole: bool = False) -> dict[str, Any]:
    """
    Return what clients should get.

    records
        The records of this machine.

    whole : False
        Whether files are compared whole, by the digests on record; else samples, by those that the
        files on the disk have now.

    Returns a map: ``server``, ``url`` and ``dhcp`` (the mode); ``interfaces``; ``at``, by which
    address this machine reaches itself, if not by ``server``; ``firmware``, as in the
    configuration, of kinds that an apply put a boot loader in place for, each with the names of
    what that ``starts`` and of GRUB's ``menu``; ``entries``, each with the paths of its ``kernel``,
    ``initrd``, ``stage`` and, for Secure Boot, ``shim``; ``files`` by path: ``bytes``, ``samples``
    (offset, length and SHA-256) and ``sha256`` (on record, or empty), or None for a file that is
    not on the disk; and ``untried``, what of the menu is not in it, in words.
    """
    config = records.config()
    entries: list[Entry] = netboot_images.built(records)["entries"]
    # What was touched since it was unpacked or verified is read whole.
    sums, touched = _sums(records), netboot_images.touched(records)
    files: dict[str, Any] = {}
    # The shim and GRUB of an image belong to its menu.
    placed = [*records.owned("firmware", []), *records.owned("menus", [])]
    firmware = [
        {
            **row,
            "starts": started(row),
            "menu": netboot_grub.MENU if row["secure"] == "grub" else "",
        }
        for row in config["firmware"]
        # Without GRUB the name of its shim is that of the unsigned boot loader, for the time being.
        if row["file"] in placed and (row["secure"] != "grub" or started(row) in placed)
    ]
    secure = any(row["secure"] == "ipxe" for row in firmware)
    for row in firmware:
        for name in filter(None, (row["file"], row["starts"], row["menu"])):
            files[f"/tftp/{name}"] = _file(f"{config['paths']['tftp']}/{name}", "", True)
    for entry in entries:
        for path in _paths(entry, secure).values():
            if path.startswith("/") and path not in files:
                files[path] = _file(
                    config["root"] + path, sums.get(path, ""), whole or path in touched
                )
    elsewhere = {image["label"] for image in config["elsewhere"]}
    return {
        "server": config["address"],
        "url": config["http"]["url"],
        "dhcp": config["dhcp"]["mode"],
        "root": config["root"],
        "interfaces": [dict(one) for one in config["interfaces"]],
        "at": _own_address(config),
        "firmware": firmware,
        "entries": [
            {
                **{key: entry[key] for key in ("id", "image", "arch", "method", "form")},
                **_paths(entry, secure),
            }
            for entry in entries
            if entry["label"] not in elsewhere
        ],
        "files": files,
        "untried": list(_untried(config, records)),
    }


def _untried(config: Config, records: Records) -> Iterator[str]:
    titles = [extra["title"] for extra in config["menu"]["extra"]]
    if titles:
        yield f"lines of netboot:menu:extra: {some(titles)}"
    if config["elsewhere"]:
        yield f"images of other servers: {some(one['name'] for one in config['elsewhere'])}"
    if records.hosts():
        yield "what hosts of the pillar boot by themselves (./netboot rehearse --host NAME)"


def _own_address(config: Config) -> dict[str, str]:
    """
    Return by which of its own addresses this machine reaches itself, if what clients use belongs to
    a NAT or load balancer, through which it may not.
    """
    own = netboot_machine.target("")
    here = [
        str(ipaddress.ip_interface(address).ip)
        for one in config["interfaces"]
        for address in own["interfaces"].get(one["name"], [])
    ]
    missing = config["address"] not in own["addresses"]
    return {config["address"]: here[0]} if missing and here else {}


def _paths(entry: Entry, secure: bool) -> dict[str, str]:
    """
    Return what an entry loads, by paths in URLs; an address elsewhere stays one. ``secure``: with
    Secure Boot.
    """
    loads = {
        what: f"/tftp{path}" if path.startswith("/") else path
        for what, path in (("kernel", entry["kernel"]), ("initrd", entry["initrd"]))
    }
    if secure and entry["shim"] and not entry["secure_lacks"]:
        loads["shim"] = f"/tftp{entry['shim']}"
    return {**loads, "stage": entry["stage"]["path"]}


def _sums(records: Records) -> dict[str, str]:
    """Return the SHA-256 on record of files, by their paths in URLs."""
    config = records.config()
    found: dict[str, str] = {}
    for image in records.ready():
        if "tree" in image:
            for path, digest in image["facts"].get("sha256", {}).items():
                found[in_url(config, os.path.join(image["tree"], path.lstrip("/")))] = digest
        found[f"{in_url(config, config['paths']['dist'])}/{image['file']}"] = (
            image["iso_sha256"] or ""
        )
    return found


def _file(path: str, sha256: str, whole: bool) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if whole and sha256:
                return {"bytes": size, "samples": [[0, size, sha256]], "sha256": sha256}
            places = _places(size) if not whole else [(0, size)]
            samples = []
            for offset, length in places:
                samples.append([offset, length, _digest(file, offset, length)])
    except OSError:
        return None
    return {"bytes": size, "samples": samples, "sha256": sha256}


def _digest(file: BinaryIO, offset: int, length: int) -> str:
    hashed = hashlib.sha256()
    file.seek(offset)
    while length and (chunk := file.read(min(length, _CHUNK_BYTES))):
        hashed.update(chunk)
        length -= len(chunk)
    return hashed.hexdigest()


def _places(size: int) -> list[tuple[int, int]]:
    if size <= 4 * _SAMPLE_BYTES:
        return [(0, size)]
    last = size - _SAMPLE_BYTES
    between = sorted(random.sample(range(_SAMPLE_BYTES, last), 2))  # noqa: S311 (no secret)
    return [(offset, _SAMPLE_BYTES) for offset in (0, *between, last)]


def fingerprint(config: Config, records: Records) -> str:
    """
    Return what changes whenever clients may get something else than before.

    config, records
        The configuration; the records of this machine.
    """
    tftp = config["paths"]["tftp"]
    loaders = [_stamp(os.path.join(tftp, one["file"])) for one in config["boot_files"]]
    menus = [_stamp(os.path.join(tftp, name)) for name in records.owned("menus", [])]
    services = {name: records.read("services", name) for name in records.names("services")}
    images = sorted(netboot_images.identities(records).items())
    changed = sorted(netboot_images.touched(records))
    gone = [path for path, _identity in images if not os.path.exists(path)]
    # Within an apply the configuration is not that of a file: keys in another order, tuples.
    told = json.dumps((config, loaders, menus, services, images, changed, gone), sort_keys=True)
    return hashlib.sha256(told.encode("ascii")).hexdigest()


def _stamp(path: str) -> list[int]:
    try:
        found = os.stat(path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]
