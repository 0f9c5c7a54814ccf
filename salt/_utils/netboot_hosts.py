"""
Hosts: machines with settings of their own, and boards: settings for all machines of a model.
What identifies them, their settings, and their problems. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import netboot_installs
import netboot_values
from netboot_host_checks import (
    bare_mac,
    host_name,
    in_other_order,
    may_resemble,
    of_nobody,
    plain_uuid,
    resembles,
)
from netboot_names import host_key, nearest, some, words
from netboot_shapes import Host

Maps = dict[str, Any]

#: What identifies a machine, each with its part of the script's name.
IDENTITIES = {"hostname": "host", "uuid": "uuid", "serial": "serial", "mac": "mac"}
#: What identifies all machines of a model or manufacturer.
BOARDS = ("product", "manufacturer")

_NO_VARIANT = "is missing; set it to livecd, install or rescue"

_BAIKAL_M = {
    "arguments": ["console=ttyS0,115200n8", "earlycon=uart8250,mmio32,0x20230000"],
    "kernel_over": "tftp",
}
#: Built-in boards, by SMBIOS product, from asheplyakov/netinstall-alt. The processor's other cores
#: do not come up when the kernel was fetched over HTTP.
BUILT_IN = {
    product: {"product": product, **_BAIKAL_M}
    for product in ("TF307-MB", "TF307-MB-S-D", "ET101-1.2")
}


def identity(value: str) -> tuple[str, str]:
    """
    Return the kind of identity that a string is: MAC address, UUID or host name.

    value
        The string; a MAC address in any notation (colons, dashes, dots or none, upper or lower
        case).

    Returns the kind (``mac``, ``uuid`` or ``hostname``) and the string as iPXE writes it.
    """
    for kind, plain in (("mac", bare_mac(value)), ("uuid", plain_uuid(value))):
        if plain:
            return kind, plain
    return "hostname", value


def identities(name: str, host: Maps) -> list[tuple[str, str]]:
    """
    Return what identifies a host or board, as pairs of kind and string as iPXE writes it.

    A UUID is there in both byte orders; texts of SMBIOS are without spaces around them.

    name
        Its name in the pillar.

    host
        Its settings there.
    """
    given = [(kind, host[kind]) for kind in (*IDENTITIES, *BOARDS) if kind in host]
    found: list[tuple[str, str]] = []
    for kind, value in given or [identity(name)]:
        if kind == "mac":
            macs = value if isinstance(value, list) else [value]
            found += [(kind, bare_mac(one)) for one in macs]
        elif kind == "uuid":
            plain = plain_uuid(value)
            found += [(kind, one) for one in dict.fromkeys((plain, in_other_order(plain)))]
        else:
            found.append((kind, value if kind == "hostname" else value.strip(" ")))
    return found


def same_names(name: str, domains: list[str]) -> list[str]:
    """
    Return the forms in which DHCP servers may assign a host name: without its domain, in lower and
    upper case. dnsmasq assigns `pc9` for `PC9`.

    name
        The host name in the pillar.

    domains
        The domains that this server's DHCP assigns.
    """
    bare, mark, _ = name.partition(".")
    forms = [name, *([bare] if mark else [f"{name}.{domain}" for domain in domains])]
    return list(dict.fromkeys(one for form in forms for one in (form, form.lower(), form.upper())))


def told_by(name: str, host: Maps) -> list[str]:
    """
    Return what identifies a machine, such as ``mac=525400000001``: under another name in the
    pillar, it is the same machine.

    name, host
        See ``identities``.
    """
    found = [f"{kind}={value.lower()}" for kind, value in identities(name, host)]
    bare = [one.partition(".")[0] for one in found if one.startswith("hostname=")]
    return list(dict.fromkeys([*found, *bare]))


def settings_of(host: Maps, groups: Maps) -> Host:
    """
    Return a host's settings merged with its group's: the host's win, its arguments come after.

    host
        Its settings in the pillar.

    groups
        The groups (``netboot:groups``).
    """
    group = dict(groups.get(str(host.get("group"))) or {})
    if "entry" in host:
        for key in ("image", "variant", "once", "install"):
            group.pop(key, None)
    if "image" in host:
        group.pop("entry", None)
    defaults = netboot_values.defaults("hosts.*")
    arguments = words(group.get("arguments")) + words(host.get("arguments"))
    settings: Any = {**defaults, **group, **host}
    settings["arguments"] = arguments or list(defaults["arguments"])
    if "install" in settings:
        settings.update(variant="install", once=True)
    return settings  # type: ignore[no-any-return]


# -- what is wrong ---------------------------------------------------------------------------------


def problems(hosts: Maps, groups: Maps, images: Maps, installs: Maps) -> list[str]:
    """
    Return the problems between hosts, groups, images and installs; ``netboot_keys`` checks single
    values.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups`` (maps by name).

    images, installs
        ``netboot:images`` and ``netboot:installs`` (maps by name). In all four, None stands for an
        item whose own problems were already reported.

    Returns a list of one-line strings, each starting with its pillar key.
    """
    found: list[str] = []
    keys: dict[str, str] = {}
    members = {str(host.get("group")) for host in hosts.values() if host and "variant" not in host}
    for name, group in groups.items():
        path = f"netboot:groups:{name}"
        found += _wrong_target(path, group or {}, images)
        found += [f"{path}:{wrong}" for wrong in netboot_installs.in_map(group or {}, installs)]
        if group and name in members and "image" in group and not {"variant", "install"} & {*group}:
            found.append(f"{path}:variant: {_NO_VARIANT}")
    for name, host in hosts.items():
        if host is None:
            continue
        path = f"netboot:hosts:{name}"
        found += [f"{path}: {wrong}" for wrong in _wrong_name(name, host)]
        found += [f"{path}:{wrong}" for wrong in _wrong_host(host, groups, images)]
        found += _wrong_target(path, host, images)
        found += [f"{path}:{wrong}" for wrong in _wrong_install(host, groups, images, installs)]
        if _is_unsigned(host, groups) and not _seen_by_dhcp(name, host):
            found.append(
                f"{path}:secure_boot: false requires mac or uuid, as DHCP recognizes nothing else; "
                "see also netboot:secure_boot:NAME:unsigned"
            )
        other = keys.setdefault(host_key(name), name)
        if other != name:
            found.append(
                f"{path}: clashes with netboot:hosts:{other} (names ignore case and : or -)"
            )
    found += _missing_groups(hosts, groups)
    found += _missing_images(hosts, groups)
    found += _same_addresses(hosts)
    return found + list(_shared({name: host for name, host in hosts.items() if host is not None}))


def _wrong_install(host: Maps, groups: Maps, images: Maps, installs: Maps) -> Iterator[str]:
    """Yield the problems of what installs a host, without its key."""
    yield from netboot_installs.in_map(host, installs)
    group = host.get("group")
    if group is None or groups.get(group) is not None:
        settings: Any = settings_of(host, groups)
        yield from netboot_installs.on_host(host, settings, images, installs)


def _same_addresses(hosts: Maps) -> Iterator[str]:
    """Yield the problems of hosts that would be installed with one address."""
    owners: dict[str, str] = {}
    for name, host in hosts.items():
        address = ((host or {}).get("network") or {}).get("address", "").partition("/")[0]
        other = owners.setdefault(address, name)
        if address and other != name:
            yield (
                f"netboot:hosts:{name}:network:address: {address} is that of netboot:hosts:{other}"
            )


def _missing_groups(hosts: Maps, groups: Maps) -> Iterator[str]:
    """Yield the groups that hosts name and that are not there, each once."""
    missing: dict[Any, list[str]] = {}
    for name, host in hosts.items():
        group = host.get("group") if host else None
        if group is not None and group not in groups:
            missing.setdefault(group, []).append(name)
    for group, names in missing.items():
        wrong = f"netboot:groups has no {group!r}{nearest(group, groups)}"
        if len(names) == 1:
            yield f"netboot:hosts:{names[0]}:group: {wrong}"
        else:
            yield f"{wrong}; {len(names)} hosts name it: {some(names)}"


def _missing_images(hosts: Maps, groups: Maps) -> Iterator[str]:
    """Yield the groups that install hosts from no image, each once."""
    for group, settings in groups.items():
        if not settings or "install" not in settings or {"image", "entry"} & {*settings}:
            continue
        without = [
            name
            for name, host in hosts.items()
            if host and host.get("group") == group and not {"install", "image", "entry"} & {*host}
        ]
        if without:
            yield (
                f"netboot:groups:{group}:image: is missing; install requires the image to install "
                f"on {some(without)}"
            )


def _named(host: Maps) -> bool:
    """Return whether the host's name in the pillar identifies the machine."""
    return not any(kind in host for kind in (*IDENTITIES, *BOARDS))


def _wrong_name(name: str, host: Maps) -> Iterator[str]:
    """Yield the problems of a name in the pillar that identifies the machine."""
    if not _named(host):
        return
    kind, value = identity(name)
    if of_nobody(kind, value):
        yield "the name is not unique: many machines have it; set mac, uuid, serial or hostname"
    elif kind == "hostname" and (meant := resembles(name)):
        yield (
            "the name is not a MAC address, UUID or host name; it resembles a "
            f"{meant}: correct it, or set mac, uuid or hostname"
        )
    elif kind == "hostname" and (wrong := host_name(name)):
        yield f"the name {wrong}"


def _shared(hosts: Maps) -> Iterator[str]:
    """Yield the problems of hosts that one machine would match."""
    owners: dict[tuple[str, str], str] = {}
    told: set[tuple[str, str, str]] = set()
    pairs = [(name, one) for name, host in hosts.items() for one in identities(name, host)]
    for name, (kind, value) in pairs:
        other = owners.setdefault((kind, value.lower()), name)
        # A UUID is there twice.
        if other != name and (name, other, kind) not in told:
            told.add((name, other, kind))
            yield f"netboot:hosts:{name}: has the same {kind} {value!r} as netboot:hosts:{other}"
    for name, (kind, value) in pairs:
        bare, mark, _ = value.lower().partition(".")
        other = owners.get((kind, bare), name)
        if kind == "hostname" and mark and other != name:
            yield (
                f"netboot:hosts:{name}: has the host name {value!r}, which is that of "
                f"netboot:hosts:{other} with a domain"
            )


def _wrong_target(path: str, settings: Maps, images: Maps) -> Iterator[str]:
    """Yield the problems of the boot target that a single map sets."""
    image, variant = settings.get("image"), settings.get("variant")
    if image is None:
        return
    if "entry" in settings:
        yield f"{path}:entry: contradicts image; remove one of the two"
    if image not in images:
        hint = nearest(image, list(images))
        yield f"{path}:image: netboot:images has no {image!r}{hint}"
    elif variant and _refused(image, variant, images):
        yield f"{path}:variant: {_refused(image, variant, images)}"


def _wrong_host(host: Maps, groups: Maps, images: Maps) -> Iterator[str]:
    """Yield the problems of a host merged with its group, without its key."""
    group = host.get("group")
    if group is not None and groups.get(group) is None:
        return
    settings = settings_of(host, groups)
    image, variant = settings.get("image"), settings.get("variant")
    boards = [kind for kind in BOARDS if kind in host]
    others = [kind for kind in IDENTITIES if kind in host] + boards[1:]
    if boards and others:
        yield f"{boards[0]}: stands for many machines; remove it or {others[0]}"
    if image and not variant:
        if "image" in host:  # or its group is told, once
            yield f"variant: {_NO_VARIANT}"
    elif variant and not image and "install" not in settings:
        yield "image: is missing; set it to the image whose variant to boot"
    elif image and "install" in settings and _refused(image, variant, images):
        yield f"install: {_refused(image, variant, images)}"
    elif ("image" in host) != ("variant" in host) and _refused(image, variant, images):
        yield f"variant: {_refused(image, variant, images)}"
    if settings.get("install") and boards:
        yield f"install: does not work for all machines of a {boards[0]}; set it per host"
    elif settings.get("once") and boards:
        yield f"once: does not work for all machines of a {boards[0]}; set it per host"
    elif settings.get("once") and not image and "install" not in settings:
        yield "once: requires image and variant, which boot once"
    if settings.get("menu") is False and not image and "entry" not in settings:
        yield "menu: false requires image and variant, or entry: local"


def _refused(image: Any, variant: Any, images: Maps) -> str | None:
    """Return why the pillar does not offer a variant, or None."""
    offered = (images.get(image) or {}).get("variants") or [variant]
    if variant in offered:
        return None
    return f"netboot:images:{image}:variants offers only {', '.join(offered)}"


def warnings(hosts: Maps, groups: Maps, asks: list[list[str]]) -> list[str]:
    """
    Return what is allowed, but probably a mistake: an installer that starts unattended at every
    boot, a default that a menu cannot start, an identity that is probably another.

    hosts, groups
        See ``problems``, without any.

    asks
        List of [image, variant] that ask for a password.
    """
    again, asked, near, shared = [], [], [], []
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if _named(host) and identity(name)[0] == "hostname" and may_resemble(name):
            near.append(name)
        if any(of_nobody(kind, host[kind]) for kind in BOARDS if kind in host):
            shared.append(name)
        if settings.get("variant") == "install" and not settings.get("once"):
            again.append(name)
        if settings.get("menu") and [settings.get("image"), settings.get("variant")] in asks:
            asked.append(name)
    return [
        f"netboot:hosts: {some(names)} {wrong}"
        for names, wrong in (
            (again, "will start the installer at every boot; set once: true"),
            (
                asked,
                "will boot from disk when the menu times out, as the entry asks for a password",
            ),
            (near, "may be a mistyped MAC address, but is a host name; set mac or hostname"),
            (shared, "matches all machines whose firmware has no text of its own"),
        )
        if names
    ]


def _is_unsigned(host: Maps, groups: Maps) -> bool:
    group = host.get("group")
    known = group is None or groups.get(group) is not None
    return known and settings_of(host, groups).get("secure_boot") is False


def _seen_by_dhcp(name: str, host: Maps) -> list[tuple[str, str]]:
    return [one for one in identities(name, host) if one[0] in ("mac", "uuid")]


def unsigned(hosts: Maps, groups: Maps) -> tuple[list[str], list[str]]:
    """
    Return the MAC addresses and UUIDs of hosts that get the unsigned boot loader.

    hosts, groups
        See ``problems``, without any.
    """
    found: dict[str, list[str]] = {"mac": [], "uuid": []}
    for name, host in hosts.items():
        if _is_unsigned(host, groups):
            for kind, value in _seen_by_dhcp(name, host):
                found[kind].append(value)
    return found["mac"], found["uuid"]


def any_once(hosts: Maps, groups: Maps) -> bool:
    """
    Return whether any host boots something once.

    hosts, groups
        See ``problems``, without any.
    """
    return any(settings_of(host, groups)["once"] for host in hosts.values())
