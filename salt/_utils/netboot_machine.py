"""
Facts of this machine: its system, interfaces and addresses.

:platform: Linux
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import socket
import struct

from netboot_shapes import Target

_OS_RELEASE = "/etc/os-release"

# ioctl numbers from linux/sockios.h
_SIOCGIFADDR = 0x8915
_SIOCGIFNETMASK = 0x891B


def target(state_dir: str) -> Target:
    """
    Return the facts of this machine that the pillar is checked against.

    state_dir
        The directory of the records.
    """
    release = _os_release()
    return {
        "platform": [release.get("ID", "unknown"), *release.get("ID_LIKE", "").split()],
        "interfaces": {name: _addresses(name) for _index, name in socket.if_nameindex()},
        "addresses": _local_addresses(),
        "default_interface": _default_interface(),
        # It is mounted if, and only if, SELinux is enabled (libselinux, is_selinux_enabled).
        "selinux": os.path.exists("/sys/fs/selinux/enforce"),
        "state_dir": state_dir,
    }


def _os_release() -> dict[str, str]:
    values = {}
    with open(_OS_RELEASE, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            values[key] = value.strip("'\"")
    return values


def _addresses(interface: str) -> list[str]:
    """Return an interface's first IPv4 address; without iproute2, which may be missing."""
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


def _local_addresses() -> list[str]:
    """Return all addresses that the kernel treats as local, including secondary addresses."""
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        found = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", file.read()))
    return sorted(found, key=ipaddress.IPv4Address)


def _default_interface() -> str | None:
    with open("/proc/net/route", encoding="ascii") as file:
        routes = [line.split() for line in file][1:]
    default = [route for route in routes if route[1] == "00000000" and route[7] == "00000000"]
    return min(default, key=lambda route: int(route[6]))[0] if default else None
