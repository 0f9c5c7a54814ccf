"""
Look at a netboot server: the machine, what was applied to it, and what its clients can boot.

``config`` and ``target`` serve the states. The others read the records below ``/var/lib/netboot``,
never the pillar, so that they work over salt-ssh and on a machine whose master is away.
"""

import fcntl
import ipaddress
import os
import re
import socket
import struct
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot"

__func_alias__ = {"list_": "list"}

_OS_RELEASE = "/etc/os-release"

# ioctl numbers from linux/sockios.h
_SIOCGIFADDR = 0x8915
_SIOCGIFNETMASK = 0x891B


def __virtual__():
    return __virtualname__


def config(pillar, platforms):
    """
    Validate the pillar for this machine and return what it comes to.

    pillar
        What stands under the pillar key ``netboot`` (a map).

    platforms
        The table of platforms, ``salt/netboot/platforms.yaml``.

    Returns what ``netboot_pillar.resolve`` returns: ``problems``, ``warnings``, ``config``.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.config '{images: {}}' '{}'
    """
    asked = (pillar, target(), platforms)
    # Every SLS asks for the same.
    answered = __context__.get("netboot.config")
    if not answered or answered[0] != asked:
        answered = (asked, __salt__["netboot_pillar.resolve"](*asked))
        __context__["netboot.config"] = answered
    return answered[1]


def target():
    """
    Say what the pillar is checked against on this machine.

    Returns a map: ``platform`` (list: ``ID`` of os-release, then the words of its ``ID_LIKE``),
    ``interfaces`` (names, each with a list of IPv4 addresses with prefix length), ``addresses``
    (all IPv4 addresses of this machine), ``default_interface`` (the one with the IPv4 default
    route, or None) and ``selinux`` (whether SELinux is on, be it permissive).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.target
    """
    release = _os_release()
    return {
        "platform": [release.get("ID", "unknown"), *release.get("ID_LIKE", "").split()],
        "interfaces": {name: _addresses(name) for _index, name in socket.if_nameindex()},
        "addresses": _local_addresses(),
        "default_interface": _default_interface(),
        # It is mounted where, and only where, SELinux is on (libselinux, is_selinux_enabled).
        "selinux": os.path.exists("/sys/fs/selinux/enforce"),
    }


def _os_release():
    values = {}
    with open(_OS_RELEASE, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            values[key] = value.strip("'\"")
    return values


def _addresses(interface):
    """The interface's first IPv4 address; without iproute2, which a bare machine may lack."""
    request = struct.pack("256s", interface.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            address, netmask = (
                socket.inet_ntoa(fcntl.ioctl(sock, code, request)[20:24])
                for code in (_SIOCGIFADDR, _SIOCGIFNETMASK)
            )
        except OSError:
            return []
    return [ipaddress.IPv4Interface(f"{address}/{netmask}").with_prefixlen]


def _local_addresses():
    """Those that the kernel takes for its own, an interface's second ones too."""
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        found = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", file.read()))
    return sorted(found, key=ipaddress.IPv4Address)


def _default_interface():
    with open("/proc/net/route", encoding="ascii") as file:
        routes = [line.split() for line in file][1:]
    default = [route for route in routes if route[1] == "00000000" and route[7] == "00000000"]
    return min(default, key=lambda route: int(route[6]))[0] if default else None


def images():
    """
    List the images that are ready to boot, with what was read from their ISOs.

    Returns a list of maps: ``name``, ``label``, ``iso`` (its path), ``tree`` (folder of its boot
    files) and ``facts`` as ``alt_iso.inspect`` gives them, with digests.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.images
    """
    names = __salt__["netboot_records.names"]("images")
    return [__salt__["netboot_records.read"]("images", name) for name in names]


def list_():
    """
    List what is on this machine: each image that the pillar names or that was left behind.

    Returns a map by the image's name: ``in_pillar``, ``entries`` (ids of the boot entries that use
    it), ``iso`` (``path``, ``bytes``, ``state``: ``kept``, ``dropped`` once it was unpacked, or
    ``absent``, ``ours``: whether these states fetched it, and ``verified``: when, as ISO 8601 in
    UTC, or None) and ``tree`` (``path``, ``bytes``, ``form``: ``boot``, ``stages``, ``tree`` or
    ``mount``; None when it isn't unpacked).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.list
    """
    applied = _applied()
    ready = {image["label"]: image for image in images()}
    named = {image["label"]: image for image in applied["images"]}
    used = __salt__["netboot_entries.build"](applied, list(ready.values()))["entries"]
    return {
        image["name"]: {
            "in_pillar": label in named,
            "entries": [
                entry["id"] for entry in used if entry["label"] == label and label in named
            ],
            "iso": _iso(f"{applied['root']}/dist/{ready.get(label, image)['file']}"),
            "tree": _tree(ready.get(label)),
        }
        for label, image in sorted({**ready, **named}.items())
    }


def _iso(path):
    record = __salt__["netboot_records.read"]("isos", os.path.basename(path)) or {}
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        size = 0
    verified = record.get("verified_at")
    absent = "dropped" if record.get("dropped") else "absent"
    return {
        "path": path,
        "bytes": size,
        "state": "kept" if size else absent,
        "ours": __salt__["netboot_images.is_owned_iso"](path),
        "verified": verified and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verified)),
    }


def _tree(record):
    if not record:
        return None
    # links count for nothing, files with several names once
    inodes = {}
    for folder, _, names in os.walk(record["tree"]):
        for name in names:
            found = os.lstat(os.path.join(folder, name))
            inodes[found.st_ino] = found.st_size
    return {"path": record["tree"], "bytes": sum(inodes.values()), "form": record["form"]}


def entries(arch=None):
    """
    List the boot entries that clients are offered.

    arch
        Only those of this architecture, by ALT's name (x86_64, aarch64, ...).

    Returns a list of maps as ``netboot_entries.build`` makes them.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.entries arch=x86_64
    """
    applied = _applied()
    named = {image["label"] for image in applied["images"]}
    offered = [image for image in images() if image["label"] in named]
    offered += applied.get("elsewhere", [])
    found = __salt__["netboot_entries.build"](applied, offered)["entries"]
    return [entry for entry in found if arch in (None, entry["arch"])]


def menu(arch, host=None):
    """
    Return the iPXE script that clients of an architecture get.

    arch
        ALT's name of the architecture (x86_64, aarch64, ...).

    host
        With the scripts before it that this host gets: its name in the pillar, or its MAC address
        in any notation, UUID, host name or serial number.

    Raises SaltInvocationError for an architecture that has no menu here, and for a host that has no
    script.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.menu arch=x86_64
        salt 'netboot*' netboot.menu arch=x86_64 host=52:54:00:12:34:56
    """
    name = f"config-{arch}.ipxe"
    owned = __salt__["netboot_records.read"]("owned", "menus") or []
    if name not in owned:
        known = ", ".join(f"config-{one}.ipxe" for one in _arches(owned)) or "none"
        raise SaltInvocationError(f"There is no menu {name} on this machine; it has {known}.")
    folder = f"{_applied()['root']}/tftp"
    scripts = {name: _text(folder, name)}
    if host is not None:
        scripts = {**_scripts_of(str(host), folder, owned), **scripts}
    if len(scripts) == 1:
        return scripts[name]
    return "\n".join(f"=== {file}\n{text}" for file, text in scripts.items())


def _arches(owned):
    """The architectures that have a menu; the names of hosts' scripts have one more part."""
    return sorted(name[len("config-") : -len(".ipxe")] for name in owned if name.count("-") == 1)


def _scripts_of(host, folder, owned):
    """The scripts that a host gets, in the order in which the menu looks, with the armed one."""
    kind, value = __salt__["netboot_hosts.identity"](host)
    wanted = {
        "host": f"config-host-{host}.ipxe",
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
            if name.startswith(starts) and f"\n# Host: {host}\n" in _text(folder, name)
        ]
    if not found:
        raise SaltInvocationError(
            f"No host {host!r} has a script on this machine: it gets the menu and no more."
        )
    scripts = {found[0]: _text(folder, found[0])}
    for line in scripts[found[0]].splitlines():
        armed = line.rpartition("/tftp/")[2].partition(" ")[0]
        if line.startswith("chain ") and os.path.exists(f"{folder}/{armed}"):
            scripts[armed] = _text(folder, armed)
    return scripts


def _text(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def arm(host):
    """
    Arm a host that has ``once: true``: it boots its entry one more time, then from its own disk.

    host
        Name of the host in the pillar, or a pattern such as ``lab*`` for several.

    Returns a list of maps: ``host``, ``entry`` (id), ``armed`` (when, as ISO 8601 in UTC).

    Raises SaltInvocationError when there is no such host that boots something once.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.arm host=pc1
        salt 'netboot*' netboot.arm host='lab*'
    """
    root = _applied()["root"]
    return __salt__["netboot_once.arm"](host, f"{root}/tftp/once", f"{root}/.staging")


def dhcp_hints(server=None):
    """
    Say what another DHCP server needs so that its clients boot from this machine.

    For ``netboot:dhcp:mode: off``, where nothing here answers DHCP. Only firmware is listed whose
    boot loader is there.

    server
        ``isc`` (ISC dhcpd), ``kea`` (Kea DHCPv4) or ``dnsmasq``: that server's configuration, as a
        text. ``table``: what to answer to whom, for any other. Default: a map of all four.

    Raises SaltInvocationError for another server, CommandExecutionError when nothing was applied to
    this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.dhcp_hints server=isc --out=newline_values_only
        salt 'netboot*' netboot.dhcp_hints server=table
    """
    applied = _applied()
    there = [
        one
        for one in applied["firmware"]
        if os.path.exists(os.path.join(applied["root"], "tftp", one["file"]))
    ]
    hints = __salt__["netboot_dhcp.hints"]({**applied, "firmware": there})
    if server is not None and server not in hints:
        raise SaltInvocationError(
            f"There are no hints for {server!r}, only for {', '.join(sorted(hints))}."
        )
    return hints if server is None else hints[server]


def firewall_rules():
    """
    List the commands that let clients through a firewall that was written by hand.

    Returns a list of texts, ready to paste; an empty one where nothing needs to be added, or where
    firewalld or ufw runs, which ``state.apply netboot.firewall`` takes care of.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.firewall_rules
    """
    return __salt__["netboot_firewall.by_hand"](_applied())


def _applied():
    applied = __salt__["netboot_records.read"]("applied", "config")
    if applied is None:
        raise CommandExecutionError(
            "Nothing was applied to this machine yet; run state.apply netboot first."
        )
    return applied
