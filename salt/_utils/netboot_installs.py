"""
Unattended installs in the pillar: mistakes between their keys, and what they resolve to. Pure.

What an installer is answered is in ``netboot_answers``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import netboot_scheme
from netboot_names import nearest
from netboot_shapes import Install

Maps = dict[str, Any]

_EMPTY = ("vm_profile", "grub_device", "network", "apt_proxy", "script")


def problems(installs: Maps) -> list[str]:
    """
    Return the problems between the keys of installs; ``netboot_keys`` checks single values.

    installs
        ``netboot:installs`` with all defaults; None stands for an install whose own problems were
        already reported.

    Returns a list of one-line strings, each starting with its pillar key.
    """
    return [
        f"netboot:installs:{name}:{wrong}"
        for name, install in installs.items()
        if install
        for wrong in _wrong(install)
    ]


def _wrong(install: Maps) -> Iterator[str]:
    own = install.get("vm_profile")
    if install["layout"] == "own" and not own:
        yield "vm_profile: is missing; layout: own requires it"
    elif install["layout"] != "own" and own:
        yield f"vm_profile: requires layout: own, not {install['layout']}"
    elif own:
        try:
            partitions(own)
        except ValueError as err:
            yield f"vm_profile: {err}"
    names = [name for name, one in install["users"].items() if one["autologin"]]
    if len(names) > 1:
        yield f"users:{names[1]}:autologin: {names[0]} has it; one user can"
    if install["salt"].get("master_finger") and not install["salt"].get("master"):
        yield "salt:master: is missing; salt:master_finger requires it"


def partitions(text: str) -> list[Any]:
    """
    Return the partitions of a profile of one's own, as ``netboot_scheme`` reads them.

    text
        The text of a vm-profile.scm with one profile.

    Raises ``ValueError`` with what is wrong.
    """
    read = netboot_scheme.read(text)
    profiles = read[0] if len(read) == 1 and isinstance(read[0], list) else []
    if len(profiles) != 1 or not isinstance(profiles[0], list):
        raise ValueError("must be one list with one profile, ((NAME (title . ...) ...))")
    found: list[Any] = []
    for part in profiles[0][1:]:
        if isinstance(part, list) and part[:1] == ["actiondata"]:
            found = part[1:]
    if not found or not all(isinstance(one, list) and one for one in found):
        raise ValueError('its profile must have (actiondata ("/" ...) ...) with partitions')
    return found


def on_host(host: Maps, settings: Maps, images: Maps, installs: Maps) -> Iterator[str]:
    """
    Yield the problems of what installs a host, without the host's key.

    host
        Its settings in the pillar.

    settings
        The same merged with its group's, see ``netboot_hosts.settings_of``.

    images, installs
        ``netboot:images`` and ``netboot:installs``.
    """
    name = settings.get("install")
    if name is None:
        if "network" in host:
            yield "network: requires install, which sets it up"
        return
    if "install" not in host:
        yield from in_map({**host, "install": name}, installs, "install, which its group sets")
    image = settings.get("image")
    if image is None and "entry" not in settings:
        if "install" in host:  # of a whole group, netboot_hosts says it once
            yield "image: is missing; install requires the image to install"
    elif (images.get(str(image)) or {}).get("skip_iso_deploy"):
        yield (
            f"install: netboot:images:{image} is on another server (skip_iso_deploy), so the "
            "answers that its installer needs are not known"
        )
    yield from _wrong_network(host.get("network"))


def in_map(settings: Maps, installs: Maps, what: str = "install") -> Iterator[str]:
    """
    Yield the problems of a single map of the pillar that names an install.

    settings
        Of a host or group.

    installs
        ``netboot:installs``.

    what : install
        What it contradicts, for the message.
    """
    name = settings.get("install")
    if name is None:
        return
    if what == "install" and name not in installs:
        yield f"install: netboot:installs has no {name!r}{nearest(name, installs)}"
    if settings.get("variant", "install") != "install":
        yield f"variant: contradicts {what}; remove one of the two"
    if settings.get("once") is False:
        yield f"once: contradicts {what}; nothing is installed again by itself"
    if "entry" in settings and what == "install":
        yield "entry: contradicts install; remove one of the two"


def _wrong_network(network: Any) -> Iterator[str]:
    if not network or not network.get("gateway"):
        return
    address = ipaddress.IPv4Interface(network["address"])
    gateway = ipaddress.IPv4Address(network["gateway"])
    if gateway not in address.network:
        yield f"network:gateway: {gateway} is not in {address.network}, the network of address"
    elif gateway == address.ip:
        yield "network:gateway: is the address of the host itself"


def build(install: Maps) -> Install:
    """
    Return an install with all keys.

    install
        The install in the completed pillar, without problems.
    """
    salt = {"master": "", "master_finger": "", **install["salt"]}
    done: Any = {**dict.fromkeys(_EMPTY, ""), **install, "salt": salt}
    return done  # type: ignore[no-any-return]
