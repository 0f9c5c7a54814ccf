"""
Wake hosts by Wake-on-LAN.
"""

from __future__ import annotations

import socket
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_arming
from netboot_host_checks import typed
from netboot_names import in_order, matching, nearest, some
from netboot_records import Records

# "Discard": network cards do not look at the port.
_PORT = 9


def packet(mac: str) -> bytes:
    """
    Return what wakes a machine: six bytes FF, then its address sixteen times (AMD, "Magic Packet
    Technology", 20213).

    mac
        Its MAC address, without separators.
    """
    return b"\xff" * 6 + bytes.fromhex(mac) * 16


def wake(records: Records, host: object, group: object) -> list[dict[str, Any]]:
    """
    Wake hosts, see ``netboot.wake``.

    records
        The records of this machine.

    host, group
        See ``netboot_arming.arm``.
    """
    config = records.config()
    once = {one["host"]: one for one in netboot_arming.listing(records)}
    macs = {
        name: [value for kind, value in one["identities"] if kind == "mac"]
        for name, one in records.hosts().items()
    }
    names = _named(records, host, group)
    without = [name for name in names if not macs[name]]
    if without:
        raise SaltInvocationError(
            f"Nobody is woken: no MAC address of {some(without)} is in the pillar "
            f"(netboot:hosts:{without[0]}:mac); give it, or name the others."
        )
    for interface in config["interfaces"]:
        _send(interface["name"], [packet(mac) for name in names for mac in macs[name]])
    woken = []
    for name in names:
        one = once.get(name, {})
        armed = bool(one.get("armed") and not one.get("booted"))
        installs = armed and bool(one.get("install"))
        woken.append({"host": name, "macs": macs[name], "armed": armed, "install": installs})
    return woken


def _named(records: Records, host: object, group: object) -> list[str]:
    """Return the hosts of the pillar that names, patterns and a group mean, in natural order."""
    hosts = records.hosts()
    if host is None and group is None:
        raise SaltInvocationError("Name a host or a group: host=pc1, host='lab*', group=room12.")
    found: list[str] = []
    for one in host if isinstance(host, list) else ["*" if host is None else host]:
        fit = [
            name
            for name in matching(hosts, typed(one))
            if group is None or hosts[name].get("group") == typed(group)
        ]
        if not fit:
            hint = nearest(typed(one), list(hosts))
            of = f" in the group {typed(group)!r}" if group is not None else ""
            raise SaltInvocationError(f"The pillar has no host {typed(one)!r}{of}{hint or '.'}")
        found += fit
    return sorted(dict.fromkeys(found), key=in_order)


def _send(interface: str, packets: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            for one in packets:
                sock.sendto(one, ("255.255.255.255", _PORT))
        except OSError as err:
            raise CommandExecutionError(f"Nothing is sent on {interface}: {err.strerror}.") from err
