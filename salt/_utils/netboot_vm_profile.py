"""
``vm-profile.scm``: the partitions that ALT's installer makes. Pure.
"""

from __future__ import annotations

from typing import Any

import netboot_installs
from netboot_installers import Installer
from netboot_scheme import Pair, Symbol, written
from netboot_shapes import Install

_MIB = 2048  # in sectors of 512 bytes, the unit of a profile
# Of /home, whose partition gets the rest.
_LEAST_HOME_MIB = 1024
# GRUB's own partition on disks with a GPT, as in alt-packer's profiles of p10.
_BIOS_SLOT = 20480

_PLAIN = [Symbol("methods"), Symbol("plain")]


def text(install: Install, installer: Installer, name: str, title: str, platform: str) -> str:
    """
    Return the text of ``vm-profile.scm`` with one profile.

    UEFI's own partition is not listed: the installer adds it, and two are a conflict.

    install
        The install.

    installer
        What the image's installer understands.

    name
        Name of the profile.

    title
        Its title.

    platform
        ``pcbios`` or ``efi``.
    """
    head = [
        f"  {written(Pair(Symbol('title'), title))}",
        f"  {written(Pair(Symbol('action'), Symbol('trivial')))}",
    ]
    parts = [f"    {written(one)}" for one in _partitions(install, installer, platform)]
    lines = [f"(({name}", *head, "  (actiondata", *parts]
    return "\n".join(lines) + ")))\n"


def least_sectors(install: Install) -> int:
    """
    Return how many sectors of 512 bytes a disk must have for the partitions.

    install
        The install.
    """
    if install["layout"] == "own":
        return sum(_least(one) for one in netboot_installs.partitions(install["vm_profile"]))
    home = _LEAST_HOME_MIB if install["home"] and install["layout"] == "ext4" else 0
    # And room for the firmware's partition and the tables.
    return (install["swap_mib"] + install["root_mib"] + home + 512) * _MIB


def _least(partition: list[Any]) -> int:
    """Return the least size of a partition of a profile of one's own; unknown: 0."""
    for one in partition:
        if isinstance(one, Pair) and one.first == "size" and isinstance(one.rest, Pair):
            return one.rest.first if isinstance(one.rest.first, int) else 0
    return 0


def _partitions(install: Install, installer: Installer, platform: str) -> list[Any]:
    if install["layout"] == "own":
        return netboot_installs.partitions(install["vm_profile"])
    parts = []
    if platform == "pcbios" and installer.slot:
        parts.append(["", _size(_BIOS_SLOT, _BIOS_SLOT), _PLAIN])
    if install["swap_mib"]:
        swap = install["swap_mib"] * _MIB
        parts.append(["swap", _size(swap, swap), _type("SWAPFS"), _PLAIN])
    root = install["root_mib"] * _MIB
    if install["layout"] == "btrfs":
        subvolumes = [Symbol("subvols"), Pair("@", "/"), Pair("@home", "/home")]
        parts.append(["", _size(root, True), _type("BtrFS"), _PLAIN, subvolumes])
    elif install["home"]:
        parts.append(["/", _size(root, root), _type("Ext4"), _PLAIN])
        parts.append(["/home", _size(_LEAST_HOME_MIB * _MIB, True), _type("Ext4"), _PLAIN])
    else:
        parts.append(["/", _size(root, True), _type("Ext4"), _PLAIN])
    return parts


def _size(least: int, most: Any) -> Pair:
    return Pair(Symbol("size"), Pair(least, most))


def _type(name: str) -> Pair:
    return Pair(Symbol("fsim"), name)
