"""
Facts of this machine: its system, interfaces and addresses.

:platform: Linux
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct

from netboot_shapes import Target

_OS_RELEASE = "/etc/os-release"

# From linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h
_MESSAGE = struct.Struct("=LHHLL")
_ADDRESS = struct.Struct("=BBBBL")
_ATTRIBUTE = struct.Struct("=HH")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_GETADDR = 22
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def target(state_dir: str) -> Target:
    """
    Return the facts of this machine that the pillar is checked against.

    state_dir
        The directory of the records.
    """
    release = _os_release()
    return {
        "platform": [release.get("ID", "unknown"), *release.get("ID_LIKE", "").split()],
        "interfaces": _interfaces(),
        "addresses": _local_addresses(),
        "default_interface": _default_interface(),
        # It is mounted if, and only if, SELinux is enabled (libselinux, is_selinux_enabled).
        "selinux": os.path.exists("/sys/fs/selinux/enforce"),
        "state_dir": state_dir,
    }


def identity() -> str:
    """
    Return what this machine and no copy of it has: the system's id, and that of the hardware, which
    a hypervisor gives to each virtual machine.
    """
    found = []
    for path in ("/etc/machine-id", "/sys/class/dmi/id/product_uuid"):
        try:
            with open(path, encoding="ascii") as file:
                found.append(file.read().strip())
        except (OSError, ValueError):
            continue
    return " ".join(found)


def _os_release() -> dict[str, str]:
    values = {}
    with open(_OS_RELEASE, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            values[key] = value.strip("'\"")
    return values


def _interfaces() -> dict[str, list[str]]:
    """
    Return all IPv4 addresses with prefix lengths, by interface; without iproute2, which may be
    missing: rtnetlink(7).
    """
    names = dict(socket.if_nameindex())
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        ask = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
        length = _MESSAGE.size + len(ask)
        sock.send(_MESSAGE.pack(length, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + ask)
        while True:
            answer = sock.recv(1 << 16)
            while answer:
                length, kind, *_ = _MESSAGE.unpack_from(answer)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    return found
                _, prefix, _, _, index = _ADDRESS.unpack_from(answer, _MESSAGE.size)
                attributes = _attributes(answer[_MESSAGE.size + _ADDRESS.size : length])
                local = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
                if local and index in names:
                    found[names[index]].append(f"{socket.inet_ntoa(local)}/{prefix}")
                answer = answer[length + 3 & ~3 :]


def _attributes(message: bytes) -> dict[int, bytes]:
    found = {}
    while len(message) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(message)
        found[kind] = message[_ATTRIBUTE.size : length]
        message = message[max(length, _ATTRIBUTE.size) + 3 & ~3 :]
    return found


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
