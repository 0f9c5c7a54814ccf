"""
Hosts: machines that boot something of their own, and boards, settings for all machines of a kind.
What identifies them, what their settings are, and what is wrong with them. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import netboot_values
from netboot_names import host_key, nearest, some, words
from netboot_shapes import Host

Maps = dict[str, Any]

#: What a machine is told by, and which part of the script's name says so.
IDENTITIES = {"hostname": "host", "uuid": "uuid", "serial": "serial", "mac": "mac"}
#: What all machines of a kind are told by.
BOARDS = ("product", "manufacturer")

_BAIKAL_M = {
    "arguments": ["console=ttyS0,115200n8", "earlycon=uart8250,mmio32,0x20230000"],
    "kernel_over": "tftp",
}
#: Boards that come with the project, by SMBIOS product: as asheplyakov/netinstall-alt has them. The
#: processor's other cores don't come up when the kernel came over HTTP.
BUILT_IN = {
    product: {"product": product, **_BAIKAL_M}
    for product in ("TF307-MB", "TF307-MB-S-D", "ET101-1.2")
}


def identity(value: str) -> tuple[str, str]:
    """
    Say what a text identifies a machine by, if it is a MAC address or a UUID.

    value
        The text; a MAC address in any notation (colons, dashes, dots or none, upper or lower case).

    Returns the kind (``mac``, ``uuid`` or ``hostname``) and the text as iPXE writes it.
    """
    bare = re.sub(r"[:.-]", "", value).lower()
    if re.fullmatch(r"[0-9a-f]{12}", bare):
        return "mac", bare
    if re.fullmatch(r"[0-9a-f]{32}", bare):
        return "uuid", "-".join((bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]))
    return "hostname", value


def typed(value: object) -> str:
    """
    Return a host as it was typed on the command line, where YAML takes some MAC addresses for
    numbers: ``52:54:00:12:34:56`` is one of base 60 (yaml.org/type/int.html).

    value
        What Salt made of it.
    """
    if not isinstance(value, int) or value < 60**5 or value >= 100 * 60**5:
        return str(value)
    groups = [value // 60**5, *(value // 60**power % 60 for power in range(4, -1, -1))]
    return ":".join(f"{group:02}" for group in groups)


def identities(name: str, host: Maps) -> list[tuple[str, str]]:
    """
    Return what identifies a host or board, as pairs of kind and text as iPXE writes it.

    name
        Its name in the pillar.

    host
        Its settings there.
    """
    given = [(kind, host[kind]) for kind in (*IDENTITIES, *BOARDS) if kind in host]
    if not given:
        return [identity(name)]
    return [
        (kind, identity(value)[1] if kind in ("mac", "uuid") else value) for kind, value in given
    ]


def settings_of(host: Maps, groups: Maps) -> Host:
    """
    Return a host's settings with those of its group: its own win, its arguments come after.

    host
        Its settings in the pillar.

    groups
        What is below ``netboot:groups``.
    """
    group = dict(groups.get(str(host.get("group"))) or {})
    if "entry" in host:
        for key in ("image", "variant", "once"):
            group.pop(key, None)
    if "image" in host:
        group.pop("entry", None)
    defaults = netboot_values.defaults("hosts.*")
    arguments = words(group.get("arguments")) + words(host.get("arguments"))
    settings: Any = {**defaults, **group, **host}
    settings["arguments"] = arguments or list(defaults["arguments"])
    return settings  # type: ignore[no-any-return]


# -- what is wrong ---------------------------------------------------------------------------------


def problems(hosts: Maps, groups: Maps, images: Maps) -> list[str]:
    """
    Say what is wrong between hosts, groups and images; single values are ``netboot_keys``'s.

    hosts, groups
        What stands under ``netboot:hosts`` and ``netboot:groups`` (maps by name).

    images
        What stands under ``netboot:images`` (a map by name). In all three None stands for what has
        mistakes of its own, of which enough is said.

    Returns a list of one-line texts, each starting with its pillar key.
    """
    found: list[str] = []
    keys: dict[str, str] = {}
    owners: dict[tuple[str, str], str] = {}
    for name, group in groups.items():
        found += _wrong_target(f"netboot:groups:{name}", group or {}, images)
    for name, host in hosts.items():
        if host is None:
            continue
        path = f"netboot:hosts:{name}"
        if not any(kind in host for kind in (*IDENTITIES, *BOARDS)):
            if identity(name)[0] == "hostname" and ":" in name:
                found.append(f"{path}: the name is no MAC address, UUID or host name; give mac")
        found += [f"{path}:{wrong}" for wrong in _wrong_host(host, groups, images)]
        found += _wrong_target(path, host, images)
        other = keys.setdefault(host_key(name), name)
        if other != name:
            found.append(f"{path}: the name differs from that of netboot:hosts:{other} too little")
        for kind, value in identities(name, host):
            other = owners.setdefault((kind, value.lower()), name)
            if other != name:
                found.append(f"{path}: has the same {kind} {value!r} as netboot:hosts:{other}")
    return found


def _wrong_target(path: str, settings: Maps, images: Maps) -> Iterator[str]:
    """What is wrong with what one map itself says to boot."""
    image, variant = settings.get("image"), settings.get("variant")
    if image is None:
        return
    if "entry" in settings:
        yield f"{path}:entry: contradicts image; remove one of the two"
    if image not in images:
        hint = nearest(image, list(images))
        yield f"{path}:image: there is no image {image!r}{hint}"
    elif variant and _refused(image, variant, images):
        yield f"{path}:variant: {_refused(image, variant, images)}"


def _wrong_host(host: Maps, groups: Maps, images: Maps) -> Iterator[str]:
    """What is wrong with a host once its group's settings are added, after its key."""
    group = host.get("group")
    if group is not None and group not in groups:
        yield f"group: there is no group {group!r}{nearest(group, groups)}"
        return
    if group is not None and groups[group] is None:
        return
    settings = settings_of(host, groups)
    image, variant = settings.get("image"), settings.get("variant")
    boards = [kind for kind in BOARDS if kind in host]
    others = [kind for kind in IDENTITIES if kind in host] + boards[1:]
    if boards and others:
        yield f"{boards[0]}: means all machines of a kind; remove it or {others[0]}"
    if image and not variant:
        yield "variant: is missing; say which of livecd, install, rescue to boot"
    elif variant and not image:
        yield "image: is missing; say of which image to boot the variant"
    elif ("image" in host) != ("variant" in host) and _refused(image, variant, images):
        yield f"variant: {_refused(image, variant, images)}"
    if settings.get("once") and boards:
        yield f"once: cannot be counted for all machines of a {boards[0]}"
    elif settings.get("once") and not image:
        yield "once: needs image and variant, to say what boots once"
    if settings.get("menu") is False and not image and "entry" not in settings:
        yield "menu: false needs image and variant, or entry: local, to boot without asking"


def _refused(image: Any, variant: Any, images: Maps) -> str | None:
    """Why the pillar does not let an image have a variant; what the ISO has is not known yet."""
    offered = (images.get(image) or {}).get("variants") or [variant]
    if variant in offered:
        return None
    return f"netboot:images:{image}:variants offers only {', '.join(offered)}"


def warnings(hosts: Maps, groups: Maps, asks: list[list[str]]) -> list[str]:
    """
    Say what is allowed, but likely a mistake: an installer that starts by itself at every boot, a
    default that a menu cannot start.

    hosts, groups
        See ``problems``, without any.

    asks
        List of [image, variant] that ask for a password.
    """
    again, asked = [], []
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if settings.get("variant") == "install" and not settings.get("once"):
            again.append(name)
        if settings.get("menu") and [settings.get("image"), settings.get("variant")] in asks:
            asked.append(name)
    return [
        f"netboot:hosts: {some(names)} {wrong}"
        for names, wrong in (
            (again, "will start the installer at every boot; once: true is safer"),
            (
                asked,
                "will boot from disk when the menu's time is up, as the entry asks for a password",
            ),
        )
        if names
    ]


def any_once(hosts: Maps, groups: Maps) -> bool:
    """
    Say whether any host boots something once.

    hosts, groups
        See ``problems``, without any.
    """
    return any(settings_of(host, groups)["once"] for host in hosts.values())
