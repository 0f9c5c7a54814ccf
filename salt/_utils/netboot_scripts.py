"""
The menus in the TFTP root, iPXE's and GRUB's: which files there should be, and how the directory is
updated.

Files that these states did not write are left alone. The shim and GRUB of an image belong to its
menu: they are copied out of the image's tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any, NamedTuple

import netboot_files
import netboot_firmware
import netboot_grub
import netboot_host_scripts
import netboot_images
import netboot_menus
from netboot_records import Records
from netboot_shapes import Config, ImageRecord, Listed


class Plan(NamedTuple):
    """
    The changes to make.

    ``menus``, ``hosts``
        Texts by file name.
    ``owned``
        Names of the scripts that these states wrote before.
    ``changes``
        ``new``, ``changed`` or ``removed``, by file name.
    ``foreign``
        Names of foreign files that are in the way and stay.
    ``listed``
        The hosts for overviews, by name.
    ``problems``
        Images and defaults that the menus cannot offer, one line each.
    ``warnings``
        Entries that may not boot, one line each.
    """

    menus: dict[str, str]
    hosts: dict[str, str]
    owned: list[str]
    changes: dict[str, str]
    foreign: list[str]
    listed: dict[str, Listed]
    problems: list[str]
    warnings: list[str]


def plan(
    records: Records,
    template: str,
    hosts: dict[str, Any],
    groups: dict[str, Any],
    foretell: bool = False,
    grub: str = "",
) -> Plan:
    """
    Return the scripts that there should be, and the changes that they need.

    records
        The records of this machine.

    template
        Text of the menu's template.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups``.

    foretell : False
        Whether missing ISOs of the pillar count as fetched, as under ``test=True``.

    grub : ""
        Text of the template of GRUB's menu.
    """
    config = records.config()
    entries, problems, doubts = netboot_images.offered(records, foretell)
    waits = netboot_images.awaited(records)
    images, owned = records.ready(), records.owned("menus", [])
    menus = netboot_menus.render(template, config, entries, bool(hosts), waits)
    scripts = netboot_host_scripts.scripts(hosts, groups, config)
    secure = netboot_grub.render(grub, config, entries, hosts, groups, images, waits)
    loaders, changed = _loaders(config, {image["label"]: image for image in images}, owned)
    # Names that others use too, unlike those of iPXE's menus here.
    common = {**secure.menus, **loaders}
    scripts = {**scripts, **secure.hosts}
    changes = netboot_files.difference(
        config["paths"]["tftp"], {**scripts, **menus, **common}, owned
    )
    foreign = [
        name
        for name, change in changes.items()
        if change == "changed" and name not in owned and name not in menus
    ]
    changed += [
        f"netboot:secure_boot: {config['paths']['tftp']}/{name} is a foreign file; move it away"
        for name in foreign
        if name in common
    ]
    return Plan(
        {**menus, **{name: text for name, text in common.items() if name not in foreign}},
        {name: text for name, text in scripts.items() if name not in foreign},
        owned,
        {name: change for name, change in changes.items() if name not in foreign},
        foreign,
        netboot_host_scripts.listed(hosts, groups),
        [f"Not in the menu: {problem}" for problem in problems]
        + netboot_menus.unmet_defaults(config, entries)
        + secure.problems
        + changed,
        doubts + secure.warnings,
    )


def _loaders(
    config: Config, images: dict[str, ImageRecord], owned: list[str]
) -> tuple[dict[str, str], list[str]]:
    """
    Return the shims and GRUBs of images by file name, and what is wrong with them. What cannot be
    copied now stays as it is. Until the first shim is there, its name is that of the unsigned boot
    loader: clients ask for it while the image is fetched, or if it turns out to have no shim.
    """
    found: dict[str, str] = {}
    wrong = []
    tftp = config["paths"]["tftp"]
    plain = {row["kind"]: row["plain"] for row in config["firmware"]}
    for kind, label in netboot_grub.served(config).items():
        image = images.get(label)
        both: dict[str, str] = {}
        if image is not None and not netboot_grub.is_unread(image):
            if not list(netboot_grub.lacking(config, kind, images)):
                both, changed = _copies(f"netboot:secure_boot:{kind}:image", image)
                wrong += changed
        for what, name in netboot_firmware.own_files(kind).items():
            text = both.get(what)
            if text is None and name in owned:
                text = netboot_files.read(os.path.join(tftp, name))
            if text is None and what == "shim":
                text = netboot_files.read(os.path.join(tftp, plain[kind]))
            if text is not None:
                found[name] = text
    return found, wrong


def _copies(key: str, image: ImageRecord) -> tuple[dict[str, str], list[str]]:
    """Return an image's shim and GRUB, both or none, as they belong together; and what is wrong."""
    facts: Any = image["facts"]
    found: dict[str, str] = {}
    wrong = []
    for what in ("shim", "grub"):
        path = facts["secure_boot"][what]
        text = netboot_files.read(os.path.join(image["tree"], path.lstrip("/")))
        found[what] = text or ""
        if _sha256(found[what]) != facts["sha256"].get(path):
            wrong.append(
                f"{key}: {path} of {image['name']} was changed since it was unpacked; apply again"
            )
    return ({}, wrong) if wrong else (found, [])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def carry_out(records: Records, done: Plan) -> None:
    """
    Make the changes that ``plan`` returned.

    records
        The records of this machine.

    done
        The plan.
    """
    paths = records.config()["paths"]
    scripts = {**done.hosts, **done.menus}
    gone = set(done.owned) - set(scripts)
    if sorted(done.owned) != sorted(scripts):
        # Before the scripts: after a kill here, the next run must know which scripts it owns.
        records.write("owned", "menus", sorted({*done.owned, *scripts}))
    by_grub = any(name.startswith(f"{netboot_firmware.GRUB}/") for name in scripts)
    if by_grub:
        netboot_files.make_directory(paths["grub"])
    # Hosts first: a killed run must not leave a host with a new default of the menu.
    for part in (done.hosts, done.menus, gone):
        some = {name: done.changes[name] for name in part if name in done.changes}
        netboot_files.carry_out(paths["tftp"], scripts, some, paths["staging"])
    if gone:
        records.write("owned", "menus", sorted(scripts))
    if not by_grub:
        with contextlib.suppress(OSError):
            os.rmdir(paths["grub"])  # foreign files keep it
    if done.listed != records.hosts():
        records.write("applied", "hosts", done.listed)
