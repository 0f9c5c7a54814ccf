"""
Overviews for admins: what is on this machine, what a client sees.
"""

from __future__ import annotations

import os
import re
from typing import Any

from salt.exceptions import SaltInvocationError

import iso_download
import netboot_arming
import netboot_grub
import netboot_images
from netboot_host_checks import colons, typed
from netboot_hosts import identity
from netboot_names import host_key, in_order, iso8601, shown
from netboot_records import Records
from netboot_shapes import ImageRecord


def images(records: Records) -> dict[str, Any]:
    """
    List the images that are in the pillar or were left behind, see ``netboot.list``.

    records
        The records of this machine.
    """
    config = records.config()
    ready: dict[str, Any] = {image["label"]: image for image in records.images()}
    named: dict[str, Any] = {image["label"]: image for image in config["images"]}
    serving = {image["label"] for image in records.ready()}
    used = netboot_images.built(records)["entries"]
    fetched = {
        one["file"]: one
        for one in iso_download.running(config["paths"]["staging"])
        if one["running"]
    }
    return {
        image["name"]: {
            "in_pillar": label in named,
            "entries": [entry["id"] for entry in used if entry["label"] == label],
            "iso": {
                **_iso(records, f"{config['paths']['dist']}/{ready.get(label, image)['file']}"),
                "progress": fetched.get(image["file"]),
            },
            "tree": None if label in named and label not in serving else _tree(ready.get(label)),
        }
        for label, image in sorted({**ready, **named}.items())
    }


def _iso(records: Records, path: str) -> dict[str, Any]:
    record = records.iso(path)
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        size = 0
    absent = "dropped" if record and record.get("dropped") else "absent"
    return {
        "path": path,
        "bytes": size,
        "state": "kept" if size else absent,
        "ours": netboot_images.is_owned_iso(records, path),
        "verified": iso8601(record["verified_at"]) if record else None,
        "source": shown(record["source"]) if record and record.get("source") else "",
    }


def _tree(record: ImageRecord | None) -> dict[str, Any] | None:
    if not record:
        return None
    # links are not counted, files with several names once
    inodes = {}
    for directory, _, names in os.walk(record["tree"]):
        for name in names:
            found = os.lstat(os.path.join(directory, name))
            inodes[found.st_ino] = found.st_size
    return {"path": record["tree"], "bytes": sum(inodes.values()), "form": record["form"]}


def hosts(records: Records) -> list[dict[str, Any]]:
    """
    List the hosts of the pillar that was applied, see ``netboot.hosts``.

    records
        The records of this machine.
    """
    once = {one["host"]: one for one in netboot_arming.listing(records)}
    found = []
    for name, host in sorted(records.hosts().items(), key=lambda item: in_order(item[0])):
        arming = once.get(name, {})
        found.append(
            {
                "host": name,
                "identities": [
                    f"{kind} {_written(kind, value)}" for kind, value in host["identities"]
                ],
                "entry": host["entry"],
                "once": host["once"],
                "group": host.get("group", ""),
                "menu": host["menu"],
                "armed": arming.get("armed"),
                "booted": arming.get("booted"),
                "booted_entry": arming.get("booted_entry"),
                "install": arming.get("install", ""),
                "state": arming.get("state", ""),
                "step": arming.get("step", ""),
                "since": arming.get("since"),
                "why": arming.get("why", ""),
                "first_come": arming.get("first_come", False),
            }
        )
    return found


def _written(kind: str, value: str) -> str:
    """Return an identity as people write it."""
    return colons(value) if kind == "mac" else value


def menu(records: Records, arch: str, host: object = None) -> str:
    """
    Return the iPXE script that clients of an architecture get, see ``netboot.menu``.

    records
        The records of this machine.

    arch, host
        See ``netboot.menu``.
    """
    name = netboot_grub.MENU if arch == "grub" else f"config-{arch}.ipxe"
    owned = records.owned("menus", [])
    if name not in owned:
        known = ", ".join(f"config-{one}.ipxe" for one in _arches(owned)) or "none"
        raise SaltInvocationError(f"This machine has no menu {name}; it has {known}.")
    paths = records.config()["paths"]
    directory, once = paths["tftp"], paths["once_scripts"]
    scripts = {name: _text(directory, name)}
    if host is not None and arch == "grub":
        scripts = {**_files_of(typed(host), paths, owned), **scripts}
    elif host is not None:
        scripts = {**_scripts_of(typed(host), directory, once, owned), **scripts}
    if len(scripts) == 1:
        return scripts[name]
    return "\n".join(f"=== {file}\n{text}" for file, text in scripts.items())


def _arches(owned: list[str]) -> list[str]:
    """Return the architectures that have a menu; names of hosts' scripts have one more part."""
    return sorted(name[len("config-") : -len(".ipxe")] for name in owned if name.count("-") == 1)


def _scripts_of(host: str, directory: str, once: str, owned: list[str]) -> dict[str, str]:
    """Return the scripts of a host, in the order in which the menu loads them; with its arming."""
    kind, value = identity(host)
    wanted = {
        "host": f"config-host-{host.lower()}.ipxe",
        "uuid": f"config-uuid-{value}.ipxe" if kind == "uuid" else None,
        "serial": f"config-serial-{host}.ipxe",
        "mac": f"config-mac-{value}.ipxe" if kind == "mac" else None,
    }
    found = [name for name in wanted.values() if name in owned]
    if not found:
        starts = tuple(f"config-{one}-" for one in wanted)
        found = [
            name
            for name in owned
            if name.startswith(starts) and _is_of(host, _text(directory, name))
        ]
    if not found:
        raise SaltInvocationError(
            f"This server has no script for host {host!r}, so it only gets the menu."
        )
    scripts = {found[0]: _text(directory, found[0])}
    for line in scripts[found[0]].splitlines():
        armed = line.rpartition("/once/")[2].partition(" ")[0]
        if line.startswith("chain ") and os.path.exists(os.path.join(once, armed)):
            scripts[f"once/{armed}"] = _text(once, armed)
    return scripts


def _files_of(host: str, paths: dict[str, str], owned: list[str]) -> dict[str, str]:
    """The same of GRUB: the files of a host, one for each of its MAC addresses."""
    mac = netboot_grub.file_of(identity(host)[1])
    start = netboot_grub.file_of("")
    found = [name for name in owned if name.startswith(start)]
    of_host = [one for one in found if one == mac or _is_of(host, _text(paths["tftp"], one))]
    if not of_host:
        raise SaltInvocationError(
            f"This server has no file of GRUB for host {host!r}, so it only gets the menu."
        )
    scripts = {name: _text(paths["tftp"], name) for name in of_host}
    armed = re.search(r"/once/'(.+)'$", scripts[of_host[0]], re.MULTILINE)
    if armed and os.path.exists(os.path.join(paths["grub_once"], armed[1])):
        scripts[f"grub/once/{armed[1]}"] = _text(paths["grub_once"], armed[1])
    return scripts


def _is_of(host: str, script: str) -> bool:
    """Return whether a script is that of a host, by its name in the pillar."""
    start = "# Host: "
    names = [line[len(start) :] for line in script.splitlines() if line.startswith(start)]
    return host_key(host) in map(host_key, names)


def _text(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return file.read()
